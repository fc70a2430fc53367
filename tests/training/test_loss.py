"""The progressive loss: right in closed form, and trained on every window that sampling meets."""

import pytest
import torch
from torch import Tensor

from longtake.noise import sigma_table
from longtake.progressive import progressive_denoise
from longtake.training.loss import KINDS, Window, draw_sigma, draw_window, progressive_loss

SHAPE = (2, 3, 5, 2, 2)


def test_a_perfect_network_has_no_loss() -> None:
    """The target is noise - data, the velocity that sampling integrates."""
    data, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    sigma = torch.rand(2, 5).clamp_min(0.1)
    loss = progressive_loss(lambda x, s, text: noise - data, data, sigma, noise, torch.zeros(2, 1, 1))
    assert loss == 0


def test_noising_is_the_flow_and_is_per_frame() -> None:
    """The network sees (1 - sigma) data + sigma noise, each latent frame at its own level."""
    data, noise, sigma = torch.randn(SHAPE), torch.randn(SHAPE), torch.rand(2, 5)

    def check(x: Tensor, s: Tensor, text: Tensor) -> Tensor:
        level = s[:, None, :, None, None]
        torch.testing.assert_close(x, data + level * (noise - data))
        return x

    progressive_loss(check, data, sigma, noise, torch.zeros(2, 1, 1))


def test_context_counts_for_nothing() -> None:
    """What the network says about clean frames does not change the loss."""
    data, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    sigma = torch.tensor([0, 0, 0.3, 0.6, 1.0]).expand(2, -1)
    wrong_on_context = (noise - data).clone()
    wrong_on_context[:, :, :2] += 100
    assert progressive_loss(lambda x, s, t: wrong_on_context, data, sigma, noise, torch.zeros(2, 1, 1)) == 0
    off_by_one = noise - data + 1
    loss = progressive_loss(lambda x, s, t: off_by_one, data, sigma, noise, torch.zeros(2, 1, 1))
    torch.testing.assert_close(loss, torch.tensor(1.0))


@pytest.mark.parametrize(
    ("steps", "per_chunk", "chunk_size", "context"), [(8, 1, 1, 3), (16, 2, 1, 3), (12, 3, 2, 4)]
)
def test_every_window_of_sampling_is_trained(
    steps: int, per_chunk: int, chunk_size: int, context: int
) -> None:
    """Start-up, steady state, drain: each window that sampling shows the network, its context, rungs and levels,
    is one that training draws; pure noise and the last step included."""
    rungs, shift = steps // per_chunk, 2.0
    generator = torch.Generator().manual_seed(0)
    drawn = {draw_window(generator, rungs, context, chunk_size) for _ in range(4000)}
    windows = {(w.context, w.lowest, w.highest) for w in drawn if w.kind not in ("level", "still")}
    met = []

    def velocity(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        met.append(sigma)
        return torch.zeros_like(latents)

    def noise(k: int) -> Tensor:
        return torch.zeros(1, 1, chunk_size, 1, 1)

    list(progressive_denoise(velocity, noise, sigma_table(steps, shift), 20, per_chunk, context_size=context))
    for sigma in met:
        t = sigma / (shift - (shift - 1) * sigma)
        clean = int((sigma == 0).sum())
        ladder = t[clean::chunk_size] * rungs
        lowest = int((ladder[0] - 1e-4).floor())
        assert torch.allclose(ladder - ladder[0], torch.arange(len(ladder)).float(), atol=1e-4)
        assert (clean, lowest, lowest + len(ladder)) in windows


def test_drawn_levels_fill_the_ladder() -> None:
    """Rung i lies in (i/K, (i+1)/K] before the shift, evenly, one draw for the whole sample; context is clean."""
    window = Window("steady", 3, 0, 8)
    sigma = draw_sigma(window, 4000, 8, 2.0, torch.Generator().manual_seed(0))
    t = (sigma / (2 - sigma))[:, 3:] * 8
    offset = t - torch.arange(8)
    assert (sigma[:, :3] == 0).all() and offset.min() > 0 and offset.max() < 1 + 1e-4
    torch.testing.assert_close(offset, offset[:, :1].expand(-1, 8), atol=1e-4, rtol=0)
    assert abs(offset.mean() - 0.5) < 0.02


def test_kinds_come_in_their_shares() -> None:
    """The mixture is the one that KINDS states."""
    generator = torch.Generator().manual_seed(1)
    kinds = [draw_window(generator, 8, 3).kind for _ in range(3000)]
    for kind, share in KINDS.items():
        assert abs(kinds.count(kind) / 3000 - share) < 0.04
