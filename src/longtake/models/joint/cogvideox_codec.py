"""Streaming codecs of CogVideoX' autoencoder, diffusers' AutoencoderKLCogVideoX.

Its convolutions are causal and its cache of them is handed in, but it codes two latents at a time: it doubles an even
number of frames, and normalises over all of a portion. So the first 3 latents become 9 frames, and every 2 more 8; and
back. `rest` gives what is left, of a portion that is not full; frames of less than a latent are dropped.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from longtake.models.codecs import WAITING, Streaming, clamped, denormalised, no_latents, normalised

PAIR, FRAMES_PER_LATENT = 2, 4
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
        raw = denormalised(self._vae, latents)
        return self._frames(self._portions(raw, PAIR, self._copies), raw)

    @torch.no_grad()
    def rest(self) -> Iterator[Tensor]:
        raw = self._kept.get(WAITING)
        left = raw if raw is None or self._begun else raw[:, :, self._copies :]
        if left is None or not left.shape[2]:
            return
        if not self._begun and left.shape[2] == 1:
            yield self._frames([left], left)
        else:
            twice = torch.cat([left, left[:, :, -1:]], dim=2)
            yield self._frames([twice], left)[:, :, :-FRAMES_PER_LATENT]

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
    def rest(self) -> Iterator[Tensor]:
        if (pixels := self._kept.get(WAITING)) is None:
            return
        alone = 0 if self._begun else 1
        whole = alone + (pixels.shape[2] - alone) // FRAMES_PER_LATENT * FRAMES_PER_LATENT
        if whole > 0:
            yield self._latents([pixels[:, :, :whole]], pixels)

    def _latents(self, portions: list[Tensor], pixels: Tensor) -> Tensor:
        vae, begun = self._vae, self._begun
        made = [no_latents(pixels, vae.config.latent_channels, scale_of(vae))]
        for portion in portions:
            moments = self._through(vae.encoder, portion)
            moments = moments if vae.quant_conv is None else vae.quant_conv(moments)
            made.append(moments[:, : vae.config.latent_channels])
        raw = torch.cat(made, dim=2)
        raw = raw if begun else torch.cat([*[raw[:, :, :1]] * self._copies, raw], dim=2)
        return normalised(vae, raw)


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
