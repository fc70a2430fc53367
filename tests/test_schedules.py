"""Tables of noise levels: schedules against diffusers' own, tables by hand and by name, and who takes them."""

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from longtake.errors import ModelError, OptionError
from longtake.models.configs import settings
from longtake.models.joint.discrete import nearest_timestep
from longtake.noise import film_table, sigma_table
from longtake.options import FilmOptions, options_of
from longtake.plan import OWN_START, Method
from longtake.schedules import (
    SCHEDULES,
    TABLES,
    cogvideox,
    cogvideox_levels,
    flow,
    karras,
    levels_of,
    steps_from,
    with_levels,
)
from specs import SPEC

FOUR = (1.0, 0.9375, 0.83, 0.625)


def film(spec: Any = SPEC, **options: Any) -> Any:
    return FilmOptions(prompt="a red car", num_frames=60, **options).resolved(spec)


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 200), st.sampled_from([1.0, 3.0]))
def test_every_schedule_falls_to_nothing(name: str, num_steps: int, shift: float) -> None:
    """S levels and 0, strictly falling from 1 or a little less."""
    table = sigma_table(num_steps, shift, name)
    assert table.dtype == torch.float32 and table.shape == (num_steps + 1,) and table[-1] == 0
    assert 0.98 < table[0] < 1 + 3e-7 and (table.diff() < 0).all()
    levels = SCHEDULES[name].levels(num_steps, shift)
    torch.testing.assert_close(table[:-1], torch.tensor(levels), atol=0, rtol=1e-6)


@pytest.mark.parametrize("num_steps", [2, 8, 35])
def test_karras_is_that_of_cosmos(num_steps: int) -> None:
    """Guards the levels that the pipelines of Cosmos Predict 2 set, but the last, at which they stay."""
    scheduler = FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True)
    scheduler.register_to_config(sigma_max=80.0, sigma_min=0.002, sigma_data=1.0)
    scheduler.set_timesteps(sigmas=np.linspace(0, 1, num_steps))
    edm = scheduler.sigmas[:-1].double()
    expected = edm / (1 + edm)
    torch.testing.assert_close(torch.tensor(karras(num_steps)).double(), expected, atol=0, rtol=1e-6)
    other = EDMEulerScheduler(sigma_min=0.002, sigma_max=80, rho=7)
    other.set_timesteps(num_steps)
    torch.testing.assert_close(other.sigmas[:-1].double(), edm, atol=0, rtol=1e-6)
    assert karras(num_steps)[0] == pytest.approx(80 / 81)


