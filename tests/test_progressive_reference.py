"""The heart against the schedules of the authors' released code, as recorded in data/schedules.json."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from filming import chunks_of
from longtake.noise import sigma_table

SCHEDULES = json.loads((Path(__file__).parent / "data" / "schedules.json").read_text())


def recipe(num_steps: int, ratio: float) -> Tensor:
    """The reference's sigmas, to the last float32 digit.

    Its even grid is torch.linspace(0, 1, S + 1): n * u in the lower half, 1 - (S - n) * u in the upper,
    rounded once (here in float64, which holds the product exactly), u = 1 / S in float32. The shift is then
    diffusers', operation by operation.
    """
    u, n = float(np.float32(1) / np.float32(num_steps)), np.arange(num_steps + 1)
    grid = np.where(n < (num_steps + 1) // 2, n * u, 1 - (num_steps - n) * u).astype(np.float32)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=ratio)
    scheduler.set_timesteps(sigmas=grid[:0:-1])
    return scheduler.sigmas


@pytest.mark.parametrize("name", ["minute", "one_window", "small", "extension"])
def test_schedule_of_the_reference(name: str) -> None:
    """The paper's own runs, pass by pass: 445 for a minute, and every level to the last float32 digit."""
    golden = SCHEDULES[name]
    C, levels = golden["chunk_size"], torch.tensor(golden["levels"])
    calls: list[tuple[Tensor, int]] = []
    entered, finished = [], []

    def velocity(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        calls.append((sigma, first))
        return latents

    def noise(k: int) -> Tensor:
        entered.append([len(calls), k + 1])
        return torch.ones(1, 1, C, 1, 1)

    chunks = chunks_of(
        velocity,
        noise,
        recipe(golden["steps"], golden["ratio"]),
        golden["chunks"] - 1,
        golden["steps_per_chunk"],
        context=torch.ones(1, 1, C, 1, 1),
        context_size=C,
    )
    for made, _ in enumerate(chunks, 1):
        finished.append([len(calls) - 1, made])

    assert entered == golden["entered"] and finished == golden["finished"]
    assert len(calls) == len(golden["passes"])
    for (sigma, first), (chunk, *left) in zip(calls, golden["passes"], strict=True):
        assert first == (chunk - 1) * C
        assert torch.equal(sigma * 1000, levels[left].repeat_interleave(C))


@pytest.mark.parametrize("name", ["minute", "one_window", "small", "extension"])
def test_levels_and_steps_of_the_reference(name: str) -> None:
    """The reference's own numbers: before the shift, after it, and its step sizes, exactly, in its order.

    Ours subtracts sigmas, not timesteps: the same to one unit in the last place of a sigma near 1 (6e-8). Our
    own table rounds n / S correctly where the reference has torch.linspace: within 3 units in the last place.
    """
    golden = SCHEDULES[name]
    S, ratio = golden["steps"], golden["ratio"]
    raw, sigmas, levels = recipe(S, 1.0), recipe(S, ratio), torch.tensor(golden["levels"]).flip(0)
    assert torch.equal(raw * 1000, torch.tensor(golden["raw_levels"]).flip(0))
    assert torch.equal(sigmas * 1000, levels)
    dt = torch.tensor(golden["dt"][:0:-1])
    assert torch.equal((levels[:-1] - levels[1:]) / 1000, dt)
    torch.testing.assert_close(sigmas[:-1] - sigmas[1:], dt, atol=6e-8, rtol=0)
    ulps = (sigma_table(S, ratio)[:-1].view(torch.int32) - sigmas[:-1].view(torch.int32)).abs()
    assert ulps.max() <= 3
