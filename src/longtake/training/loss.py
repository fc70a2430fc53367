"""The progressive loss: flow matching on windows whose noise rises along time (PA-VDM, arXiv 2410.08151, §3).

A batch draws a window that sampling passes through, as the steps that each chunk in it has taken; each sample adds
an offset of its own to them, and the sampler's own table of sigmas, between its entries a straight line, says the
noise levels. Knows nothing of data, optimizers or files.

B batch, C channels, F latent frames, H W latent height and width
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from longtake.ladder import Ladder
from longtake.models.base import ModelDefaults
from longtake.models.text import Text

# (latents (B, C, F, H, W), sigma (B, F), text) to noise - data
Velocity = Callable[[Tensor, Tensor, Text], Tensor]


@dataclass(frozen=True)
class Shares:
    """How often a batch sees each kind of window; any positive numbers.

    steady: the whole ladder. start: the window grows from one chunk of noise, or its context from none. extend: it
    grows behind a full context. drain: no noise enters any more. level: the whole window at one level, as
    clip-by-clip methods see it. still: one chunk alone at any level, the cheapest way to learn what words look like.
    """

    steady: float = 0.45
    start: float = 0.2
    extend: float = 0.05
    drain: float = 0.05
    level: float = 0.25
    still: float = 0.0


@dataclass(frozen=True)
class Window:
    """What a batch sees: `context` clean latents, then chunks that have taken `steps`, the oldest first, plus an
    offset between `offset[0]` and `offset[1]`, one a sample."""

    kind: str
    context: int
    steps: tuple[int, ...]
    offset: tuple[float, float]
    chunk_size: int

    @property
    def num_latents(self) -> int:
        return self.context + len(self.steps) * self.chunk_size


def draw_window(
    generator: torch.Generator,
    sampling: ModelDefaults,
    shares: Shares,
    jitter: float = 0.4,
    context_share: float = 1.0,
) -> Window:
    """Draw one of the windows that sampling with these settings passes through.

    jitter: the offset's bound, in steps of the table (the paper's 0.4). context_share: how often a steady, drain or
    level window has its context, and a start grows one. S need not be a multiple of M.
    """
    S, M, size = sampling.num_inference_steps, sampling.steps_per_chunk, sampling.chunk_size
    weights = asdict(shares)
    kind = list(weights)[
        int(torch.multinomial(torch.tensor([*weights.values()]).float(), 1, generator=generator))
    ]
    context = sampling.context_size * int(torch.rand((), generator=generator) < context_share)
    ladder = tuple(Ladder(S, M, size, 1).rungs(_below(generator, M)))
    rows, near = len(ladder), (-jitter, jitter)
    match kind:
        case "steady":
            return Window(kind, context, ladder, near, size)
        case "start":
            grown = 1 + _below(generator, rows + -(-context // size))
            return Window(kind, min(max(0, grown - rows) * size, context), ladder[-grown:], near, size)
        case "extend":
            return Window(kind, sampling.context_size, ladder[-1 - _below(generator, rows) :], near, size)
        case "drain":
            return Window(kind, context, ladder[: 1 + _below(generator, rows)], near, size)
        case "level":
            return Window(kind, context, (0,) * rows, (0, S), size)
    return Window(kind, 0, (0,), (0, S), size)


def draw_places(window: Window, batch: int, end: int, generator: torch.Generator) -> Tensor:
    """Places (B, F) of a window on a ladder of `end` steps, as steps taken: 0 is noise, `end` clean, as context is."""
    low, high = window.offset
    offset = low + (high - low) * torch.rand(batch, 1, generator=generator)
    place = (torch.tensor(window.steps) + offset).clamp_min(0)
    place = place.repeat_interleave(window.chunk_size, dim=1)
    return torch.cat([place.new_full((batch, window.context), end), place], dim=1)


def levels(place: Tensor, sigmas: Tensor) -> Tensor:
    """Noise levels of places on the ladder of the table `sigmas` (S+1,), between its entries a straight line."""
    below = place.long().clamp_max(len(sigmas) - 2)
    return torch.lerp(sigmas[below], sigmas[below + 1], place - below)


def draw_sigma(window: Window, batch: int, sigmas: Tensor, generator: torch.Generator) -> Tensor:
    """Noise levels (B, F) in [0, 1] for a window: 0 on its context, from the sampler's table (S+1,) elsewhere."""
    return levels(draw_places(window, batch, len(sigmas) - 1, generator), sigmas)


