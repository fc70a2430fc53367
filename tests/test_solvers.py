"""UniPC of order two in a moving window, against diffusers' own on each chunk by itself."""

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor

from filming import chunks_of
from longtake.noise import chunk_noise, sigma_table
from longtake.solvers import SOLVERS

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
