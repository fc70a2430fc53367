"""What networks have in common whose text tokens go through attention beside those of the picture.

Stock, such a network takes one timestep a clip, and modulates all of its tokens by it. Here it takes (B, 1 + F): the
text's own, then each latent frame's. A modulation is held once a frame and broadcast over the frame's tokens. A
timestep a clip, (B,), still works as in stock.

B batch, F latent frames, P tokens a frame, L text tokens, D network width
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models import embeddings, normalization
from torch import Tensor, nn


def with_text(timestep: Tensor) -> Tensor:
    """The timesteps of latent frames (B, F), 0 clean, behind the text's: (B, 1 + F).

    The text's is the mean of those that are not clean. So it is one that the network was trained with, and in the
    middle of the frames that are being made; once the window is full it stays the same from pass to pass, however much
    clean context there is; and frames of equal timesteps share theirs with it, as in stock.
    """
    noisy = (timestep > 0).sum(dim=1, keepdim=True)
    return torch.cat([timestep.sum(dim=1, keepdim=True) / noisy.clamp_min(1), timestep], dim=1)


def apart(temb: Tensor) -> tuple[Tensor, Tensor]:
    """What is embedded of timesteps (B, 1 + F), (B, 1 + F, D), as the text's (B, 1, D) and the frames' (B, F, 1, D).

    That of (B,), (B, D), is one for both: (B, 1, D) and (B, 1, 1, D).
    """
    if temb.ndim == 2:
        return temb[:, None], temb[:, None, None]
    return temb[:, :1], temb[:, 1:, None]


def in_frames(tokens: Tensor, of_frames: Tensor) -> Tensor:
    """Tokens (B, F * P, D) as (B, F, P, D), to which what is embedded of the frames, (B, F, 1, D), broadcasts."""
    return tokens.unflatten(1, (of_frames.shape[1], -1))


def modulation(norm: Any, of_times: Tensor, count: int) -> tuple[Tensor, ...]:
    """Shifts, scales and gates, `count` in all, by one of diffusers' adaptive norms; each shaped like of_times."""
    rows: Tensor = norm.linear(norm.silu(of_times))
    return rows.chunk(count, dim=-1)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalised tokens, scaled and shifted."""
    return x * (1 + scale) + shift


class Timesteps(embeddings.Timesteps):
    """diffusers' sinusoids for timesteps of any shape: (…,) to (…, D), float32."""

    def forward(self, timesteps: Tensor) -> Tensor:
        sinusoids: Tensor = super().forward(timesteps.flatten())
        return sinusoids.unflatten(0, timesteps.shape)


def fed(x: Tensor, norm: nn.Module, ff: nn.Module, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
    """Tokens behind their feed-forward layers."""
    return x + ff(modulated(norm(x), shift, scale)) * gate


class AdaLayerNormContinuous(normalization.AdaLayerNormContinuous):
    """The last norm, which modulates the frames' tokens alone."""

    def forward(self, x: Tensor, conditioning_embedding: Tensor) -> Tensor:
        _, of_frames = apart(conditioning_embedding)
        scale, shift = modulation(self, of_frames.to(x.dtype), 2)
        return modulated(self.norm(in_frames(x, of_frames)), shift, scale).flatten(1, 2)
