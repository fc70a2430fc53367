"""Streaming codecs of HunyuanVideo's autoencoder, diffusers' AutoencoderKLHunyuanVideo.

It normalises over all frames that it is given at once, so what it makes of a frame depends on all of them. diffusers
gives it tiles in time: 17 frames, 5 latents, of which the next tile shares the last 5 frames, 2 latents. Here the same
tiles are made as soon as they are full. So the first 5 latents become 13 frames, and every 3 more 12; the first 17
frames become 5 latents, and every 12 more 3. `rest` gives what is left, of a tile that
is not full; frames of less than a latent are dropped.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from longtake.models.codecs import WAITING, Streaming, clamped, denormalised, no_latents, normalised
from longtake.models.tiles import in_tiles

TAIL = "tail"  # the name, in a codec's state, of what the next tile is faded in over


class HunyuanVideoDecoder(Streaming):
    """Decodes with AutoencoderKLHunyuanVideo. With what `rest` gives it is what `vae.decode` gives."""

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        vae, (size, stride, fade) = self._vae, tiles_of(self._vae)
        raw = denormalised(vae, latents)
        sides = (side * vae.spatial_compression_ratio for side in raw.shape[3:])
        made = [raw.new_empty(len(raw), 3, 0, *sides)]
        waiting = torch.cat([self._kept.get(WAITING, raw[:, :, :0]), raw], dim=2)
        while waiting.shape[2] > size:
            frames = self._faded(waiting[:, :, : size + 1])
            made.append(frames[:, :, :-fade])
            self._kept[TAIL] = frames[:, :, -fade:].clone()
            waiting = waiting[:, :, stride:]
        self._kept[WAITING] = waiting.clone()
        return clamped(torch.cat(made, dim=2))

    @torch.no_grad()
    def rest(self) -> Iterator[Tensor]:
        if WAITING in self._kept:
            yield clamped(self._faded(self._kept[WAITING]))

    def _faded(self, raw: Tensor) -> Tensor:
        """The frames of a tile, (B, C, F, H, W), those of the one before fading into them."""
        vae, (_, _, fade) = self._vae, tiles_of(self._vae)
        if in_tiles(vae, raw, vae.spatial_compression_ratio):
            frames: Tensor = vae.tiled_decode(raw).sample
        else:
            frames = vae.decoder(vae.post_quant_conv(raw))
        if TAIL in self._kept:
            frames = vae.blend_t(self._kept[TAIL], frames[:, :, 1:], fade)
        return frames


class HunyuanVideoEncoder(Streaming):
    """Encodes with AutoencoderKLHunyuanVideo. With what `rest` gives it is what `vae.encode` gives."""

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        vae, (size, stride, _) = self._vae, tiles_of(self._vae)
        factor = vae.temporal_compression_ratio
        pixels = frames.to(vae.device, vae.dtype)
        made = [no_latents(pixels, vae.config.latent_channels, vae.spatial_compression_ratio)]
        waiting = torch.cat([self._kept.get(WAITING, pixels[:, :, :0]), pixels], dim=2)
        while waiting.shape[2] > size * factor:
            made.append(self._means(waiting[:, :, : size * factor + 1]))
            self._kept[TAIL] = torch.empty(0)  # there is one before
            waiting = waiting[:, :, stride * factor :]
        self._kept[WAITING] = waiting.clone()
        return normalised(vae, torch.cat(made, dim=2))

    @torch.no_grad()
    def rest(self) -> Iterator[Tensor]:
        if (pixels := self._kept.get(WAITING)) is not None:
            factor = self._vae.temporal_compression_ratio
            whole = (pixels.shape[2] - 1) // factor * factor + 1
            yield normalised(self._vae, self._means(pixels[:, :, :whole]))

    def _means(self, pixels: Tensor) -> Tensor:
        """The latents that a tile of frames adds: all but two of those that it shares with the one before."""
        vae = self._vae
        if in_tiles(vae, pixels, 1):
            moments: Tensor = vae.tiled_encode(pixels)
        else:
            moments = vae.quant_conv(vae.encoder(pixels))
        return moments[:, : vae.config.latent_channels, 2 if TAIL in self._kept else 0 :]


def tiles_of(vae: Any) -> tuple[int, int, int]:
    """The latents of a tile in time, after its first, and from one tile to the next; the frames that two share."""
    factor = vae.temporal_compression_ratio
    size, stride = vae.tile_sample_min_num_frames, vae.tile_sample_stride_num_frames
    return size // factor, stride // factor, size - stride
