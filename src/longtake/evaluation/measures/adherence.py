"""Does a tracking shot still show what its prompt says? An absolute judge of drift, second by second.

A classifier (`evaluation/classifier.py`) that was trained on renders of the same world reads five attributes from three
frames of every second. Range 0 to 1, the share of seconds read right; a film that shows nothing scores 1 / 6 to 1 / 4.
Blind spot: everything but the five attributes. Speed is not read, and an ugly picture can be read right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from longtake.errors import OptionError
from longtake.evaluation.classifier import JUDGED, AttributeClassifier
from longtake.evaluation.measures.base import About, Curve, Frames
from longtake.worlds.tracking_shot import FPS, HEIGHT, WIDTH, Shot

READ_AT = (3, 11, 19)  # the frames of each second that the classifier looks at


class Adherence:
    """Curves and totals: the share of seconds in which each attribute of `shot` is read right, and as `adherence` their
    mean. A second belongs to the slice that holds the middle frame read. `read` is what was read in each."""

    def __init__(self, classifier: AttributeClassifier, shot: Shot) -> None:
        titles = {"adherence": "attributes read right", **{name: f"{name} read right" for name in JUDGED}}
        self.about = {name: About(title, "share of seconds", "higher") for name, title in titles.items()}
        self.classifier = classifier
        self.shot = shot
        self.read: list[dict[str, str]] = []
        self._waiting: list[Frames] = []
        self._seen = 0

    def push(self, frames: Frames) -> None:
        """OptionError unless these are frames of the tracking-shot world, in size."""
        if frames.shape[1:] != (HEIGHT, WIDTH, 3):
            height, width = frames.shape[1:3]
            raise OptionError(
                f"adherence is read from tracking shots of {WIDTH}x{HEIGHT} pixels, not {width}x{height}"
            )
        for frame in frames:
            if self._seen % FPS in READ_AT:
                self._waiting.append(frame)
            if len(self._waiting) == len(READ_AT):
                self.read.append(self.classifier.read(np.stack(self._waiting)))
                self._waiting.clear()
            self._seen += 1

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        middles = np.arange(len(self.read)) * FPS + READ_AT[1]
        shares = [self._shares((part.start <= middles) & (middles < part.stop)) for part in slices]
        return {name: np.array([share[name] for share in shares]) for name in self.about}

    def totals(self) -> dict[str, float]:
        return self._shares(np.ones(len(self.read), bool))

    def _shares(self, seconds: NDArray[np.bool_]) -> dict[str, float]:
        """Of some of the seconds; NaN if there are none."""
        chosen = [read for read, wanted in zip(self.read, seconds, strict=True) if wanted]
        shares = {
            name: sum(read[name] == getattr(self.shot, name) for read in chosen) / len(chosen)
            if chosen
            else np.nan
            for name in JUDGED
        }
        return {"adherence": float(np.mean(list(shares.values()))), **shares}
