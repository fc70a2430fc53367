"""What streaming codecs share: latents to frames and back, portion by portion, in constant memory.

What a film has seen so far lives in the codec object, never on the autoencoder, so any number of films can
share one. Latents are normalised here by the autoencoder's latents_mean and latents_std; the autoencoders
speak of raw ones, Open-Sora's of normalised ones.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, N pixel frames
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from longtake.finite import require_finite
from longtake.models.base import Decoder, Encoder
from longtake.models.families import AUTOENCODERS, imported

FRAMES_PER_LATENT = 4
WAITING = "waiting"  # the name, in a codec's state, of what does not fill a portion yet
ENCODED = "what the autoencoder makes of pictures"


class Streaming:
    """What a film has seen so far, as tensors by name: none before the first push."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._kept: dict[str, Tensor] = {}

    def state(self) -> dict[str, Tensor]:
        return dict(self._kept)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._kept = dict(state)

    def rest(self) -> Iterator[Tensor]:
        """Of decoders: what waits for latents that will not come, nothing."""
        return iter(())

    def whole(self, frames: Tensor, size: int, alone: int = 0) -> Tensor:
        """Those that wait, and frames or latents: as many as fill whole portions of `size`; the first `alone`, 0 or 1,
        fills one by itself. The rest waits."""
        frames = torch.cat([self._kept.get(WAITING, frames[:, :, :0]), frames], dim=2)
        whole = alone + (frames.shape[2] - alone) // size * size
        self._kept[WAITING] = frames[:, :, whole:].clone()
        return frames[:, :, :whole]


def new_decoder(vae: Any) -> Decoder:
    """A decoder for one film, of the kind that the autoencoder needs."""
    return imported(f"{AUTOENCODERS[type(vae).__name__].codec}Decoder")(vae)


def new_encoder(vae: Any) -> Encoder:
    """An encoder for one film, of the kind that the autoencoder needs."""
    return imported(f"{AUTOENCODERS[type(vae).__name__].codec}Encoder")(vae)


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    mean, std = (
        torch.tensor(row, device=vae.device).view(1, -1, 1, 1, 1)
        for row in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, std


def denormalised(vae: Any, latents: Tensor) -> Tensor:
    """Latents as the autoencoder speaks of them, where it is and in its precision."""
    mean, std = _statistics(vae)
    return (latents.to(vae.device, torch.float32) * std + mean).to(vae.dtype)


def normalised(vae: Any, raw: Tensor) -> Tensor:
    """Latents of mean 0 and standard deviation 1 a channel. NumberError if they are not finite."""
    mean, std = _statistics(vae)
    return require_finite((raw.float() - mean) / std, ENCODED)


def clamped(frames: Tensor) -> Tensor:
    """Frames in [-1, 1], float32. What is not finite is NaN: an infinite number is no white."""
    return frames.float().clamp(-1, 1).masked_fill(~frames.isfinite(), torch.nan)


def no_latents(frames: Tensor, channels: int, factor: int) -> Tensor:
    """Of the size that an autoencoder of this factor makes of frames."""
    return frames.new_empty(frames.shape[0], channels, 0, *(side // factor for side in frames.shape[3:]))
