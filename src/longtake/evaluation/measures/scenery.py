"""Is scenery carried: do the things of a moment stay things, go their way, and come near?

P points, H W height and width in pixels
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from longtake.evaluation.measures.base import About, Curve, Frames
from longtake.evaluation.measures.motion import shrunk
from longtake.evaluation.measures.series import mean, means

SECONDS = 1.0  # that points are followed for
QUALITY, APART = 0.001, 4  # of Shi and Tomasi's corners: share of the best, and pixels between two
CELLS, EACH = (
    8,
    3,
)  # a side, into which a picture is divided, and the corners of a cell that are followed at most
WINDOW, LEVELS = 11, 3  # a side, of Lucas and Kanade's search in pixels, and of the pyramid
MARGIN = WINDOW // 2  # pixels from a side where a point is on its way out
RETURN = 1.0  # pixels that a point may miss its start by when it is followed back
ALIKE = 0.8  # correlation of what is around a point, at its start and at its end
MOVED = 1 / 50  # of the shorter side, that a point which is carried goes at least
FEWEST = 8  # points that a share, a way or a growth is told of
FAR_APART = 10.0  # pixels between two points whose distance is compared

Points = NDArray[np.float32]  # (P, 2), in pixels to the right and down


@dataclass(frozen=True)
class Tracks:
    """Points that were followed through some pictures: where they began and ended; which of them stayed in the picture,
    and which of these are the same things still."""

    begin: Points
    end: Points
    stayed: NDArray[np.bool_]
    persist: NDArray[np.bool_]


class CarriedScenery:
    """What becomes of the corners of a picture within a second. Every second begins anew.

    Corners (Shi and Tomasi, CVPR 1994), at most three in each cell of 8 × 8, are followed from frame to frame by
    pyramidal Lucas–Kanade (Bouguet 2000), to the last frame of the second and back to the first, on pictures whose
    shorter side is at most 256 pixels. A point persists if it comes back to within a pixel (Kalal et al., ICPR 2010)
    and what is around it, 11 pixels a side, looks alike at both ends: a correlation of 0.8 or more. Points that leave
    the picture count for nothing.

    persistence: the share of points that persist. carried: the share that persist and go on, by a fiftieth of the
    shorter side or more. Both 0 to 1. growth: how the persistent ones spread, the median over pairs at least ten pixels
    apart of ln(distance at the end / at the start), a second: 0 where the camera pans, ln 2 where the picture doubles
    in size, below 0 where it shrinks. Of a slice and of the film, means over their seconds; NaN with fewer than eight
    points. Real film alike says what is right: film that fades from view to view, as replacement may, keeps the
    statistics of its pictures, but little in it is carried on; nor is what stands under boiling noise."""

    blind_spots = (
        "repeated texture, where a point may take its neighbour's place; water, haze and darkness, where there is"
        " little to follow, and textures finer than the way from frame to frame; a vehicle that is followed persists"
        " and is not carried; growth is the median of what comes near and what does not, told of those that persist"
        " alone."
    )
    about: Mapping[str, About] = {
        "persistence": About("points that persist", "share", "neither"),
        "carried": About("points carried on", "share", "neither"),
        "growth": About("growth of distances", "ln ratio/s", "neither"),
    }

    def __init__(self, fps: Fraction | float) -> None:
        self._length = max(2, round(SECONDS * fps))
        self._seconds = (self._length - 1) / float(fps)
        self._values: dict[str, list[float]] = {name: [] for name in self.about}  # one a frame, NaN for most
        self._pictures: list[Frames] = []  # (H, W) grey, of the second that has begun

    def push(self, frames: Frames) -> None:
        for picture in frames:
            for values in self._values.values():
                values.append(math.nan)
            self._pictures.append(cv2.cvtColor(shrunk(picture), cv2.COLOR_RGB2GRAY).astype(np.uint8))
            if len(self._pictures) == self._length:
                for name, value in self._told(followed(self._pictures)).items():
                    self._values[name][-self._length] = value
                self._pictures.clear()

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        return {name: means(values, slices) for name, values in self._values.items()}

    def totals(self) -> dict[str, float]:
        return {name: mean(values) for name, values in self._values.items()}

    def _told(self, tracks: Tracks) -> dict[str, float]:
        told = dict.fromkeys(self.about, math.nan)
        if tracks.stayed.sum() >= FEWEST:
            way = np.linalg.norm(tracks.end - tracks.begin, axis=-1) / min(self._pictures[0].shape)
            told["persistence"] = float(tracks.persist.sum() / tracks.stayed.sum())
            told["carried"] = float((tracks.persist & (way >= MOVED)).sum() / tracks.stayed.sum())
        if tracks.persist.sum() >= FEWEST:
            told["growth"] = spread(tracks.begin[tracks.persist], tracks.end[tracks.persist]) / self._seconds
        return told


def followed(pictures: Sequence[Frames]) -> Tracks:
    """The corners of the first of some grey pictures (H, W), followed to the last."""
    first, last = pictures[0], pictures[-1]
    height, width = first.shape
    inner = np.zeros((height, width), np.uint8)
    inner[MARGIN : height - MARGIN, MARGIN : width - MARGIN] = 1
    found: Points | None = cv2.goodFeaturesToTrack(first, 0, QUALITY, APART, mask=inner)  # type: ignore[assignment]
    corners = np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2)
    if not len(corners):
        none = np.zeros(0, bool)
        return Tracks(corners, corners, none, none)
    begin = spaced(corners, width, height)
    end, seen, left = along(pictures, begin)
    back, seen_back, _ = along(pictures[::-1], end)
    returns = np.linalg.norm(back - begin, axis=-1) <= RETURN
    persist = seen & seen_back & returns & ~left & (likeness(first, last, begin, end) >= ALIKE)
    return Tracks(begin, end, ~left, persist)


def spaced(points: Points, width: int, height: int) -> Points:
    """The first EACH points in each of CELLS × CELLS cells, so that no part of a picture speaks for all."""
    column, row = (points * CELLS // (width, height)).astype(int).T
    cell = row * CELLS + column
    rank = np.array([(cell[:place] == own).sum() for place, own in enumerate(cell)], int)
    return points[rank < EACH]


def along(pictures: Sequence[Frames], points: Points) -> tuple[Points, NDArray[np.bool_], NDArray[np.bool_]]:
    """Where points of the first picture are in the last, which were seen in all, and which left on the way."""
    height, width = pictures[0].shape
    farthest = np.array([width - 1, height - 1]) - MARGIN
    seen, left = np.ones(len(points), bool), np.zeros(len(points), bool)
    for a, b in pairwise(pictures):
        points, found, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
            a, b, points, None, winSize=(WINDOW, WINDOW), maxLevel=LEVELS
        )
        left |= ((points < MARGIN) | (points > farthest)).any(-1) & seen
        seen &= found.ravel().astype(bool)
    return points, seen, left


def likeness(a: Frames, b: Frames, at: Points, there: Points) -> NDArray[np.float64]:
    """For each point, how what is around it in a correlates with what is around its end in b: -1 to 1."""
    pairs = (
        [
            cv2.getRectSubPix(picture, (WINDOW, WINDOW), (float(x), float(y))).astype(float)
            for picture, (x, y) in ((a, start), (b, end))
        ]
        for start, end in zip(at, there, strict=True)
    )
    return np.array([correlation(*pair) for pair in pairs])


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson's; 0 where either is even."""
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size else 0.0


def spread(begin: Points, end: Points) -> float:
    """The median over pairs of points, far enough apart, of ln(distance at the end / at the start); NaN for none."""
    one, other = np.triu_indices(len(begin), 1)
    before, after = (np.linalg.norm(points[one] - points[other], axis=-1) for points in (begin, end))
    far = (before >= FAR_APART) & (after > 0)
    return float(np.median(np.log(after[far] / before[far]))) if far.any() else math.nan
