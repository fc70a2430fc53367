"""Streaming codecs: latents to frames and back, portion by portion, in constant memory.

What a film has seen so far lives in the codec object, never on the autoencoder, so any number of films can
share one. Latents are normalised here by the autoencoder's latents_mean and latents_std; the autoencoders
speak of raw ones, Open-Sora's of normalised ones.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, N pixel frames
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, patchify, unpatchify
from torch import Tensor, nn

from longtake.finite import require_finite
from longtake.models.base import Decoder, Encoder
from longtake.models.lapped import LAP_FRAMES, AutoencoderLapped, Memory, lapped
from longtake.models.lapped import PIXELS as LAPPED_PIXELS
from longtake.models.open_sora.autoencoder import GROUP_FRAMES, GROUP_LATENTS, AutoencoderOpenSora
from longtake.models.tubelet import PIXELS, AutoencoderTubelet

FRAMES_PER_LATENT = 4
WAITING = "waiting"  # the name, in a codec's state, of what does not fill a portion yet
FIRST_ALONE = "Rep"  # diffusers' word
ENCODED = "what the autoencoder makes of pictures"


class _Streaming:
    """What a film has seen so far, as tensors by name: none before the first push."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._kept: dict[str, Tensor] = {}

    def state(self) -> dict[str, Tensor]:
        return dict(self._kept)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._kept = dict(state)

    def _whole(self, frames: Tensor, size: int, alone: int = 0) -> Tensor:
        """Those that wait, and frames or latents: as many as fill whole portions of `size`; the first `alone`, 0 or 1,
        fills one by itself. The rest waits."""
        frames = torch.cat([self._kept.get(WAITING, frames[:, :, :0]), frames], dim=2)
        whole = alone + (frames.shape[2] - alone) // size * size
        self._kept[WAITING] = frames[:, :, whole:].clone()
        return frames[:, :, :whole]


class _Causal(_Streaming):
    """With the cache of a Wan's causal convolutions, a name a layer. diffusers marks a layer that has seen the first
    frame alone by a word; here that is a tensor of no numbers."""

    def _cached(self, module: nn.Module) -> list[Tensor | str | None]:
        layers = sum(isinstance(layer, WanCausalConv3d) for layer in module.modules())
        found = (self._kept.get(f"layer.{i}") for i in range(layers))
        return [x if x is None or x.numel() else FIRST_ALONE for x in found]

    def _keep(self, cache: list[Tensor | str | None]) -> None:
        for i, x in enumerate(cache):
            if x is not None:
                self._kept[f"layer.{i}"] = torch.empty(0) if isinstance(x, str) else x


class WanDecoder(_Causal):
    """Decodes with AutoencoderKLWan, the plain form of Wan 2.1 or the residual, patchified one of Wan 2.2.

    The first latent becomes one frame, every later one four. Gives what `vae.decode` does, to rounding.
    """

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        vae, frames, cache = self._vae, [], self._cached(self._vae.decoder)
        first = not self._kept
        for latent in _raw(vae, latents).split(1, dim=2):
            hidden = vae.post_quant_conv(latent)
            frames.append(vae.decoder(hidden, feat_cache=cache, feat_idx=[0], first_chunk=first))
            first = False
        self._keep(cache)
        pixels = unpatchify(torch.cat(frames, dim=2), patch_size=vae.config.patch_size or 1)
        return _clamped(pixels)


