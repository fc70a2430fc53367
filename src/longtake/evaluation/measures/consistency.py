"""Does a film keep showing the same? Cosines between the feature vectors of its frames.

VBench's subject and background consistency (Huang et al., arXiv 2311.17982), over the vectors f₁ … f_n of a clip: the
mean over i ≥ 2 of (max(0, cos(f_i, f₁)) + max(0, cos(f_i, f_{i−1}))) / 2. VBench sees every frame, with DINO or CLIP;
this sees about four a second, with the network that every title names. Range 0 to 1 for features without negative
numbers.

N frames, D numbers a frame
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from longtake.evaluation.drift import SLICE_SECONDS
from longtake.evaluation.features import Features
from longtake.evaluation.measures.base import About, Better, Curve
from longtake.evaluation.measures.clips import ClipFeatures

LAGS = (2, 4, 8, 16, 32, 64, 128, 200)  # frames
LONGEST_LOOP = 60  # seconds
STILL = 0.99  # a film whose frames are all as alike as this has gone nowhere

Units = NDArray[np.floating]  # (N, D), of length 1

TITLES: dict[str, tuple[str, Better]] = {
    "consistency": ("consistency", "higher"),
    "similarity_to_start": ("similarity to the first second", "higher"),
    "recurrence": ("return to earlier frames", "lower"),
    **{f"lag_{lag}": (f"similarity of frames {lag} apart", "neither") for lag in LAGS},
}


class Consistency(ClipFeatures):
    """Curves: `consistency` of each slice as a clip of its own; `similarity_to_start`, the mean cosine to the mean of
    the film's first second, which is in the first slice.
    Totals: `consistency` of the film as one clip; `lag_2` … `lag_200`, the mean cosine of frames so far apart, a pair
    every two seconds; `recurrence`, 0 for a film that leaves what it showed behind, 1 for one that comes back to it,
    as a loop does.

    Looks at some 7 frames a second, the ones that are only needed for lags included."""

    blind_spots = (
        "a frozen film is perfect, and noise is very like noise. Never show these numbers without those of"
        " motion."
    )

    def __init__(self, features: Features, fps: Fraction | float) -> None:
        super().__init__(features, fps)
        self.apart = round(SLICE_SECONDS * fps)
        self.about = {
            name: About(f"{title}, {features.name}", "cosine", better)
            for name, (title, better) in TITLES.items()
        }

    def looks_at(self, frame: int) -> bool:
        ends_pair = any(frame >= lag and (frame - lag) % self.apart == 0 for lag in LAGS)
        return super().looks_at(frame) or frame % self.apart == 0 or ends_pair

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        start = units(self._looks(range(math.ceil(self.fps))).mean(0))
        parts = [self._looks(range(*part.indices(self.num_frames))) for part in slices]
        return {
            "consistency": np.array([consistency(part) for part in parts]),
            "similarity_to_start": np.array(
                [(part @ start).mean() if len(part) else np.nan for part in parts]
            ),
        }

    def totals(self) -> dict[str, float]:
        film = self._looks(range(self.num_frames))
        longest = min(round(LONGEST_LOOP * self.fps / self.step), len(film) // 2)
        lags = {f"lag_{lag}": self._similarity(lag) for lag in LAGS}
        return {"consistency": consistency(film), "recurrence": recurrence(film, longest), **lags}

    def _looks(self, frames: Iterable[int]) -> Units:
        """Those of the frames that were looked at evenly."""
        looks = [
            self.vectors[frame] for frame in frames if frame % self.step == 0 and frame < self.num_frames
        ]
        return units(np.array(looks))

    def _similarity(self, lag: int) -> float:
        firsts = range(0, self.num_frames - lag, self.apart)
        if not firsts:
            return math.nan
        near, far = (units(np.array([self.vectors[first + by] for first in firsts])) for by in (0, lag))
        return float((near * far).sum(1).mean())


def consistency(clip: Units) -> float:
    """VBench's subject and background consistency, NaN for fewer than two frames."""
    if len(clip) < 2:
        return math.nan
    to_first, to_previous = clip[1:] @ clip[0], (clip[1:] * clip[:-1]).sum(1)
    return float((to_first.clip(0) + to_previous.clip(0)).mean() / 2)


def recurrence(film: Units, longest: int) -> float:
    """How much of the way that it has gone a film comes back: with c the mean cosine at each lag up to `longest`
    looks, the most of (c − m) / (1 − m) over lags, m being the least c of the shorter lags (.99 at most). NaN for
    fewer than two."""
    if longest < 2:
        return math.nan
    similarity = np.array([(film[lag:] * film[:-lag]).sum(1).mean() for lag in range(1, longest + 1)])
    least = np.minimum.accumulate(similarity)
    return float(((similarity - least) / (1 - np.minimum(least, STILL))).max())


def units(vectors: NDArray[np.floating]) -> Units:
    """Vectors scaled to length 1, along the last axis; one of zeros stays as it is."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
