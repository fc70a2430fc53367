"""The progressive loss: right in closed form, and trained on every window that sampling meets."""

import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from filming import chunks_of
from longtake.models.base import ModelDefaults
from longtake.models.text import Text
from longtake.noise import sigma_table
from longtake.training.loss import (
    Shares,
    Window,
    draw_sigma,
    draw_window,
    frame_errors,
    progressive_loss,
    roughen_context,
    self_guided,
)

pytestmark = pytest.mark.slow

SHAPE = (2, 3, 5, 2, 2)
SAMPLING = ModelDefaults(
    width=16,
    height=16,
    fps=24,
    num_inference_steps=8,
    steps_per_chunk=1,
    chunk_size=1,
    context_size=3,
    shift=2.0,
    guidance_scale=1.0,
)
NO_TEXT = Text.of_zero_padded(torch.zeros(2, 1, 1))
EVERY_KIND = Shares(1, 1, 1, 1, 1, 1)


def test_a_perfect_network_has_no_loss() -> None:
    """The target is noise - data, the velocity that sampling integrates."""
    data, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    sigma = torch.rand(2, 5).clamp_min(0.1)
    assert progressive_loss(lambda x, s, text: noise - data, data, NO_TEXT, sigma, noise) == 0


def test_noising_is_the_flow_and_is_per_frame() -> None:
    """The network sees (1 - sigma) data + sigma noise, each latent frame at its own level."""
    data, noise, sigma = torch.randn(SHAPE), torch.randn(SHAPE), torch.rand(2, 5)

    def check(x: Tensor, s: Tensor, text: Text) -> Tensor:
        level = s[:, None, :, None, None]
        torch.testing.assert_close(x, data + level * (noise - data))
        return x

    progressive_loss(check, data, NO_TEXT, sigma, noise)


def test_context_counts_for_nothing() -> None:
    """What the network says about clean frames does not change the loss."""
    data, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    sigma = torch.tensor([0, 0, 0.3, 0.6, 1.0]).expand(2, -1)
    wrong_on_context = (noise - data).clone()
    wrong_on_context[:, :, :2] += 100
    assert progressive_loss(lambda x, s, t: wrong_on_context, data, NO_TEXT, sigma, noise) == 0
    off_by_one = noise - data + 1
    loss = progressive_loss(lambda x, s, t: off_by_one, data, NO_TEXT, sigma, noise)
    torch.testing.assert_close(loss, torch.tensor(1.0))


def test_errors_are_told_apart_by_frame() -> None:
    """A frame that is off by k has the error k squared."""
    data, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    wrong = noise - data + torch.arange(5).view(1, 1, 5, 1, 1)
    errors, noisy = frame_errors(lambda x, s, t: wrong, data, NO_TEXT, torch.ones(2, 5), noise)
    torch.testing.assert_close(errors, torch.arange(5.0).square().expand(2, -1))
    assert noisy.all()


