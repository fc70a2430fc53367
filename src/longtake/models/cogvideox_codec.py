"""Streaming codecs of CogVideoX' autoencoder, diffusers' AutoencoderKLCogVideoX.

Its convolutions are causal and its cache of them is handed in, but it codes two latents at a time: it doubles an even
number of frames, and normalises over all of a portion. So the first 3 latents become 9 frames, and every 2 more 8; and
back. `rest` gives what is left, of a portion that is not full.

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
    """Decodes with AutoencoderKLCogVideoX; gives what `vae.decode` does of an odd number of latents.

    A latent that is left is decoded as the first of two that are the same.
    """

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        raw = (latents.to(self._vae.device, torch.float32) / self._vae.config.scaling_factor).to(
            self._vae.dtype
        )
        return self._frames(self._portions(raw, PAIR, self._copies), raw)

    @torch.no_grad()
    def rest(self) -> Tensor:
        """The frames of latents that wait for others, where none will come."""
        raw, begun, last = self._kept[WAITING], self._begun, CogVideoXDecoder(self._vae)
        last.restore(self._kept)
        left = raw if begun else raw[:, :, self._copies :]
        if left.shape[2] == 0:
            return self._frames([], raw)
        if not begun and left.shape[2] == 1:
            return last._frames([left], raw)
        return last._frames([torch.cat([left, left[:, :, -1:]], dim=2)], raw)[:, :, :-FRAMES_PER_LATENT]

    def _frames(self, portions: list[Tensor], raw: Tensor) -> Tensor:
        vae = self._vae
        made = [raw.new_empty(len(raw), 3, 0, *(side * scale_of(vae) for side in raw.shape[3:]))]
        for portion in portions:
            hidden = portion if vae.post_quant_conv is None else vae.post_quant_conv(portion)
            made.append(self._through(vae.decoder, hidden))
        return clamped(torch.cat(made, dim=2))


class CogVideoXEncoder(_Causal):
    """Encodes with AutoencoderKLCogVideoX; gives what `vae.encode` does of 8k + 1 frames."""

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        pixels = frames.to(self._vae.device, self._vae.dtype)
        return self._latents(self._portions(pixels, PAIR * FRAMES_PER_LATENT), pixels)

    @torch.no_grad()
    def rest(self) -> Tensor:
        """The latents of frames that wait for others, where none will come; those of less than a latent are dropped."""
        pixels, last = self._kept[WAITING], CogVideoXEncoder(self._vae, self._copies)
        last.restore(self._kept)
        alone = 0 if self._begun else 1
        count = alone + (pixels.shape[2] - alone) // FRAMES_PER_LATENT * FRAMES_PER_LATENT
        return last._latents([pixels[:, :, :count]] if count > 0 else [], pixels)

    def _latents(self, portions: list[Tensor], pixels: Tensor) -> Tensor:
        vae, begun = self._vae, self._begun
        made = [no_latents(pixels, vae.config.latent_channels, scale_of(vae))]
        for portion in portions:
            moments = self._through(vae.encoder, portion)
            moments = moments if vae.quant_conv is None else vae.quant_conv(moments)
            made.append(moments[:, : vae.config.latent_channels])
        raw = torch.cat(made, dim=2)
        raw = raw if begun else torch.cat([*[raw[:, :, :1]] * self._copies, raw], dim=2)
        return require_finite(raw.float() * vae.config.scaling_factor, ENCODED)


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
