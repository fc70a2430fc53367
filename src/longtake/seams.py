"""Where a film meets what it was given, its end, its beginning or another film: how much it changes there."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from longtake.pictures import Pictures
from longtake.progress import track
from longtake.video import probe, read_frames

TINY = 0.1  # grey levels; pictures that differ by less are the same


@dataclass(frozen=True)
class Seam:
    """How much the picture changes from the last frame before a seam to the first one behind it.

    score: over the median change from frame to frame elsewhere in the film. usual, largest: the 95th percentile and
    the largest of the changes elsewhere, over the same. Changes are mean absolute differences, at least 0.1 grey
    levels.
    """

    score: float
    usual: float
    largest: float

    @property
    def jumps(self) -> bool:
        """Whether the film changes more there than anywhere else."""
        return self.score > self.largest

    def __str__(self) -> str:
        times = (
            f"{self.score:.1f} times as much as in the median, and {self.largest:.1f} times at most elsewhere"
        )
        return f"{times}: {'it jumps' if self.jumps else 'within its own range'}"


def seam_at(film: str | os.PathLike[str], frame: int) -> Seam | None:
    """The seam of a film file between `frame` and the one before it; before frame 0 comes the last one. None for a film
    that changes nowhere else, too short to have a range.

    All of the film is read. LongTakeError for a film that cannot be.
    """
    frames = iter(track(read_frames(film), "reading the film for its seam", probe(film).num_frames))
    first = before = next(frames)
    changes = [0.0]
    for picture in frames:
        changes.append(changed(before, picture))
        before = picture
    changes[0] = changed(before, first)
    elsewhere = np.array([change for place, change in enumerate(changes) if place not in (0, frame)])
    if not len(elsewhere):
        return None
    middle = float(np.median(elsewhere))
    usual, largest = np.percentile(elsewhere, 95), elsewhere.max()
    return Seam(changes[frame] / middle, float(usual) / middle, float(largest) / middle)


def changed(a: Pictures, b: Pictures) -> float:
    """How much two pictures differ, in grey levels."""
    return max(TINY, float(np.abs(a.astype(np.int16) - b).mean()))