def ddim(scale: float) -> CogVideoXDDIMScheduler:
    return CogVideoXDDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=scale,
        timestep_spacing="trailing",
    )


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("num_steps", [4, 7, 50])
def test_cogvideox_is_its_schedulers(scale: float, num_steps: int) -> None:
    """Guards the levels of every timestep, and which of them are passed through."""
    scheduler = ddim(scale)
    kept = scheduler.alphas_cumprod
    sigma = (1 - kept).sqrt() / (kept.sqrt() + (1 - kept).sqrt())
    levels = torch.tensor(cogvideox_levels(scale), dtype=torch.float64)
    torch.testing.assert_close(levels, sigma, atol=1e-12, rtol=0)
    scheduler.set_timesteps(num_steps)
    assert cogvideox(num_steps, scale) == [cogvideox_levels(scale)[t] for t in scheduler.timesteps]
    with pytest.raises(OptionError, match="at most 1000"):
        cogvideox(1001, scale)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_ddim_step_is_an_euler_step(scale: float) -> None:
    """Guards that nothing is approximate: a step of CogVideoX, brought to the straight line, is Euler's."""
    scheduler, table = ddim(scale), [*cogvideox(50, scale), 0.0]
    scheduler.set_timesteps(50)
    data, noise = torch.randn(2, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for step in (1, 20, 49):
        t = int(scheduler.timesteps[step])
        kept = scheduler.alphas_cumprod[t]
        x = kept.sqrt() * data + (1 - kept).sqrt() * noise
        v = kept.sqrt() * noise - (1 - kept).sqrt() * data + 0.1  # predicted, and not right
        after = scheduler.step(v, t, x, return_dict=False)[0]
        predicted = kept.sqrt() * x - (1 - kept).sqrt() * v
        eps = (x - kept.sqrt() * predicted) / (1 - kept).sqrt()
        ours = x / (kept.sqrt() + (1 - kept).sqrt()) + (table[step + 1] - table[step]) * (eps - predicted)
        left = scheduler.alphas_cumprod[t - 20] if t >= 20 else torch.ones(())
        scaled = after / (left.sqrt() + (1 - left).sqrt())
        torch.testing.assert_close(ours, scaled.double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_level_finds_its_timestep(scale: float) -> None:
    """Guards what the network is fed: every timestep from its own level in float32, the nearest from others."""
    levels = cogvideox_levels(scale)
    sigma = torch.tensor(levels).view(10, 100)
    found = nearest_timestep(sigma, levels)
    assert found.dtype == torch.float32 and torch.equal(found, torch.arange(1000.0).view(10, 100))
    between = torch.tensor([0.0, 0.6 * levels[500] + 0.4 * levels[501], 1.0])
    assert nearest_timestep(between, levels).tolist() == [0, 500, 999]


def test_four_levels_are_four_rungs() -> None:
    """Guards levels by hand: they count the steps, and the window holds as many latents as before."""
    made = film(sigmas="1.0,0.9375,0.83,0.625")
    sampling = made.cost.sampling
    assert made.settings.sigmas == FOUR and sampling.rungs == 4
    assert (sampling.num_inference_steps, sampling.steps_per_chunk, sampling.chunk_size) == (4, 1, 3)
    assert film_table(made.settings, made.schedule).tolist() == pytest.approx([*FOUR, 0])
    assert film(sigmas=FOUR, chunk_size=1, steps_per_chunk=2).cost.sampling.rungs == 2
    assert "shift" not in made.metadata and made.metadata["sigmas"] == list(FOUR)
    assert options_of(made.metadata).resolved(SPEC).metadata == made.metadata
    assert "sigmas" not in film().metadata


@pytest.mark.parametrize("name", sorted(TABLES))
def test_tables_by_name(name: str) -> None:
    """Guards the records: each is a table, and says where it is from."""
    table = TABLES[name]
    assert film(sigmas=name).settings.sigmas == table.sigmas == film(sigmas=table.sigmas).settings.sigmas
    assert 0.98 < table.sigmas[0] <= 1 and table.about and table.source


def test_lightx2v_is_four_levels_of_shift_five() -> None:
    assert TABLES["lightx2v"].sigmas == pytest.approx((1, 0.9375, 5 / 6, 0.625))
    assert TABLES["turbo"].sigmas == pytest.approx((0.988, 0.934, 0.853, 0.609), abs=5e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigmas": "1,1,0.5"}, "sigmas must fall at every step, from 1 or less to more than 0"),
        ({"sigmas": "1,0.5,0"}, "must fall at every step"),
        ({"sigmas": "1.5,0.5"}, "must fall at every step"),
        ({"sigmas": "1,nan"}, "must fall at every step"),
        ({"sigmas": "lightx3v"}, "must be numbers such as 1,0.9,0.5, or one of lightx2v"),
        ({"sigmas": ()}, "sigmas"),
        ({"sigmas": [True, 0.5]}, "sigmas"),
        ({"sigmas": 4}, "sigmas"),
        ({"sigmas": FOUR, "shift": 3.0}, "leave out one of them"),
        ({"sigmas": FOUR, "num_inference_steps": 5}, "sigmas of 4 levels are 4 steps"),
        ({"sigmas": FOUR, "steps_per_chunk": 5}, "steps_per_chunk must lie in 1"),
        (
            {"sigmas": "turbo", "method": "fifo"},
            "fifo starts from pure noise, and these noise levels begin at 0.98",
        ),
    ],
)
def test_levels_that_are_none(options: dict[str, Any], message: str) -> None:
    """Guards one line for each of these, which names the option."""
    with pytest.raises(OptionError, match=message) as caught:
        film(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_takes_levels(method: Method) -> None:
    """Guards that no method forgets them: it takes as many steps as there are levels, whatever else it sets."""
    made = film(sigmas=FOUR, method=method)
    assert made.cost.sampling.num_inference_steps == 4 and made.settings.sigmas == FOUR
    begins_lower = replace(SPEC, schedule="karras")
    if method in OWN_START:
        with pytest.raises(OptionError, match="starts from pure noise"):
            film(begins_lower, method=method)
    else:
        assert film(begins_lower, method=method).schedule == "karras"


def test_levels_of_a_model_hold_until_others_are_asked_for() -> None:
    """Guards a folder's own levels: kept, or gone where steps or shift are given; a schedule without shift says so."""
    own = replace(SPEC, defaults=replace(SPEC.defaults, num_inference_steps=4, sigmas=FOUR))
    assert film(own).settings.sigmas == FOUR and film(own, chunk_size=2).settings.sigmas == FOUR
    assert film(own, shift=3.0).settings.sigmas is None
    assert film(own, num_inference_steps=6).settings.sigmas is None
    assert film(own, sigmas=(1, 0.5)).settings.sigmas == (1, 0.5)
    for schedule in SCHEDULES:
        made = film(replace(SPEC, schedule=schedule))
        assert ("shift" in made.metadata) == SCHEDULES[schedule].takes_shift
        assert options_of(made.metadata).resolved(replace(SPEC, schedule=schedule)) == made
    with pytest.raises(OptionError, match=r"\(karras\) have no shift"):
        film(replace(SPEC, schedule="karras"), shift=3.0)


def test_a_draft_goes_on_through_the_levels_below_it() -> None:
    """Guards the count of steps of any table."""
    assert steps_from(0.85, FOUR) == 3 and steps_from(0.625, FOUR) == 1
    assert steps_from(0.5, flow(8, 2.0)) == len([u for u in flow(8, 2.0) if u < 0.4995]) + 1
    options, spec = FilmOptions(prompt="a red car", num_frames=60), replace(SPEC, schedule="karras")
    made = options.resolved(spec, strength=0.5)
    below = [level for level in levels_of(made.settings, "karras") if level < 0.4995]
    assert made.cost.sampling.num_inference_steps == len(below) + 1


def test_longtake_json_may_hold_levels(tmp_path: Any) -> None:
    """Guards what a folder of a model or a LoRA says."""
    content: dict[str, Any] = {**SPEC.defaults.told, "num_inference_steps": 4}
    assert settings({**content, "sigmas": list(FOUR)}, tmp_path).sigmas == FOUR
    assert settings(content, tmp_path).sigmas is None and "sigmas" not in content
    for wrong in ([1, 0.5], [1, 0.5, 0.5, 0.2], [1, 0.5, 0.2, 0], [1, 0.9, 0.5, "0.2"], []):
        with pytest.raises(ModelError, match="sigmas"):
            settings({**content, "sigmas": wrong}, tmp_path)


def test_training_uses_them() -> None:
    """Guards that nothing of a run's settings is warped in place of levels by hand."""
    own = replace(SPEC.defaults, num_inference_steps=4, sigmas=FOUR)
    assert with_levels(own, {"chunk_size": 2}, "flow").sigmas == FOUR
    assert np.allclose(film_table(own, "karras"), [*FOUR, 0])
