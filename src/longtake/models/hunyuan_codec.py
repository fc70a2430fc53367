"""Streaming codecs of HunyuanVideo's autoencoder, diffusers' AutoencoderKLHunyuanVideo.

It normalises over all frames that it is given at once, so what it makes of a frame depends on all of them. diffusers
gives it tiles in time: 17 frames, 5 latents, of which the next tile shares the last 5 frames, 2 latents. Here the same
tiles are made as soon as they are full. So 5 latents become 13 frames, and every 3 more 12, the last latent waiting for
the next tile; 17 frames become 5 latents, and every 12 more 3.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from longtake.finite import require_finite
from longtake.models.codecs import ENCODED, Streaming, clamped

TILE = "tile"  # the name of what the next tile begins with, in a codec's state
TAIL = "tail"  # of the frames that the next tile is faded in over


class HunyuanVideoDecoder(Streaming):
    """Decodes with AutoencoderKLHunyuanVideo; gives what `vae.decode` does of 3k + 2 latents, but for its last 4
    frames."""

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        vae, (size, stride, fade) = self._vae, tiles_of(self._vae)
        factor = vae.temporal_compression_ratio
        raw = (latents.to(vae.device, torch.float32) / vae.config.scaling_factor).to(vae.dtype)
        waiting = torch.cat([self._kept.get(TILE, raw[:, :, :0]), raw], dim=2)
        frames = [
            raw.new_empty(len(raw), 3, 0, *(side * vae.spatial_compression_ratio for side in raw.shape[3:]))
        ]
        while waiting.shape[2] > size:
            tile = decoded_tile(vae, waiting[:, :, : size + 1])
            if TAIL in self._kept:
                tile = vae.blend_t(self._kept[TAIL], tile[:, :, 1:], fade)
            frames.append(tile[:, :, :-fade])
            self._kept[TAIL] = tile[:, :, -fade:].clone()
            waiting = waiting[:, :, stride:]
        assert factor * (size - stride) == fade
        self._kept[TILE] = waiting.clone()
        return clamped(torch.cat(frames, dim=2))


class HunyuanVideoEncoder(Streaming):
    """Encodes with AutoencoderKLHunyuanVideo; gives what `vae.encode` does of 12k + 5 frames."""

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        vae, (size, stride, _) = self._vae, tiles_of(self._vae)
        factor = vae.temporal_compression_ratio
        pixels = frames.to(vae.device, vae.dtype)
        waiting = torch.cat([self._kept.get(TILE, pixels[:, :, :0]), pixels], dim=2)
        sides = (side // vae.spatial_compression_ratio for side in pixels.shape[3:])
        latents = [pixels.new_empty(len(pixels), vae.config.latent_channels, 0, *sides)]
        while waiting.shape[2] > size * factor:
            tile = encoded_tile(vae, waiting[:, :, : size * factor + 1])
            latents.append(tile if TAIL not in self._kept else tile[:, :, -stride:])
            self._kept[TAIL] = torch.empty(0)
            waiting = waiting[:, :, stride * factor :]
        self._kept[TILE] = waiting.clone()
        raw = torch.cat(latents, dim=2).float()
        return require_finite(raw * vae.config.scaling_factor, ENCODED)


def tiles_of(vae: Any) -> tuple[int, int, int]:
    """The size of tiles in time and from one to the next, both in latents after the first, and the frames of a fade."""
    factor = vae.temporal_compression_ratio
    size, stride = vae.tile_sample_min_num_frames, vae.tile_sample_stride_num_frames
    return size // factor, stride // factor, size - stride


def decoded_tile(vae: Any, raw: Tensor) -> Tensor:
    """Frames of raw latents in one go, in tiles over the picture alone where that was switched on."""
    frames: Tensor = vae.tiled_decode(raw).sample if vae.use_tiling else vae.decoder(vae.post_quant_conv(raw))
    return frames


def encoded_tile(vae: Any, pixels: Tensor) -> Tensor:
    """The means of the latents of frames in one go, likewise."""
    moments: Tensor = vae.tiled_encode(pixels) if vae.use_tiling else vae.quant_conv(vae.encoder(pixels))
    return moments.chunk(2, dim=1)[0]
