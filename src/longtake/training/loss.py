"""The progressive loss: flow matching on windows whose noise rises along time (PA-VDM, arXiv 2410.08151, §3).

Shapes: B batch, C channels, F latent frames, H W latent height and width, L text tokens.

Knows nothing of data, optimizers or files. Noise levels are drawn before the shift as t in [0, 1]; the ladder of
the sampler with K chunks in flight holds t = (i + u)/K, i = 0 … K-1, where u in (0, 1] is how far the window is
from its next shift. Every level that sampling meets, pure noise (t = 1) included, lies on such a ladder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]  # (latents (B,C,F,H,W), sigma (B,F), text (B,L,D))

KINDS = {"steady": 0.3, "start": 0.3, "drain": 0.05, "level": 0.1, "still": 0.25}  # share of batches
CONTEXT_SHARE = 0.3  # share of batches that see a context, apart from stills
CONTEXT_NOISE = 0.3  # a context in training carries noise up to this sigma, against exposure bias


@dataclass(frozen=True)
class Window:
    """Which part of the ladder a batch sees: `context` clean latents, then chunks `lowest` … `highest` - 1 of it."""

    kind: str
    context: int
    lowest: int
    highest: int
    chunk_size: int = 1

    @property
    def num_latents(self) -> int:
        return self.context + (self.highest - self.lowest) * self.chunk_size


def draw_window(generator: torch.Generator, rungs: int, context_size: int, chunk_size: int = 1) -> Window:
    """Draw one of the windows that sampling passes through, with a full context or, more often, none.

    steady: the whole ladder. start: the window grows, n upper rungs without a context, or the whole ladder with a
    context that is still short. drain: n lower rungs. level: the whole window at one level, so that clip-by-clip
    methods find the model as well trained. still: one chunk alone at any level, the cheapest way to learn what the
    words look like.
    """
    shares = torch.tensor(list(KINDS.values()))
    kind = list(KINDS)[int(torch.multinomial(shares, 1, generator=generator))]
    context = context_size * int(torch.rand((), generator=generator) < CONTEXT_SHARE)
    if kind == "start":
        grown = 1 + _below(generator, rungs + context // chunk_size)
        rows = min(grown, rungs)
        return Window(kind, min((grown - rows) * chunk_size, context), rungs - rows, rungs, chunk_size)
    if kind == "drain":
        return Window(kind, context, 0, 1 + _below(generator, rungs), chunk_size)
    if kind == "still":
        return Window(kind, 0, 0, 1, chunk_size)
    return Window(kind, context, 0, rungs, chunk_size)


def draw_sigma(window: Window, batch: int, rungs: int, shift: float, generator: torch.Generator) -> Tensor:
    """Noise levels (B, F) in [0, 1] for a window: 0 on the context, one draw a sample for the rest."""
    u = 1 - torch.rand(batch, 1, generator=generator)
    if window.kind in ("level", "still"):
        t = u.expand(batch, window.highest - window.lowest)
    else:
        t = (torch.arange(window.lowest, window.highest) + u) / rungs
    t = t.repeat_interleave(window.chunk_size, dim=1)
    sigma = shift * t / (1 + (shift - 1) * t)
    return torch.cat([torch.zeros(batch, window.context), sigma], dim=1)


def roughen_context(latents: Tensor, context: int, generator: torch.Generator) -> Tensor:
    """Latents (B, C, F, H, W) whose first `context` frames carry noise of a sigma in [0, CONTEXT_NOISE], one a sample.

    The model is still told sigma 0: at sampling its context is its own film, and no more spotless than this.
    """
    head, tail = latents[:, :, :context], latents[:, :, context:]
    level = CONTEXT_NOISE * torch.rand((len(latents), 1, 1, 1, 1), generator=generator)
    noise = torch.randn(head.shape, generator=generator)
    return torch.cat([(1 - level) * head + level * noise, tail], dim=2)


def progressive_loss(
    velocity: Velocity, latents: Tensor, sigma: Tensor, noise: Tensor, text: Tensor
) -> Tensor:
    """Mean squared error of the velocity, noise - latents, over the noisy latent frames (sigma > 0).

    latents and noise (B, C, F, H, W), sigma (B, F), text (B, L, D). Returns a scalar.
    """
    level = sigma[:, None, :, None, None]
    predicted = velocity((1 - level) * latents + level * noise, sigma, text)
    error = (predicted.float() - (noise - latents)).square().mean(dim=(1, 3, 4))
    noisy = sigma > 0
    return (error * noisy).sum() / noisy.sum()


def _below(generator: torch.Generator, n: int) -> int:
    return int(torch.randint(n, (1,), generator=generator))
