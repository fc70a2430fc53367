"""Does a film still show what its prompt says? An absolute judge of drift, second by second, for worlds that have one.

A classifier that was trained on renders of the world reads attributes from some looks at every second. Range 0 to 1,
the share of seconds read right; a film that shows nothing scores what chance does, one over an attribute's values.
Blind spot: everything but the attributes that are read. An ugly picture can be read right.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from longtake.errors import OptionError
from longtake.evaluation.measures.base import About, Curve, Frames
from longtake.evaluation.world import Judged, sizes_of


class Adherence:
    """Curves and totals: the share of seconds in which each attribute is read right, of those in which it can be seen,
    and as `adherence` their mean. A second is judged by what it should show in the middle of what is looked at, and
    belongs to the slice that holds this frame."""

    def __init__(self, judged: Judged) -> None:
        self.world, self.judge, self.shot = judged
        titles = {
            "adherence": "attributes read right",
            **{name: f"{name} read right" for name in self.world.attributes},
        }
        self.about = {name: About(title, "share of seconds", "higher") for name, title in titles.items()}
        self.read: list[dict[str, str]] = []
        wanted = [frame for look in self.world.looks for frame in look]
        self._wanted, self._middle = set(wanted), (min(wanted) + max(wanted)) // 2
        self._second: dict[int, Frames] = {}  # of the one that has begun, what is looked at
        self._seen = 0

    def push(self, frames: Frames) -> None:
        """OptionError unless these are frames of the world, in size."""
        height, width = frames.shape[1:3]
        if (width, height) not in self.world.sizes:
            raise OptionError(
                f"adherence is read off films of {sizes_of(self.world)} pixels, not {width}x{height}"
            )
        for frame in frames:
            place = self._seen % self.world.fps
            if place in self._wanted:
                self._second[place] = cv2.resize(frame, self.world.sizes[0], interpolation=cv2.INTER_AREA)
            if len(self._second) == len(self._wanted):
                self.read.append(self.judge.read(self._looks()))
                self._second.clear()
            self._seen += 1

    def _looks(self) -> Frames:
        """Of one second, (B, H, W, C)."""
        looks = [[self._second[frame] for frame in look] for look in self.world.looks]
        return np.stack([np.concatenate(look, axis=2) for look in looks])

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        middles = [second * self.world.fps + self._middle for second in range(len(self.read))]
        shares = [
            self._shares([n for n, middle in enumerate(middles) if s.start <= middle < s.stop])
            for s in slices
        ]
        return {name: np.array([share[name] for share in shares]) for name in self.about}

    def totals(self) -> dict[str, float]:
        return self._shares(range(len(self.read)))

    def _shares(self, seconds: Sequence[int]) -> dict[str, float]:
        """Of some of the seconds; NaN of what none of them shows."""
        frames = [second * self.world.fps + self._middle for second in seconds]
        shown = [self.shot.attributes_at(frame) for frame in frames]
        shares = {}
        for name in self.world.attributes:
            right = [
                self.read[second][name] == shows[name]
                for second, shows in zip(seconds, shown, strict=True)
                if name in shows
            ]
            shares[name] = sum(right) / len(right) if right else np.nan
        known = [share for share in shares.values() if not np.isnan(share)]
        return {"adherence": float(np.mean(known)) if known else np.nan, **shares}
