"""What streaming codecs share: latents to frames and back, portion by portion, in constant memory.

What a film has seen so far lives in the codec object, never on the autoencoder, so any number of films can
share one. Latents are normalised here by what the autoencoder's record calls its statistics; the autoencoders
speak of raw ones, Open-Sora's of normalised ones.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from longtake.finite import require_finite
from longtake.models.base import Decoder, Encoder
from longtake.models.families import AUTOENCODERS
from longtake.models.records import imported

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
        """What waits for others that will not come: nothing."""
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


def of_rows(vae: Any) -> tuple[Tensor, Tensor]:
    """The statistics of an autoencoder whose configuration gives latents_mean and latents_std, a number a channel."""
    return _wide(vae, vae.config.latents_mean), _wide(vae, vae.config.latents_std)


def of_factors(vae: Any) -> tuple[Tensor, Tensor]:
    """The statistics of one whose configuration gives a scaling_factor and perhaps a shift_factor for all channels."""
    return _wide(vae, [vae.config.get("shift_factor") or 0.0]), _wide(vae, [1 / vae.config.scaling_factor])


def of_buffers(vae: Any) -> tuple[Tensor, Tensor]:
    """The statistics of one that holds latents_mean and latents_std among its weights, and has a scaling_factor."""
    mean, std = _wide(vae, vae.latents_mean), _wide(vae, vae.latents_std)
    return mean, std / vae.config.scaling_factor


def _wide(vae: Any, row: Any) -> Tensor:
    return torch.as_tensor(row, device=vae.device, dtype=torch.float32).view(1, -1, 1, 1, 1)


def statistics(vae: Any) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of an autoencoder's raw latents, (1, C, 1, 1, 1) or (1, 1, 1, 1, 1), float32."""
    mean, std = imported(AUTOENCODERS[type(vae).__name__].statistics)(vae)
    return mean, std


def denormalised(vae: Any, latents: Tensor) -> Tensor:
    """Latents as the autoencoder speaks of them, where it is and in its precision."""
    mean, std = statistics(vae)
    return (latents.to(vae.device, torch.float32) * std + mean).to(vae.dtype)


def normalised(vae: Any, raw: Tensor) -> Tensor:
    """Latents of mean 0 and standard deviation 1 a channel. NumberError if they are not finite."""
    mean, std = statistics(vae)
    return require_finite((raw.float() - mean) / std, ENCODED)


def clamped(frames: Tensor) -> Tensor:
    """Frames in [-1, 1], float32. What is not finite is NaN: an infinite number is no white."""
    return frames.float().clamp(-1, 1).masked_fill(~frames.isfinite(), torch.nan)


def no_latents(frames: Tensor, channels: int, factor: int) -> Tensor:
    """Of the size that an autoencoder of this factor makes of frames."""
    return frames.new_empty(frames.shape[0], channels, 0, *(side // factor for side in frames.shape[3:]))