def roughen_context(latents: Tensor, context: int, noise: float, generator: torch.Generator) -> Tensor:
    """Latents (B, C, F, H, W) whose first `context` frames carry noise of a sigma in [0, noise], one a sample.

    The model is still told sigma 0: at sampling its context is its own film, and no more spotless than this.
    """
    head, tail = latents[:, :, :context], latents[:, :, context:]
    level = (noise * torch.rand((len(latents), 1, 1, 1, 1), generator=generator)).to(head.device)
    rough = (1 - level) * head + level * torch.randn(head.shape, generator=generator).to(head.device)
    return torch.cat([rough, tail], dim=2)


def least_sigma(prediction: str, sigmas: Tensor) -> float:
    """The `least` of frame_errors for a model that predicts so, by the sampler's table (S+1,)."""
    return float(sigmas[-2]) if prediction == "sample" else 0.0


def frame_errors(
    model: Velocity, latents: Tensor, text: Text, sigma: Tensor, noise: Tensor, least: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The mean squared error of the velocity in each latent frame (B, F), and which of them count (sigma > 0).

    The model sees (1 - sigma) * latents + sigma * noise; its target is noise - latents. latents and noise
    (B, C, F, H, W), sigma (B, F). least: below this sigma an error counts as it would
    there, (sigma / least) ** 2 times; a model that predicts the sample needs it, since its velocity's error, the
    sample's / sigma, has no bound. The sampler's last sigma is a good one: it visits none below.
    """
    velocity = model(noised(latents, noise, sigma), sigma, text)
    return errors_of(velocity, noise - latents, sigma, least)


def noised(latents: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """(1 - sigma) * latents + sigma * noise, (B, C, F, H, W), at the level of each frame (B, F)."""
    level = sigma[:, None, :, None, None]
    return (1 - level) * latents + level * noise


def errors_of(velocity: Tensor, target: Tensor, sigma: Tensor, least: float = 0.0) -> tuple[Tensor, Tensor]:
    """What frame_errors tells, of velocities and their targets (B, C, F, H, W); in float32."""
    errors = (velocity.float() - target).square().mean(dim=(1, 3, 4))
    return errors * (sigma / max(least, 1e-9)).clamp_max(1).square(), sigma > 0


def progressive_loss(
    model: Velocity, latents: Tensor, text: Text, sigma: Tensor, noise: Tensor, least: float = 0.0
) -> Tensor:
    """The mean of `frame_errors` over the noisy latent frames of the batch: a scalar, for any trainer."""
    errors, noisy = frame_errors(model, latents, text, sigma, noise, least)
    return (errors * noisy).sum() / noisy.sum()


def self_guided(model: Velocity, null_text: Text, guidance: float) -> Velocity:
    """The model as `progressive_loss` must see it for guidance to become part of its weights.

    What it learns is the velocity that classifier-free guidance of this scale (1 is off) would make of it and of
    null_text, the empty prompt, 1 row or B, so that one call of the network films as two did.
    Source: Tang et al., "Diffusion Models without Classifier-free Guidance", arXiv 2502.12154, with w = 1 - 1 /
    guidance.
    """

    def velocity(latents: Tensor, sigma: Tensor, text: Text) -> Tensor:
        guided = model(latents, sigma, text)
        with torch.no_grad():
            plain = model(latents, sigma, null_text.expand(len(text)))
            surplus = (1 - 1 / guidance) * (guided - plain)
        return guided - surplus

    return velocity


def _below(generator: torch.Generator, n: int) -> int:
    return int(torch.randint(n, (1,), generator=generator))
