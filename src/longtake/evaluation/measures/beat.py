"""Does a film jerk in the rhythm of its latents?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from longtake.evaluation.drift import slices_of
from longtake.evaluation.measures.base import About, Curve, Frames, Joints
from longtake.evaluation.measures.picture import change
from longtake.evaluation.measures.seams import ROUNDING
from longtake.evaluation.measures.series import mean

FAINTEST = 0.01  # of the mean change: weaker oscillations of it count as that
FEWEST_PERIODS = 4  # of which a peak can be told from what is around it
LEAKAGE = 1  # frequencies on either side that a Hann window spreads a peak to

Floats = NDArray[np.float64]


class Beat:
    """How much more the picture changes from one latent to the next than inside a latent.

    With d the mean absolute difference of consecutive frames, at least 0.1 grey levels: beat is the median of d where a
    latent begins over the median of d elsewhere. 1 = none, 0 upwards. Medians, since a codec's key frames jump a little
    every second, often where latents begin. Of a film of unknown origin it is that of the phase, of a latent of four
    frames, whose ratio is largest on average over the slices. A transition belongs to its later frame.

    beat_peak: of d over its mean, through a Hann window (Welch, IEEE Trans. Audio Electroacoust. 15, 1967), the
    amplitude at one cycle a latent over the median amplitude from half to one and a half cycles a latent, without the
    peak and its two neighbours; each at least 0.01 of the mean change. It knows no phase. Both in a slice and in the
    film, whose power is the mean of that of its slices. NaN where there is no latent border, or a latent is one frame.

    joints: where the film's latents begin."""

    blind_spots = (
        "motion that comes at the rate of the latents by itself, such as film that was shot at a fourth of the rate;"
        " jerks at fewer than half of the latents; jerks that change no more of the picture than motion does; and what"
        " is known of the latents must be right, since at another phase a beat is none."
    )
    about: Mapping[str, About] = {
        "beat": About("beat", "ratio", "lower"),
        "beat_peak": About("beat, its peak", "ratio", "lower"),
    }

    def __init__(self, fps: Fraction | float, joints: Joints) -> None:
        self.fps = fps
        self._latents, self._period = joints.latents, joints.latent_frames
        self._changes: list[float] = []  # to each frame, NaN for the first
        self._last: Frames | None = None

    def push(self, frames: Frames) -> None:
        for picture in frames:
            before = self._last
            self._changes.append(math.nan if before is None else max(ROUNDING, change(before, picture)))
            self._last = picture

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        changes, borders = np.array(self._changes), self._borders()
        return {
            "beat": np.array([ratio(changes[part], borders[part]) for part in slices]),
            "beat_peak": np.array([peak([changes[part]], self._period) for part in slices]),
        }

    def totals(self) -> dict[str, float]:
        changes, parts = np.array(self._changes), self._parts()
        return {
            "beat": ratio(changes, self._borders()),
            "beat_peak": peak([changes[part] for part in parts], self._period),
        }

    def _borders(self) -> NDArray[np.bool_]:
        """For each frame, whether a latent begins with it."""
        frames = np.arange(len(self._changes))
        if self._latents is not None:
            return np.isin(frames, list(self._latents))
        phases = [frames % self._period == phase for phase in range(self._period)]
        return max(phases, key=lambda borders: np.nan_to_num(self._mean_ratio(borders)))

    def _mean_ratio(self, borders: NDArray[np.bool_]) -> float:
        changes = np.array(self._changes)
        return mean([ratio(changes[part], borders[part]) for part in self._parts()])

    def _parts(self) -> list[slice]:
        """The slices of the film, or the film, if it is shorter."""
        return slices_of(len(self._changes), self.fps) or [slice(None)]


def ratio(changes: Floats, borders: NDArray[np.bool_]) -> float:
    """The median change at the borders over the median change elsewhere; NaN if there is none of either."""
    known = ~np.isnan(changes)
    at, inside = changes[known & borders], changes[known & ~borders]
    return float(np.median(at) / np.median(inside)) if len(at) and len(inside) else math.nan


def peak(parts: Sequence[Floats], period: int) -> float:
    """The amplitude at one cycle a period over the median from half to one and a half cycles, of changes whose power is
    averaged over the parts. NaN if a part is too short to tell them apart."""
    known = [part[~np.isnan(part)] for part in parts]
    length = min(map(len, known)) // period * period
    at, window = length // period, np.hanning(length + 1)[:-1]
    if period < 2 or at < FEWEST_PERIODS:
        return math.nan
    relative = [part[:length] / part[:length].mean() - 1 for part in known]
    power = np.mean([np.abs(np.fft.rfft(part * window)) ** 2 for part in relative], axis=0)
    amplitude = np.maximum(FAINTEST, 2 * np.sqrt(power) / window.sum())
    around = np.arange(at // 2, min(len(amplitude), at + at // 2 + 1))
    return float(amplitude[at] / np.median(amplitude[around[np.abs(around - at) > LEAKAGE]]))
