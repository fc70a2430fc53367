"""Jumps: where pieces of a film were joined, and anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import count

import cv2
import numpy as np
from scenedetect import AdaptiveDetector, FrameTimecode

from longtake.evaluation.measures.base import About, Curve, Frames
from longtake.evaluation.measures.picture import change

ROUNDING = 0.1 / 255  # pictures that differ by less are the same
DETECTOR_SIDE = 256  # pixels of the longer side, to which PySceneDetect shrinks pictures by default


class SeamScore:
    """How much more the picture changes where pieces of film meet than elsewhere. 1 = no seam, 0 upwards.

    With d the mean absolute difference of consecutive frames, at least 0.1 grey levels: seam_score is the mean d from
    the last frame before each of `shifts` to the frame there, over the median d elsewhere; NaN without shifts.
    worst_jump is the largest d over the median d. Both in a slice, a transition belonging to that of its later frame,
    and in the film. A seam score compares films of any motion, as it is relative to it.

    shifts: the numbers of the frames that begin a new window, chunk or latent; what of them lies past the film's end
    counts for nothing."""

    blind_spots = (
        "a seam that fades, or lies in how things move alone; fast film hides seams, and what happens to begin at a"
        " shift is one."
    )
    about: Mapping[str, About] = {
        "seam_score": About("change at shifts / change elsewhere", "ratio", "lower"),
        "worst_jump": About("largest change / median change", "ratio", "lower"),
    }

    def __init__(self, shifts: Iterable[int] = ()) -> None:
        self._shifts = frozenset(shifts) - {0}
        self._changes: list[float] = []  # to each frame but the first
        self._last: Frames | None = None

    def push(self, frames: Frames) -> None:
        for picture in frames:
            if self._last is not None:
                self._changes.append(max(ROUNDING, change(self._last, picture)))
            self._last = picture

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        scores = [self._scores(range(max(1, part.start), part.stop)) for part in slices]
        return {name: np.array([score[name] for score in scores]) for name in self.about}

    def totals(self) -> dict[str, float]:
        return self._scores(range(1, len(self._changes) + 1))

    def _scores(self, frames: range) -> dict[str, float]:
        changes = np.array(self._changes[frames.start - 1 : frames.stop - 1])
        if not len(changes):
            return dict.fromkeys(self.about, math.nan)
        at_shift = np.array([frame in self._shifts for frame in frames[: len(changes)]])
        seams, elsewhere = changes[at_shift], changes[~at_shift]
        has_both = len(seams) and len(elsewhere)
        return {
            "seam_score": float(seams.mean() / np.median(elsewhere)) if has_both else math.nan,
            "worst_jump": float(changes.max() / np.median(changes)),
        }


class SceneCuts:
    """cuts: the number of cuts that PySceneDetect's AdaptiveDetector finds, with its own defaults, as in the paper's
    Table 1 ("scenes"), in a slice and in the film. 0 upwards.

    Its content value is the mean difference in hue, saturation and brightness (0 to 255); a cut is where that is 15 or
    more, and 3 times the mean of the two transitions before and after."""

    blind_spots = (
        "the first fifteen frames and the last two, a second cut within fifteen frames, slow dissolves, and cuts"
        " between pictures alike."
    )
    about: Mapping[str, About] = {"cuts": About("scene cuts", "number", "lower")}

    def __init__(self) -> None:
        self._detector = AdaptiveDetector()
        self._times = map(partial(FrameTimecode, fps=24.0), count())  # it counts in frames, whatever the rate
        self._cuts: list[int] = []

    def push(self, frames: Frames) -> None:
        for picture in frames:
            shown = np.ascontiguousarray(_small(picture)[..., ::-1])
            self._cuts += [cut.frame_num for cut in self._detector.process_frame(next(self._times), shown)]

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        counts = [sum(part.start <= cut < part.stop for cut in self._cuts) for part in slices]
        return {"cuts": np.array(counts, dtype=float)}

    def totals(self) -> dict[str, float]:
        return {"cuts": float(len(self._cuts))}


def _small(picture: Frames) -> Frames:
    """As PySceneDetect's SceneManager shrinks it."""
    height, width = picture.shape[:2]
    scale = DETECTOR_SIDE / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size).astype(np.uint8)
