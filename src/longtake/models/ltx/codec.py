"""Streaming codecs of LTX's autoencoders, diffusers' AutoencoderKLLTXVideo and AutoencoderKLLTX2Video.

A latent is 8 frames of 32 x 32 pixels, the first one frame alone. The encoder is causal. The released decoders are not:
a latent's pictures depend on those behind it, 14 to 31 of them, so pictures come that much later.

Decoders that are told a timestep (LTX-Video 0.9.1 and later) take the last step of denoising: they are given latents
with a little noise. It is the authors', https://github.com/Lightricks/LTX-Video, configs/*.yaml, but a function of the
latent's index alone, as is the noise that some layers add.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from longtake.models.base import RECENT
from longtake.models.codecs import clamped, denormalised, no_latents, normalised
from longtake.models.ltx.layered import Layered, reach
from longtake.models.ltx.layers import decoder_layers, encoder_layers

FRAMES, PIXELS = 8, 32  # of a latent
DECODE_NOISE_SCALE = 0.025
CODED = "coded"  # the name, in a decoder's state, of how many latents it has seen


class LTXDecoder(Layered):
    """Decodes with LTX's autoencoders: the first latent becomes one frame, every later one eight, later.

    With what `rest` gives it is what `vae.decode` gives, to rounding. Its state has the latents that were pushed last,
    as many as its layers depend on. Restored with these and their place alone, it makes the rest of it again, to the
    same bits: latents are always decoded one by one.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__(vae)
        self.layers = decoder_layers(vae)
        self._reach = math.ceil(reach(self.layers)) + 1

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        if self._kept.keys() == {RECENT, CODED}:
            recent = self._kept[RECENT]
            self._kept = {CODED: self._kept[CODED] - recent.shape[2]}
            self._decoded(recent)
        none = latents.new_empty(len(latents), 3, 0, *(PIXELS * side for side in latents.shape[3:]))
        return clamped(torch.cat(self._decoded(latents) or [none], dim=2))

    @torch.no_grad()
    def rest(self) -> Iterator[Tensor]:
        yield from map(clamped, self.rest_through())

    def _decoded(self, latents: Tensor) -> list[Tensor]:
        vae, coded = self._vae, self._kept.get(CODED, torch.tensor(0, device="cpu"))
        raw = denormalised(vae, latents)
        if vae.config.timestep_conditioning:
            raw = torch.lerp(raw, place_noise(raw, int(coded)), DECODE_NOISE_SCALE)
        recent = torch.cat([self._kept.get(RECENT, latents[:, :, :0]), latents], dim=2)
        self._kept[RECENT] = recent[:, :, -self._reach :].clone()
        self._kept[CODED] = coded + latents.shape[2]
        return [frames for latent in raw.split(1, dim=2) for frames in self.through(latent)]


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
        return normalised(vae, torch.cat(moments, dim=2).chunk(2, dim=1)[0])


def _patched(frames: Tensor, size: int) -> Tensor:
    """Frames (B, 3, N, height, width) as squares of pixels (B, 3 * size * size, N, height / size, width / size)."""
    squares = frames.unflatten(4, (-1, size)).unflatten(3, (-1, size))
    return squares.permute(0, 1, 6, 4, 2, 3, 5).flatten(1, 3)


def place_noise(latents: Tensor, first: int) -> Tensor:
    """Noise like latents (B, C, F, H, W), which are those from index `first` on: each index has its own."""
    shape = (*latents.shape[1:2], *latents.shape[3:])
    drawn = [
        torch.randn(shape, generator=torch.Generator().manual_seed(first + f), device="cpu")
        for f in range(latents.shape[2])
    ]
    return torch.stack(drawn, dim=1).to(latents).expand_as(latents)
