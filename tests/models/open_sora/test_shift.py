"""The shift of Open-Sora's noise levels, exact and as the released script rounds it."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from longtake.errors import OptionError
from longtake.models.open_sora.shift import timestep_shift


@pytest.mark.parametrize(
    ("size", "shift"),
    [
        ((240, 424, 119), 3.6859772),
        ((240, 426, 119), 3.6946602),
        ((48, 64, 68), 0.4841229),
        ((512, 512, 1), 1.0),
        ((512, 512, 17), 5**0.5),
        ((512, 512, 33), 5**0.5),
    ],
)
def test_shift(size: tuple[int, int, int], shift: float) -> None:
    """The paper's run, the small recorded one (in float32), one picture, and chunks that are not full."""
    assert timestep_shift(*size) == pytest.approx(shift, rel=1e-7)


@pytest.mark.parametrize("width", [424, 426])
def test_the_released_scripts_value(width: int) -> None:
    """3.6875 for both widths, instead of 3.6860 and 3.6947."""
    assert timestep_shift(240, width, 119, bfloat16=True) == 3.6875


@given(st.integers(64, 1024), st.integers(64, 1024), st.just(1) | st.integers(17, 9000))
@example(240, 424, 4369)
def test_bfloat16_rounds_as_torch_does(height: int, width: int, num_frames: int) -> None:
    """Every number on the way, of any size; at 4369 frames the first quotient that is rounded, 257."""
    tall, wide, frames = (torch.tensor(x, dtype=torch.bfloat16) for x in (height, width, num_frames))
    latents = torch.ones_like(frames) if num_frames == 1 else frames // 17 * 5
    expected = (tall * wide / 512**2).sqrt() * latents.sqrt()
    assert timestep_shift(height, width, num_frames, bfloat16=True) == expected.item()


@pytest.mark.parametrize("num_frames", [0, 2, 16])
def test_a_window_too_short_for_a_latent(num_frames: int) -> None:
    """A shift of 0 would make no ladder."""
    with pytest.raises(OptionError, match=f"1 frame or at least 17, got {num_frames}"):
        timestep_shift(240, 424, num_frames)
