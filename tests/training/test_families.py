"""Every family learns: on latents alone, tiny, whole and as a LoRA, by the progressive loss through its own adapter."""

from typing import Any

import pytest
import torch

from longtake.models.base import ModelDefaults
from longtake.models.families import FAMILIES
from longtake.models.lora import add_lora
from longtake.noise import sigma_table
from longtake.training.loss import Shares, draw_sigma, draw_window, progressive_loss
from longtake.training.objectives import velocity_of
from longtake.training.shards import blocks_of
from networks import CHANNELS, NETWORKS, Tiny, tiny_network

pytestmark = pytest.mark.slow

STEPS, FPS = 20, 24.0


@pytest.mark.parametrize("rank", [None, 4], ids=["whole", "lora"])
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_family_learns(name: str, rank: int | None) -> None:
    """Guards network, adapter and loss of each family, and that a LoRA finds layers in each of its blocks: on the same
    windows, the loss after twenty steps is lower."""
    torch.manual_seed(0)
    network = tiny_network(name)
    if rank:
        add_lora(network, rank, float(rank))
        blocks = blocks_of(network)
        assert blocks and all(any("lora_A" in name for name, _ in block.named_modules()) for block in blocks)
    velocity = velocity_of(network, name, "flow_prediction", FPS, torch.device("cpu"), bf16=False)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0)
    batches = [drawn(NETWORKS[name], seed) for seed in range(4)]

    def loss(batch: tuple[Any, ...]) -> torch.Tensor:
        return progressive_loss(velocity, *batch)

    with torch.no_grad():
        before = sum(float(loss(batch)) for batch in batches)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss(batches[step % len(batches)]).backward()
        optimizer.step()
    with torch.no_grad():
        after = sum(float(loss(batch)) for batch in batches)
    assert after < (0.97 if rank else 0.9) * before, (before, after)


def drawn(tiny: Tiny, seed: int) -> tuple[Any, ...]:
    """Two windows of a wave, with texts, noise levels and noise: what the loss takes."""
    generator = torch.Generator().manual_seed(seed)
    sampling = ModelDefaults(32, 32, FPS, 4, 1, 1, 1, 1.0, 1.0)
    window = draw_window(generator, sampling, Shares(level=0, start=0, drain=0))
    place = (
        torch.linspace(0, 3, window.num_latents)[:, None, None]
        + torch.linspace(0, 2, 4)[:, None]
        + torch.linspace(0, 2, 4)
    )
    wave = torch.stack([torch.sin(place + c) for c in range(CHANNELS)])
    latents = torch.stack([wave, -wave])
    sigma = draw_sigma(window, 2, sigma_table(4, 1.0), generator)
    noise = torch.randn(latents.shape, generator=generator)
    return latents, tiny.text(9), sigma, noise
