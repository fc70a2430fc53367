"""Streaming codecs of CogVideoX' autoencoder, diffusers' AutoencoderKLCogVideoX.

Its convolutions are causal and its cache of them is handed in, but it codes two latents at a time: it doubles an even
number of frames, and normalises over all of a portion. So the first 3 latents become 9 frames, and every 2 more 8; and
back.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from longtake.finite import require_finite
from longtake.models.codecs import ENCODED, FRAMES_PER_LATENT, WAITING, Streaming, clamped, no_latents

PAIR = 2
CACHE = "cache."  # before the names of layers, in a codec's state
POINTWISE = {
    "conv_y",
    "conv_b",
}  # layers that look at one frame: diffusers keeps what they are given for nothing

Cache = dict[str, Any]


class _Causal(Streaming):
    """With the cache of the convolutions, a name a layer.

    copies: how many of a film's first latent come before it, for networks that were trained so.
    """

    def __init__(self, vae: Any, copies: int = 0) -> None:
        super().__init__(vae)
        self._copies = copies

    @property
    def _begun(self) -> bool:
        return any(name.startswith(CACHE) for name in self._kept)

    def _portions(self, stream: Tensor, size: int, skipped: int = 0) -> list[Tensor]:
        """What waits and `stream` in portions of `size`. The first has one more, behind `skipped` that are in none.
        The rest waits."""
        stream = torch.cat([self._kept.get(WAITING, stream[:, :, :0]), stream], dim=2)
        start, end = (0, size) if self._begun else (skipped, skipped + size + 1)
        portions = []
        while end <= stream.shape[2]:
            portions.append(stream[:, :, start:end])
            start, end = end, end + size
        self._kept[WAITING] = stream[:, :, start if portions else 0 :].clone()
        return portions

    def _through(self, network: Callable[..., tuple[Tensor, Cache]], portion: Tensor) -> Tensor:
        kept = {name.removeprefix(CACHE): x for name, x in self._kept.items() if name.startswith(CACHE)}
        made, cache = network(portion, conv_cache=nested(kept) or None)
        self._kept |= {CACHE + name: x for name, x in flat(cache)}
        return made


class CogVideoXDecoder(_Causal):
    """Decodes with AutoencoderKLCogVideoX; gives what `vae.decode` does of an odd number of latents, 3 or more."""

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        vae = self._vae
        raw = (latents.to(vae.device, torch.float32) / vae.config.scaling_factor).to(vae.dtype)
        frames = [raw.new_empty(len(raw), 3, 0, *(side * scale_of(vae) for side in raw.shape[3:]))]
        for portion in self._portions(raw, PAIR, self._copies):
            hidden = portion if vae.post_quant_conv is None else vae.post_quant_conv(portion)
            frames.append(self._through(vae.decoder, hidden))
        return clamped(torch.cat(frames, dim=2))


class CogVideoXEncoder(_Causal):
    """Encodes with AutoencoderKLCogVideoX; gives what `vae.encode` does of 8k + 1 frames, 9 or more."""

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        vae, begun = self._vae, self._begun
        latents = [no_latents(frames, vae.config.latent_channels, scale_of(vae)).to(vae.device)]
        for portion in self._portions(frames.to(vae.device, vae.dtype), PAIR * FRAMES_PER_LATENT):
            moments = self._through(vae.encoder, portion)
            moments = moments if vae.quant_conv is None else vae.quant_conv(moments)
            latents.append(moments.chunk(2, dim=1)[0].float() * vae.config.scaling_factor)
        made = torch.cat(latents, dim=2)
        if not begun:
            made = torch.cat([*[made[:, :, :1]] * self._copies, made], dim=2)
        return require_finite(made, ENCODED)


def scale_of(vae: Any) -> int:
    """The pixels of a latent, on either side."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def flat(cache: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a nested cache that are used again, by names joined with dots."""
    for name, entry in cache.items():
        if isinstance(entry, dict):
            yield from flat(entry, f"{before}{name}.")
        elif name not in POINTWISE:
            yield f"{before}{name}", entry


def nested(tensors: Mapping[str, Tensor]) -> Cache:
    """The cache that `flat` was made of."""
    cache: Cache = {}
    for name, x in tensors.items():
        *path, last = name.split(".")
        place = cache
        for part in path:
            place = place.setdefault(part, {})
        place[last] = x
    return cache
