"""Streaming codecs of Wan's autoencoder, diffusers' AutoencoderKLWan.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanCausalConv3d,
    WanResample,
    patchify,
    unpatchify,
)
from torch import Tensor, nn

from longtake.errors import ModelError
from longtake.models.base import PICTURES, RECENT
from longtake.models.codecs import Streaming, clamped, denormalised, no_latents, normalised
from longtake.models.tiles import decoder_tiles, encoder_tiles, tiled
from longtake.progress import track

FRAMES_PER_LATENT = 4
FIRST_ALONE = "Rep"  # diffusers' word


class _Causal(Streaming):
    """With the cache of a Wan's causal convolutions, a name a layer, and before it that of the tile, if there are any.
    diffusers marks a layer that has seen the first frame alone by a word; here that is a tensor of no numbers."""

    def _cached(self, module: nn.Module, tile: str) -> list[Tensor | str | None]:
        layers = sum(isinstance(layer, WanCausalConv3d) for layer in module.modules())
        found = (self._kept.get(f"{tile}layer.{i}") for i in range(layers))
        return [x if x is None or x.numel() else FIRST_ALONE for x in found]

    def _keep(self, cache: list[Tensor | str | None], tile: str) -> None:
        for i, x in enumerate(cache):
            if x is not None:
                self._kept[f"{tile}layer.{i}"] = torch.empty(0) if isinstance(x, str) else x


class WanDecoder(_Causal):
    """Decodes with AutoencoderKLWan, the plain form of Wan 2.1 or the residual, patchified one of Wan 2.2.

    The first latent becomes one frame, every later one four. Gives what `vae.decode` does, to rounding; in tiles, too,
    which have a cache each.
    Its state has the last latents that it was pushed, as many as its caches depend on. Restored with these alone, it
    makes the caches of them again, to the same bits.
    """

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        super().restore(state)
        if self._kept.keys() == {RECENT}:
            recent, self._kept = self._kept[RECENT].split(1, dim=2), {}
            for latent in track(recent, "decoding the film's last latents again", len(recent)):
                self._decode(latent)

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        return clamped(self._decode(latents))

    def _decode(self, latents: Tensor) -> Tensor:
        vae, first = self._vae, not self._kept
        recent = latents[:, :, :0] if first else self._kept.get(RECENT)
        raw = denormalised(vae, latents)

        def decode(tile: Tensor, name: str = "") -> Tensor:
            return self._decode_tile(tile, name, first)

        tiles = decoder_tiles(vae, raw)
        frames = tiled(vae, raw, tiles, decode) if tiles else decode(raw)
        if recent is not None:
            recent = torch.cat([recent, latents.to(recent)], dim=2)
            self._kept[RECENT] = recent[:, :, -decoder_reach(vae.decoder) :].clone()
        return unpatchify(frames, patch_size=vae.config.patch_size or 1)

    def _decode_tile(self, raw: Tensor, tile: str, first: bool) -> Tensor:
        vae, frames, cache = self._vae, [], self._cached(self._vae.decoder, tile)
        for latent in raw.split(1, dim=2):
            hidden = vae.post_quant_conv(latent)
            frames.append(vae.decoder(hidden, feat_cache=cache, feat_idx=[0], first_chunk=first))
            first = False
        self._keep(cache, tile)
        return torch.cat(frames, dim=2)


class WanEncoder(_Causal):
    """Encodes with AutoencoderKLWan: the first frame becomes one latent, then every four.

    Gives what `vae.encode` does, to rounding; in tiles, too. Its state has how many of the last pictures make a
    new encoder the same.
    """

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        vae, first = self._vae, not self._kept
        seen = frames.shape[2] + int(self._kept.get(PICTURES, 0))
        frames = self.whole(frames, FRAMES_PER_LATENT, alone=1 if first else 0)
        self._kept[PICTURES] = torch.tensor(_needed(vae.encoder, seen), device="cpu")
        if frames.shape[2] == 0:
            return no_latents(frames, vae.config.z_dim, vae.spatial_compression_ratio)
        sizes = [1] * first + [FRAMES_PER_LATENT] * (frames.shape[2] // FRAMES_PER_LATENT)
        pixels = patchify(frames.to(vae.device, vae.dtype), patch_size=vae.config.patch_size or 1)

        def encode(tile: Tensor, name: str = "") -> Tensor:
            return self._encode_tile(tile, name, sizes)

        tiles = encoder_tiles(vae, frames)
        moments = tiled(vae, pixels, tiles, encode) if tiles else encode(pixels)
        return normalised(vae, moments.chunk(2, dim=1)[0])

    def _encode_tile(self, pixels: Tensor, tile: str, sizes: list[int]) -> Tensor:
        vae, cache = self._vae, self._cached(self._vae.encoder, tile)
        moments = [
            vae.quant_conv(vae.encoder(group, feat_cache=cache, feat_idx=[0]))
            for group in pixels.split(sizes, dim=2)
        ]
        self._keep(cache, tile)
        return torch.cat(moments, dim=2)


def decoder_reach(decoder: nn.Module) -> int:
    """How many latents, the last ones, the caches of a Wan's decoder depend on. What came before leaves no trace.

    A causal convolution of length k reaches k - 1 frames back. The layers are walked from the picture to the latents:
    where a layer doubles the frames, so many are half as many of those before it, rounded up.
    """
    layers = [x for x in decoder.modules() if isinstance(x, WanCausalConv3d)]
    doubling = {
        x.time_conv for x in decoder.modules() if isinstance(x, WanResample) and x.mode == "upsample3d"
    }
    frames = 0
    for layer in reversed(layers):
        if layer in doubling:
            frames = -(-frames // 2)
        frames += layer.kernel_size[0] - 1
    return frames


def encoder_reach(encoder: nn.Module) -> int:
    """How many pictures, the last ones of whole latents, the caches of a Wan's encoder depend on; as for a decoder.

    The layers are walked from the latents to the pictures. A layer that halves the frames makes n of 2n + 1.
    """
    layers = [x for x in encoder.modules() if isinstance(x, WanCausalConv3d)]
    halving = {
        x.time_conv for x in encoder.modules() if isinstance(x, WanResample) and x.mode == "downsample3d"
    }
    frames = 0
    for layer in reversed(layers):
        frames = 2 * frames + 1 if layer in halving else frames + layer.kernel_size[0] - 1
    return frames


def _needed(encoder: nn.Module, seen: int) -> int:
    """How many of the pictures that were seen, the last ones, make a new encoder the same: one that stands alone as a
    film's first does, those in reach, in whole latents, and those that wait."""
    latents = -(-encoder_reach(encoder) // FRAMES_PER_LATENT)
    beyond = seen - FRAMES_PER_LATENT * (1 + latents)
    return seen - FRAMES_PER_LATENT * max(0, -(-beyond // FRAMES_PER_LATENT))


def check_config(config: Any, place: str) -> None:
    """ModelError unless a Wan's autoencoder has the factors and the colours that its configuration says."""
    patch = config.patch_size or 1
    for said, made, what in (
        (config.scale_factor_spatial, patch * 2 ** (len(config.dim_mult) - 1), "pixels a latent"),
        (config.scale_factor_temporal, 2 ** sum(config.temperal_downsample), "frames a latent"),
        (config.in_channels, 3 * patch**2, "channels in"),
        (config.out_channels, 3 * patch**2, "channels out"),
    ):
        if said != made:
            raise ModelError(f"{place} says {said} {what}, its layers make {made}: mend it")