class WanEncoder(_Causal):
    """Encodes with AutoencoderKLWan: the first frame becomes one latent, then every four.

    Gives what `vae.encode` does, to rounding.
    """

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        vae, cache, first = self._vae, self._cached(self._vae.encoder), not self._kept
        frames = self._whole(frames, FRAMES_PER_LATENT, alone=1 if first else 0)
        if frames.shape[2] == 0:
            return _no_latents(frames, vae.config.z_dim, vae.spatial_compression_ratio)
        sizes = [1] * first + [FRAMES_PER_LATENT] * (frames.shape[2] // FRAMES_PER_LATENT)
        pixels = patchify(frames.to(vae.device, vae.dtype), patch_size=vae.config.patch_size or 1)
        moments = [
            vae.quant_conv(vae.encoder(group, feat_cache=cache, feat_idx=[0]))
            for group in pixels.split(sizes, dim=2)
        ]
        self._keep(cache)
        return _normalised(vae, torch.cat(moments, dim=2).chunk(2, dim=1)[0])


class TubeletDecoder(_Streaming):
    """Decodes with AutoencoderTubelet, whose latents are independent in time: nothing to remember."""

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        return _clamped(self._vae.decode(_raw(self._vae, latents)))


class TubeletEncoder(_Streaming):
    """Encodes with AutoencoderTubelet: every four frames become a latent."""

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        frames = self._whole(frames, FRAMES_PER_LATENT)
        if frames.shape[2] == 0:
            return _no_latents(frames, self._vae.config.z_dim, PIXELS)
        return _normalised(self._vae, self._vae.encode(frames.to(self._vae.device, self._vae.dtype)))


class LappedDecoder(_Streaming):
    """Decodes with AutoencoderLapped: the first latent gives two frames, every later one four.

    Equals `vae.decode` to rounding.
    """

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        before = Memory(**self._kept) if self._kept else None
        frames, memory = self._vae.decode_after(_raw(self._vae, latents), before)
        self._kept = memory._asdict()
        return _clamped(frames if before else frames[:, :, LAP_FRAMES:])


class LappedEncoder(_Streaming):
    """Encodes with AutoencoderLapped: every four frames become a latent once two more are there.

    Equals the latents that `vae.encode` makes of all the frames, to rounding. What waits begins with the frames of the
    last latent, into which those of the next one are turned.
    """

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        waiting = self._kept.get(WAITING, frames[:, :, :0])
        frames = torch.cat([waiting, frames], dim=2)
        coded, ready = _latents_in(waiting), _latents_in(frames)
        self._kept[WAITING] = frames[:, :, max(0, ready - 1) * FRAMES_PER_LATENT :].clone()
        if ready <= coded:
            return _no_latents(frames, self._vae.config.z_dim, LAPPED_PIXELS)
        seen = frames[:, :, : ready * FRAMES_PER_LATENT + LAP_FRAMES].to(self._vae.device, self._vae.dtype)
        seen = torch.nn.functional.pad(seen, (0, 0, 0, 0, 0, FRAMES_PER_LATENT - LAP_FRAMES))
        turned = lapped(seen, 2, FRAMES_PER_LATENT, LAP_FRAMES)
        new = turned[:, :, coded * FRAMES_PER_LATENT : ready * FRAMES_PER_LATENT]
        return _normalised(self._vae, self._vae.code(new))


def _latents_in(frames: Tensor) -> int:
    """The latents that a lapped encoder can make of frames."""
    return max(0, (frames.shape[2] - LAP_FRAMES) // FRAMES_PER_LATENT)


class OpenSoraDecoder(_Streaming):
    """Decodes with AutoencoderOpenSora: every five latents become 17 frames. Equals `vae.decode` to rounding."""

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        latents = self._whole(latents, GROUP_LATENTS)
        if latents.shape[2] == 0:
            height, width = (side * self._vae.spatial_compression_ratio for side in latents.shape[3:])
            return latents.new_empty(len(latents), 3, 0, height, width, dtype=torch.float32)
        num_frames = latents.shape[2] // GROUP_LATENTS * GROUP_FRAMES
        return _clamped(self._vae.decode(latents.to(self._vae.device), num_frames))


class OpenSoraEncoder(_Streaming):
    """Encodes with AutoencoderOpenSora: every 17 frames become five latents. Equals `vae.encode` to rounding."""

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        frames = self._whole(frames, GROUP_FRAMES)
        if frames.shape[2] == 0:
            return _no_latents(frames, self._vae.config.z_dim, self._vae.spatial_compression_ratio)
        return require_finite(self._vae.encode(frames.to(self._vae.device, self._vae.dtype)), ENCODED)


CODECS: dict[type, tuple[Callable[[Any], Decoder], Callable[[Any], Encoder]]] = {
    AutoencoderKLWan: (WanDecoder, WanEncoder),
    AutoencoderTubelet: (TubeletDecoder, TubeletEncoder),
    AutoencoderLapped: (LappedDecoder, LappedEncoder),
    AutoencoderOpenSora: (OpenSoraDecoder, OpenSoraEncoder),
}


def new_decoder(vae: Any) -> Decoder:
    """A decoder for one film, of the kind that the autoencoder needs."""
    return CODECS[type(vae)][0](vae)


def new_encoder(vae: Any) -> Encoder:
    """An encoder for one film, of the kind that the autoencoder needs."""
    return CODECS[type(vae)][1](vae)


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    mean, std = (
        torch.tensor(row, device=vae.device).view(1, -1, 1, 1, 1)
        for row in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, std


def _raw(vae: Any, latents: Tensor) -> Tensor:
    mean, std = _statistics(vae)
    return (latents.to(vae.device, torch.float32) * std + mean).to(vae.dtype)


def _normalised(vae: Any, raw: Tensor) -> Tensor:
    mean, std = _statistics(vae)
    return require_finite((raw.float() - mean) / std, ENCODED)


def _clamped(frames: Tensor) -> Tensor:
    """Frames in [-1, 1], float32. What is not finite is NaN: an infinite number is no white."""
    return frames.float().clamp(-1, 1).masked_fill(~frames.isfinite(), torch.nan)


def _no_latents(frames: Tensor, channels: int, factor: int) -> Tensor:
    return frames.new_empty(frames.shape[0], channels, 0, *(side // factor for side in frames.shape[3:]))
