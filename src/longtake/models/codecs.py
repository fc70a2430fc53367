"""Streaming codecs: latents to frames and back, portion by portion, in constant memory.

What a film has seen so far lives in the codec object, never on the autoencoder, so any number of films can
share one. Latents are normalised here by the autoencoder's latents_mean and latents_std; the autoencoders
speak of raw ones, Open-Sora's of normalised ones.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, N pixel frames
"""

from __future__ import annotations

from collections.abc import Callable
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
ENCODED = "what the autoencoder makes of pictures"


class WanDecoder:
    """Decodes with AutoencoderKLWan, the plain form of Wan 2.1 or the residual, patchified one of Wan 2.2.

    The first latent becomes one frame, every later one four. Gives what `vae.decode` does, to rounding.
    """

    def __init__(self, vae: AutoencoderKLWan) -> None:
        self._vae = vae
        self._cache = _empty_cache(vae.decoder)
        self._first = True

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        vae, frames = self._vae, []
        for latent in _raw(vae, latents).split(1, dim=2):
            hidden = vae.post_quant_conv(latent)
            frames.append(vae.decoder(hidden, feat_cache=self._cache, feat_idx=[0], first_chunk=self._first))
            self._first = False
        pixels = unpatchify(torch.cat(frames, dim=2), patch_size=vae.config.patch_size or 1)
        return _clamped(pixels)


class WanEncoder:
    """Encodes with AutoencoderKLWan: the first frame becomes one latent, then every four.

    Gives what `vae.encode` does, to rounding.
    """

    def __init__(self, vae: AutoencoderKLWan) -> None:
        self._vae = vae
        self._cache = _empty_cache(vae.encoder)
        self._waiting = _Waiting(FRAMES_PER_LATENT)
        self._first = True

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        vae = self._vae
        frames = self._waiting.take(frames, alone=1 if self._first else 0)
        if frames.shape[2] == 0:
            return _no_latents(frames, vae.config.z_dim, vae.spatial_compression_ratio)
        sizes = [1] * self._first + [FRAMES_PER_LATENT] * (frames.shape[2] // FRAMES_PER_LATENT)
        self._first = False
        pixels = patchify(frames.to(vae.device, vae.dtype), patch_size=vae.config.patch_size or 1)
        moments = [
            vae.quant_conv(vae.encoder(group, feat_cache=self._cache, feat_idx=[0]))
            for group in pixels.split(sizes, dim=2)
        ]
        return _normalised(vae, torch.cat(moments, dim=2).chunk(2, dim=1)[0])


class TubeletDecoder:
    """Decodes with AutoencoderTubelet, whose latents are independent in time: nothing to remember."""

    def __init__(self, vae: AutoencoderTubelet) -> None:
        self._vae = vae

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        return _clamped(self._vae.decode(_raw(self._vae, latents)))


class TubeletEncoder:
    """Encodes with AutoencoderTubelet: every four frames become a latent."""

    def __init__(self, vae: AutoencoderTubelet) -> None:
        self._vae = vae
        self._waiting = _Waiting(FRAMES_PER_LATENT)

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        frames = self._waiting.take(frames)
        if frames.shape[2] == 0:
            return _no_latents(frames, self._vae.config.z_dim, PIXELS)
        return _normalised(self._vae, self._vae.encode(frames.to(self._vae.device, self._vae.dtype)))


class LappedDecoder:
    """Decodes with AutoencoderLapped: the first latent gives two frames, every later one four.

    Equals `vae.decode` to rounding.
    """

    def __init__(self, vae: AutoencoderLapped) -> None:
        self._vae = vae
        self._memory: Memory | None = None

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        unseen = LAP_FRAMES if self._memory is None else 0
        frames, self._memory = self._vae.decode_after(_raw(self._vae, latents), self._memory)
        return _clamped(frames[:, :, unseen:])


class LappedEncoder:
    """Encodes with AutoencoderLapped: every four frames become a latent once two more are there.

    Equals the latents that `vae.encode` makes of all the frames, to rounding.
    """

    def __init__(self, vae: AutoencoderLapped) -> None:
        self._vae = vae
        self._frames: Tensor | None = (
            None  # from those of the last latent on, which the next one is turned into
        )
        self._coded = 0  # latents whose frames are among them

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        if self._frames is not None:
            frames = torch.cat([self._frames, frames], dim=2)
        ready = max(0, (frames.shape[2] - LAP_FRAMES) // FRAMES_PER_LATENT)
        coded, self._coded = self._coded, min(1, ready)
        self._frames = frames[:, :, (ready - self._coded) * FRAMES_PER_LATENT :].clone()
        if ready <= coded:
            return _no_latents(frames, self._vae.config.z_dim, LAPPED_PIXELS)
        seen = frames[:, :, : ready * FRAMES_PER_LATENT + LAP_FRAMES].to(self._vae.device, self._vae.dtype)
        seen = torch.nn.functional.pad(seen, (0, 0, 0, 0, 0, FRAMES_PER_LATENT - LAP_FRAMES))
        turned = lapped(seen, 2, FRAMES_PER_LATENT, LAP_FRAMES)
        new = turned[:, :, coded * FRAMES_PER_LATENT : ready * FRAMES_PER_LATENT]
        return _normalised(self._vae, self._vae.code(new))


class OpenSoraDecoder:
    """Decodes with AutoencoderOpenSora: every five latents become 17 frames. Equals `vae.decode` to rounding."""

    def __init__(self, vae: AutoencoderOpenSora) -> None:
        self._vae = vae
        self._waiting = _Waiting(GROUP_LATENTS)

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        latents = self._waiting.take(latents)
        if latents.shape[2] == 0:
            height, width = (side * self._vae.spatial_compression_ratio for side in latents.shape[3:])
            return latents.new_empty(len(latents), 3, 0, height, width, dtype=torch.float32)
        num_frames = latents.shape[2] // GROUP_LATENTS * GROUP_FRAMES
        return _clamped(self._vae.decode(latents.to(self._vae.device), num_frames))


class OpenSoraEncoder:
    """Encodes with AutoencoderOpenSora: every 17 frames become five latents. Equals `vae.encode` to rounding."""

    def __init__(self, vae: AutoencoderOpenSora) -> None:
        self._vae = vae
        self._waiting = _Waiting(GROUP_FRAMES)

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        frames = self._waiting.take(frames)
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


class _Waiting:
    """Frames, or latents, that do not fill a portion of `size` yet."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._frames: Tensor | None = None

    def take(self, frames: Tensor, alone: int = 0) -> Tensor:
        """Add frames, take those that fill whole portions; the first `alone`, 0 or 1, fills one by itself."""
        if self._frames is not None:
            frames = torch.cat([self._frames, frames], dim=2)
        whole = alone + (frames.shape[2] - alone) // self._size * self._size
        self._frames = frames[:, :, whole:].clone()
        return frames[:, :, :whole]


def _empty_cache(module: nn.Module) -> list[Tensor | None]:
    return [None] * sum(isinstance(layer, WanCausalConv3d) for layer in module.modules())


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
