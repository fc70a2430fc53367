"""Does a film still show what its prompt says? An absolute judge of drift, second by second, for worlds that have one.

A classifier that was trained on renders of the world reads attributes from some looks at every second. Range 0 to 1,
the share of seconds read right; a film that shows nothing scores what chance does, one over an attribute's values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from longtake.errors import OptionError
from longtake.evaluation.measures.base import About, Curve, Frames
from longtake.evaluation.world import Judged, sizes_of


class Adherence:
    """Curves and totals: the share of seconds in which each attribute is read right, of those in which it can be seen,
    and as `adherence` their mean. A second is judged by what it should show in the middle of what is looked at, and
    belongs to the slice that holds this frame."""

    blind_spots = "everything but the attributes that are read. An ugly picture can be read right."

    def __init__(self, judged: Judged) -> None:
        self.world, self.judge, self.shot = judged
        titles = {
            "adherence": "attributes read right",
            **{name: f"{name} read right" for name in self.world.attributes},
        }
        self.about = {name: About(title, "share of seconds", "higher") for name, title in titles.items()}
        self.right: list[dict[str, bool]] = []  # of every second
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
                self._judge_second()
                self._second.clear()
            self._seen += 1

    def _judge_second(self) -> None:
        looks = [[self._second[frame] for frame in look] for look in self.world.looks]
        read = self.judge.read(np.stack([np.concatenate(look, axis=2) for look in looks]))
        shown = self.shot.attributes_at(len(self.right) * self.world.fps + self._middle)
        self.right.append({name: read[name] == shown[name] for name in read.keys() & shown.keys()})

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        places = {second: second * self.world.fps + self._middle for second in range(len(self.right))}
        parts = [
            [self.right[second] for second, place in places.items() if s.start <= place < s.stop]
            for s in slices
        ]
        shares = [self._shares(part) for part in parts]
        return {name: np.array([share[name] for share in shares]) for name in self.about}

    def totals(self) -> dict[str, float]:
        return self._shares(self.right)

    def _shares(self, seconds: Sequence[Mapping[str, bool]]) -> dict[str, float]:
        """Of some seconds; NaN of what none of them shows."""
        shares = {}
        for name in self.world.attributes:
            right = [second[name] for second in seconds if name in second]
            shares[name] = sum(right) / len(right) if right else math.nan
        known = [share for share in shares.values() if not math.isnan(share)]
        return {"adherence": float(np.mean(known)) if known else math.nan, **shares}
