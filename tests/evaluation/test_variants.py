"""What is compared, at an equal cost."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from longtake.evaluation.variants import equal_cost_steps
from longtake.options import FilmOptions
from longtake.plan import Method
from specs import SPEC


@given(st.sampled_from(get_args(Method)), st.integers(1, 3000), st.integers(1, 200))
def test_equal_cost(method: Method, budget: int, num_frames: int) -> None:
    """No other number of steps costs nearer to the budget, and none that is as near is smaller."""
    options = FilmOptions(prompt="a", num_frames=num_frames, method=method)

    def off(steps: int) -> int:
        film = FilmOptions(prompt="a", num_frames=num_frames, method=method, num_inference_steps=steps)
        return abs(film.resolved(SPEC).cost.latent_evaluations - budget)

    least = 2 if method in ("progressive", "restart", "full-window") else 1
    found = equal_cost_steps(options, SPEC, budget)
    assert found == min(range(least, found + 12), key=off)
