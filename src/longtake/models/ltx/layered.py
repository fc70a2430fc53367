"""Autoencoders that reach in time, streamed layer by layer: every layer sees again the last frames that it saw.

A layer that reaches c frames back and c ahead gives what it gives of the whole clip as soon as c more frames are there,
if it is shown the 2c before them again. So a stack of layers streams with nothing computed twice but these, in constant
memory, and its result is that of one shot to rounding. What it costs is delay: the sum of all that they reach ahead.

B batch, C channels, T frames of a layer, H W its height and width
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from longtake.models.codecs import Streaming


class Layer(NamedTuple):
    """call: frames (B, C, T, H, W) of a clip from its first one on to those of the layer, as many as `made` says.

    kept: the frames in that come before those that are new, and are seen again; a multiple of `down`, and 1, where that
    is not 1. ahead: the frames in that it reaches ahead. up, down: every `down` frames in after the first are `up` out.
    """

    call: Callable[[Tensor], Tensor]
    kept: int
    ahead: int = 0
    up: int = 1
    down: int = 1

    def made(self, frames: int) -> int:
        """The frames out that a clip of so many frames in makes; the first makes one."""
        return max(0, (frames - 1) * self.up // self.down + 1)


class Layered(Streaming):
    """A codec as a stack of layers. What it keeps is the last frames in of each, `layer.0` being the first."""

    layers: Sequence[Layer]

    def through(self, frames: Tensor, first: int = 0) -> list[Tensor]:
        """What the layers from `first` on make of the next frames in: one tensor, or none yet."""
        for index in range(first, len(self.layers)):
            made = self._pushed(index, frames)
            if made is None:
                return []
            frames = made
        return [frames]

    def rest_through(self) -> Iterator[Tensor]:
        """What the layers make of frames that waited for others, where none will come, portion by portion."""
        for index in range(len(self.layers)):
            last = self._pushed(index, None)
            if last is not None:
                yield from self.through(last, index + 1)

    def _pushed(self, index: int, frames: Tensor | None) -> Tensor | None:
        """What one layer makes of the next frames in, None where that is nothing yet. No frames: the clip is over."""
        layer, name = self.layers[index], f"layer.{index}"
        before = self._kept.get(name)
        seen = torch.cat([x for x in (before, frames) if x is not None], dim=2)
        self._kept[name] = seen[:, :, max(0, seen.shape[2] - layer.kept) :].clone()
        done = 0 if before is None else layer.made(before.shape[2] - layer.ahead)
        ready = layer.made(seen.shape[2] - (0 if frames is None else layer.ahead))
        return layer.call(seen)[:, :, done:ready] if ready > done else None


def reach(layers: Sequence[Layer]) -> float:
    """The frames in, the last ones, that all depends on which the layers keep."""
    return _at_first(layers, [layer.kept for layer in layers])


def delay(layers: Sequence[Layer]) -> float:
    """The frames in that must follow one until all that comes of it is there."""
    return _at_first(layers, [layer.ahead for layer in layers])


def _at_first(layers: Sequence[Layer], frames: Sequence[int]) -> float:
    """The sum of frames in of each layer, counted in those of the first."""
    total, rate = 0.0, 1.0
    for layer, count in zip(layers, frames, strict=True):
        total += count / rate
        rate *= layer.up / layer.down
    return total
