"""UniPC of order two in a moving window, against diffusers' own on each chunk alone; renoise against a loop."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor

from filming import chunks_of
from longtake.methods import denoise
from longtake.models.wan.model import WanModel
from longtake.noise import chunk_noise, latent_noise, sigma_table
from longtake.options import FilmOptions
from longtake.plan import Sampling
from longtake.schedules import TABLES
from longtake.shot import Shot, ShotState
from longtake.solvers import SOLVERS, solver_of

SHAPE = (2, 1, 2)
UNIPC = SOLVERS["unipc"]


def alone(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
    """A curved velocity in which no latent sees another."""
    return (latents * latents - 1) * (sigma.view(-1, 1, 1) + 0.5) * 0.3 + 0.2 * latents


def by_diffusers(noise: Tensor, num_steps: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A chunk by one of diffusers' schedulers, and its table of sigmas."""
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, solver_order=2
    )
    scheduler.set_timesteps(num_steps)
    scheduler.sigmas = scheduler.sigmas.to(dtype)
    sigmas = scheduler.sigmas.clone()
    x = noise.to(dtype)
    for sigma, timestep in zip(sigmas, scheduler.timesteps, strict=False):
        x = scheduler.step(alone(x, sigma.expand(x.shape[2]), 0), timestep, x, return_dict=False)[0]
    return x, sigmas


