"""Streaming codecs of LTX's autoencoders, diffusers' AutoencoderKLLTXVideo and AutoencoderKLLTX2Video.

A latent is 8 frames of 32 x 32 pixels, the first one frame alone. The encoder is causal. The released decoders are not:
a latent's pictures depend on those behind it, 14 to 31 of them, so pictures come that much later.

Decoders that are told a timestep (LTX-Video 0.9.1 and later) take the last step of denoising: they are given latents
with a little noise. It is the authors', https://github.com/Lightricks/LTX-Video, configs/*.yaml, but a function of the
latent's index alone, as is the noise that some layers add.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from longtake.finite import require_finite
from longtake.models.codecs import ENCODED, clamped, no_latents
from longtake.models.layered import Layered
from longtake.models.ltx_layers import decoder_layers, encoder_layers

FRAMES, PIXELS = 8, 32  # of a latent
DECODE_NOISE_SCALE = 0.025
PORTION = 4  # latents that are decoded at once: more repeat less, and take more memory
CODED = "coded"  # the name, in a decoder's state, of how many latents it has seen


class LTXDecoder(Layered):
    """Decodes with LTX's autoencoders: the first latent becomes one frame, every later one eight, later.

    With what `rest` gives it is what `vae.decode` gives, to rounding.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__(vae)
        self.layers = decoder_layers(vae)

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        seen = int(self._kept.get(CODED, torch.tensor(0)))
        raw = denormalised(self._vae, latents)
        if self._vae.config.timestep_conditioning:
            raw = torch.lerp(raw, place_noise(raw, seen), DECODE_NOISE_SCALE)
        self._kept[CODED] = torch.tensor(seen + latents.shape[2])
        portions = raw.to(self._vae.dtype).split(PORTION, dim=2)
        none = latents.new_empty(len(latents), 3, 0, *(PIXELS * side for side in latents.shape[3:]))
        made = [frames for portion in portions for frames in self.through(portion)]
        return clamped(torch.cat(made or [none], dim=2))

    @torch.no_grad()
    def rest(self) -> Iterator[Tensor]:
        yield from map(clamped, self.rest_through())


class LTXEncoder(Layered):
    """Encodes with LTX's autoencoders: the first frame becomes one latent, then every eight.

    Gives what `vae.encode` does, to rounding.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__(vae)
        self.layers = encoder_layers(vae)

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        vae, first = self._vae, not self._kept
        frames = self.whole(frames, FRAMES, alone=1 if first else 0)
        if frames.shape[2] == 0:
            return no_latents(frames, vae.config.latent_channels, PIXELS)
        sizes = [1] * first + [FRAMES] * (frames.shape[2] // FRAMES)
        pixels = _patched(frames.to(vae.device, vae.dtype), vae.config.patch_size)
        moments = [made for group in pixels.split(sizes, dim=2) for made in self.through(group)]
        mean, std = _statistics(vae)
        raw = torch.cat(moments, dim=2).chunk(2, dim=1)[0]
        return require_finite((raw.float() - mean) / std, ENCODED)


def _patched(frames: Tensor, size: int) -> Tensor:
    """Frames (B, 3, N, height, width) as squares of pixels (B, 3 * size * size, N, height / size, width / size)."""
    squares = frames.unflatten(4, (-1, size)).unflatten(3, (-1, size))
    return squares.permute(0, 1, 6, 4, 2, 3, 5).flatten(1, 3)


def place_noise(latents: Tensor, first: int) -> Tensor:
    """Noise like latents (B, C, F, H, W), which are those from index `first` on: each index has its own."""
    shape = (*latents.shape[1:2], *latents.shape[3:])
    drawn = [
        torch.randn(shape, generator=torch.Generator().manual_seed(first + f))
        for f in range(latents.shape[2])
    ]
    return torch.stack(drawn, dim=1).to(latents).expand_as(latents)


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    """The mean of raw latents, and their standard deviation, (C, 1, 1, 1) each."""
    mean, std = (row.float().view(-1, 1, 1, 1) for row in (vae.latents_mean, vae.latents_std))
    return mean, std / vae.config.scaling_factor


def denormalised(vae: Any, latents: Tensor) -> Tensor:
    """Latents as the autoencoder speaks of them, where it is, float32."""
    mean, std = _statistics(vae)
    return latents.to(vae.device, torch.float32) * std + mean
