"""What a measure is: it is shown a film in portions, in constant memory a frame, and then asked for numbers.

N frames, H W height and width in pixels
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Curve = NDArray[np.float64]
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class About:
    """What a number means: its title, its unit, and which way is better ('neither': only a change tells)."""

    title: str
    unit: str
    better: Better


@dataclass(frozen=True)
class Joints:
    """Where the pieces that a film was made of meet, as far as that is known.

    shifts: the numbers of the frames that begin a new window or chunk. latents: of those that begin a new latent, None
    for a film of unknown origin. latent_frames: how many frames a latent has, but perhaps the first. patch: the side in
    pixels of what is coded by itself, None if unknown. Frames past the film's end count for nothing."""

    shifts: frozenset[int] = frozenset()
    latents: frozenset[int] | None = None
    latent_frames: int = 4
    patch: int | None = None


class Measure(Protocol):
    """One film's numbers. Made anew for every film."""

    @property
    def about(self) -> Mapping[str, About]: ...

    def push(self, frames: Frames) -> None:
        """See the next frames (N ≥ 1, H, W, 3), RGB; all of a film have one size."""
        ...

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        """For each name a value for each slice (of frame indices), NaN where there is none."""
        ...

    def totals(self) -> dict[str, float]:
        """Numbers of the whole film, NaN where there are none; names may differ from those of the curves."""
        ...