@pytest.mark.parametrize("num_steps", [1, 2, 3, 5, 8, 20])
@pytest.mark.parametrize("per_chunk", [1, 2, 3, 20])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_it_equals_a_scheduler_a_chunk(
    num_steps: int, per_chunk: int, dtype: torch.dtype, tolerance: float
) -> None:
    """Four chunks through sliding windows, M dividing S or not: each is what a scheduler of its own makes of it."""
    _, sigmas = by_diffusers(torch.zeros(1, 1, 1, 1, 1), num_steps, dtype)
    noise = [chunk_noise([5], k * 2, 2, SHAPE) for k in range(4)]
    film = chunks_of(alone, lambda k: noise[k].to(dtype), sigmas, 4, min(per_chunk, num_steps), solver=UNIPC)
    for chunk, start in zip(film, noise, strict=True):
        expected, _ = by_diffusers(start, num_steps, dtype)
        torch.testing.assert_close(chunk, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_it_begins_at_pure_noise(dtype: torch.dtype) -> None:
    """At sigma 1 the signal's logarithm is -inf; the step from there is finite, in every precision."""
    noise = [chunk_noise([5], k, 1, SHAPE).to(dtype) for k in range(3)]
    film = chunks_of(alone, noise.__getitem__, sigma_table(8, 3.0), 3, 2, solver=UNIPC)
    assert all(chunk.isfinite().all() and chunk.dtype == dtype for chunk in film)


def test_it_is_of_second_order() -> None:
    """Data that is one Gaussian has a flow in closed form: twice the steps, a quarter of the error or less."""

    def velocity(x: Tensor, sigma: Tensor, first: int) -> Tensor:
        s = sigma.view(-1, 1, 1)
        return x * (s - (1 - s) * 0.25) / (s**2 + (1 - s) ** 2 * 0.25)

    def error(num_steps: int) -> float:
        sigmas = torch.linspace(1, 0, num_steps + 1, dtype=torch.float64)
        start = torch.ones(1, 1, 1, 1, 1, dtype=torch.float64)
        (end,) = chunks_of(velocity, lambda k: start, sigmas, 1, 1, solver=UNIPC)
        return float(np.abs(end.item() - 0.5))

    assert error(64) / error(128) > 3.5


def fresh(first: int, rungs: Tensor) -> Tensor:
    """Noise by place and rung."""
    at = [latent_noise(9, first + i, SHAPE, int(rung)) for i, rung in enumerate(rungs)]
    return torch.stack(at, dim=1)[None]


def test_what_renoise_makes_of_known_data() -> None:
    """With data that do not change, the latent at level s is (1 - s) * data + s * the noise of its place and rung."""
    data, x = torch.randn(2, 1, 2, 4, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigmas, steps = torch.tensor([1, 0.9, 0.4, 0], dtype=torch.float64), torch.tensor([2, 1, 1, 0])
    now, after = sigmas[steps].view(-1, 1, 1), sigmas[steps + 1].view(-1, 1, 1)
    moved, memory = solver_of("renoise", fresh).step(x, (x - data) / now, sigmas, steps, (), 11)
    assert memory == ()
    places = [latent_noise(9, 11 + i, SHAPE, int(steps[i]) + 1).double() for i in range(4)]
    torch.testing.assert_close(moved, (1 - after) * data + after * torch.stack(places, dim=1)[None])
    torch.testing.assert_close(moved[:, :, 0], data[:, :, 0])


@pytest.mark.parametrize("per_chunk", [1, 2, 4])
def test_renoise_is_the_loop_of_each_chunk(per_chunk: int) -> None:
    """Five chunks through sliding windows: each is what a loop of its own makes of it, by noise of its own places."""

    def velocity(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        return latents * 0.5 - sigma.view(-1, 1, 1)

    sampling, sigmas = (
        Sampling(4, per_chunk, 2, 0, solver="renoise"),
        torch.tensor([1, 0.9375, 0.83, 0.625, 0]),
    )
    film = denoise(sampling, velocity, lambda i, n: chunk_noise([9], i, n, SHAPE), sigmas, 5, fresh=fresh)
    for k, chunk in enumerate(film):
        x = chunk_noise([9], 2 * k, 2, SHAPE)
        for step in range(4):
            now, after = sigmas[step], sigmas[step + 1]
            data = x - now * velocity(x, now.expand(2), 0)
            x = (1 - after) * data + after * fresh(2 * k, torch.full((2,), step + 1))
        torch.testing.assert_close(chunk, x, atol=1e-6, rtol=0)


def test_rungs_are_places_of_their_own() -> None:
    """Guards against noise that is used twice: rungs of a latent do not correlate, nor with another's."""
    shape = (4, 64, 64)
    base = latent_noise(3, 5, shape, 1).flatten()
    for index, rung in ((5, 0), (5, 2), (6, 1), (1, 5)):
        other = latent_noise(3, index, shape, rung).flatten()
        assert abs(torch.corrcoef(torch.stack([base, other]))[0, 1].item()) < 5 / len(base) ** 0.5
    assert torch.equal(latent_noise(3, 5, shape, 0), latent_noise(3, 5, shape))


@pytest.mark.parametrize("levels", [(1, 0.9375, 0.83, 0.625), TABLES["turbo"].sigmas])
def test_a_film_that_is_renoised_goes_on_from_any_state(
    wan_model: WanModel, levels: tuple[float, ...]
) -> None:
    """Guards resume, branch and extend: a state is all that is needed, and a longer film begins as a shorter one."""
    options: dict[str, Any] = {
        "width": 32,
        "height": 32,
        "sigmas": levels,
        "chunk_size": 1,
        "context_size": 1,
    }
    short, long = (
        FilmOptions(prompt="a red car", num_frames=n, solver="renoise", **options).resolved(wan_model.spec)
        for n in (25, 33)
    )
    shot, whole = Shot(wan_model, short), list[ShotState]()
    state, _ = shot.begin()
    level = round(levels[0], 6)
    while not shot.is_whole(state):
        whole.append(state)
        state, _ = shot.advance(state)
    for passed in whole[1::2]:
        *_, (ended, _) = Shot(wan_model, short).passes(passed)
        assert torch.equal(ended.window.clean, state.window.clean)
    for passed in whole:
        if not shot.is_open(passed):
            break
        longer, _ = Shot(wan_model, long).advance(passed)
    assert passed.window.t >= 4
    other = Shot(wan_model, long)
    same, _ = other.begin()
    while same.window.t <= longer.window.t - 1:
        same, _ = other.advance(same)
    assert torch.equal(same.window.noisy, longer.window.noisy)
    first = latent_noise(0, 0, short.latent_shape)
    seen: list[Tensor] = []
    Shot(wan_model, short, look=lambda x, v, sigma, at: seen.append(x)).advance(
        Shot(wan_model, short).begin()[0]
    )
    assert torch.equal(seen[0][0, :, 0], level * first)