@pytest.mark.parametrize(
    ("steps", "per_chunk", "chunk_size", "context", "given"),
    [(8, 1, 1, 3, 0), (16, 2, 1, 3, 3), (12, 3, 2, 4, 0), (7, 3, 2, 3, 3), (30, 5, 5, 5, 5), (4, 4, 1, 0, 0)],
)
def test_every_window_of_sampling_is_trained(
    steps: int, per_chunk: int, chunk_size: int, context: int, given: int
) -> None:
    """Start-up, from noise or a given context, steady state, drain: each window that sampling shows the network,
    with its context and every level, is one that training draws; pure noise and the last step included."""
    sampling = replace(
        SAMPLING,
        num_inference_steps=steps,
        steps_per_chunk=per_chunk,
        chunk_size=chunk_size,
        context_size=context,
    )
    sigmas = sigma_table(steps, sampling.shift)
    generator = torch.Generator().manual_seed(0)
    drawn = {draw_window(generator, sampling, Shares(1, 1, 1, 1, 0, 0), jitter=0) for _ in range(6000)}
    levels = {tuple(draw_sigma(window, 1, sigmas, generator)[0].tolist()) for window in drawn}

    def velocity(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        assert tuple(sigma.tolist()) in levels
        return torch.zeros_like(latents)

    def noise(k: int) -> Tensor:
        return torch.zeros(1, 1, chunk_size, 1, 1)

    start = torch.zeros(1, 1, given, 1, 1) if given else None
    list(chunks_of(velocity, noise, sigmas, 20, per_chunk, context=start, context_size=context))


@given(
    steps=st.integers(1, 12),
    data=st.data(),
    chunk_size=st.integers(1, 3),
    context=st.integers(0, 7),
    seed=st.integers(0, 2**32),
)
def test_windows_are_windows(
    steps: int, data: st.DataObject, chunk_size: int, context: int, seed: int
) -> None:
    """For any setting: noise rises along the window, within [0, 1]; only the context is clean; one draw a sample."""
    sampling = replace(
        SAMPLING,
        num_inference_steps=steps,
        steps_per_chunk=data.draw(st.integers(1, steps)),
        chunk_size=chunk_size,
        context_size=context,
    )
    generator = torch.Generator().manual_seed(seed)
    window = draw_window(generator, sampling, EVERY_KIND, context_share=0.5)
    sigma = draw_sigma(window, 3, sigma_table(steps, 2.0), generator)
    assert sigma.shape == (3, window.num_latents) and window.num_latents > window.context
    assert (sigma.diff(dim=1) >= 0).all()
    assert ((sigma > 0).sum(1) == len(window.steps) * chunk_size).all() and sigma.max() <= 1


def test_jitter_is_a_share_of_the_local_gap() -> None:
    """Each level stays within 0.4 of the gap to its neighbours, evenly, one draw for all frames of a sample."""
    sigmas = sigma_table(8, 2.0)
    window = Window("steady", 3, tuple(range(7, -1, -1)), (-0.4, 0.4), 1)
    sigma = draw_sigma(window, 4000, sigmas, torch.Generator().manual_seed(0))[:, 3:]
    assert (sigma[:, -1] == 1).float().mean() == pytest.approx(0.5, abs=0.03)
    for step in range(1, 8):
        level = sigma[:, 7 - step]
        above = (level - sigmas[step]) / (sigmas[step - 1] - sigmas[step])
        below = (sigmas[step] - level) / (sigmas[step] - sigmas[step + 1])
        assert above.max() <= 0.4 + 1e-5 and below.max() <= 0.4 + 1e-5
        assert above.max() > 0.39 and below.max() > 0.39
    faster = sigma[:, 0] < sigmas[7]
    assert ((sigma[:, 3] < sigmas[4]) == faster).all()


def test_an_offset_may_reach_the_end_of_the_table() -> None:
    """Guards --jitter 1, whose offset can be rounded up to a whole step: the last level, not an IndexError."""
    sigma = draw_sigma(Window("steady", 0, (7, 6), (1, 1), 1), 1, sigma_table(8, 2.0), torch.Generator())
    assert sigma.tolist() == [[0, sigma_table(8, 2.0)[7]]]


def test_one_level_windows_fill_the_table() -> None:
    """Levels and stills lie anywhere between clean and noise, evenly in steps of the table."""
    sigmas = torch.linspace(1, 0, 9)
    window = Window("still", 0, (0,), (0, 8), 2)
    sigma = draw_sigma(window, 4000, sigmas, torch.Generator().manual_seed(0))
    assert (sigma[:, 0] == sigma[:, 1]).all() and sigma.min() > 0
    torch.testing.assert_close(sigma[:, 0].sort().values, torch.linspace(0, 1, 4000), atol=0.03, rtol=0)


def test_kinds_and_contexts_come_in_their_shares() -> None:
    """The mixture is the one that was asked for."""
    generator = torch.Generator().manual_seed(1)
    windows = [draw_window(generator, SAMPLING, Shares(), context_share=0.25) for _ in range(4000)]
    counts = Counter(window.kind for window in windows)
    for kind, share in asdict(Shares()).items():
        assert counts[kind] / 4000 == pytest.approx(share, abs=0.03)
    steady = [window.context for window in windows if window.kind == "steady"]
    assert steady.count(3) / len(steady) == pytest.approx(0.25, abs=0.04)


def test_rough_context() -> None:
    """Only the context changes, by up to the sigma asked for, and with none at all it stays."""
    latents = torch.full((400, 3, 5, 2, 2), 5.0)
    rough = roughen_context(latents, 2, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(rough[:, :, 2:], latents[:, :, 2:])
    means = rough[:, :, :2].mean((1, 2, 3, 4)) / 5
    assert 0.4 < means.min() < 0.6 and 0.9 < means.max() < 1.1
    assert torch.equal(roughen_context(latents, 2, 0.0, torch.Generator()), latents)


def test_guidance_becomes_part_of_the_weights() -> None:
    """A table of velocities, trained with self_guided, ends where guidance of that scale would take the truth."""
    truth = torch.tensor([3.0, 1.0])  # noise - data of the prompt's film and of any film
    table = torch.nn.Parameter(torch.zeros(2))

    def model(latents: Tensor, sigma: Tensor, text: Text) -> Tensor:
        return table[text.states[:, 0, 0].long()].view(-1, 1, 1, 1, 1).expand_as(latents)

    text = Text.of_zero_padded(torch.tensor([0.0, 1.0]).view(2, 1, 1))
    noise, sigma = truth.view(2, 1, 1, 1, 1).expand(2, 1, 1, 1, 1), torch.ones(2, 1)
    optimizer = torch.optim.SGD([table], lr=0.2)
    for _ in range(300):
        velocity = self_guided(model, text[1:], guidance=2.5)
        optimizer.zero_grad()
        progressive_loss(velocity, torch.zeros(2, 1, 1, 1, 1), text, sigma, noise).backward()
        optimizer.step()
    torch.testing.assert_close(table.detach(), torch.tensor([1 + 2.5 * (3 - 1), 1.0]))


FROM_OUTSIDE = """
import sys
import longtake.training
assert "torch" not in sys.modules
from longtake.training import draw_window, progressive_loss
import longtake.training.loss
assert progressive_loss is longtake.training.loss.progressive_loss
"""


def test_the_loss_is_at_hand() -> None:
    """Guards `from longtake.training import progressive_loss`, and options that would wait for torch with it."""
    subprocess.run([sys.executable, "-c", FROM_OUTSIDE], check=True)
