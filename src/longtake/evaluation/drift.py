"""Does a film hold? Numbers of its curves over time, and intervals of these over prompts.

A curve has a value for each slice of the film, NaN where there is none; all functions take many at once and look at
the last axis.

P prompts, R resamples, T slices
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

SLICE_SECONDS = 2.0
ENDS = 0.15  # the share of a film that counts as its start, and as its end


def slices_of(num_frames: int, fps: Fraction | float, seconds: float = SLICE_SECONDS) -> list[slice]:
    """A film cut into slices of `seconds`, as slices of frame indices.

    Slice k begins at frame ⌊k · seconds · fps⌋, exactly: give fps as a fraction (24000/1001) and no rounding gathers.
    60 seconds have 30 slices. The frames behind the last one, fewer than a slice, are in none: tell people. A film
    shorter than a slice has none.
    """
    length = Fraction(seconds) * Fraction(fps)
    whole = math.ceil((num_frames + 1) / length) - 1  # the most with ⌊whole · length⌋ ≤ num_frames
    edges = [math.floor(k * length) for k in range(whole + 1)]
    return [slice(*pair) for pair in pairwise(edges)]


def start_end_contrast(curves: ArrayLike, share: float = ENDS) -> Floats:
    """Mean over the last `share` of the slices minus mean over the first; 0 when nothing drifts.

    A slice that lies partly in an end counts by that part: of 30 slices, the first 4.5. The absolute value is
    FramePack's start-end contrast (Zhang et al., arXiv 2504.12626), which forgets the direction.
    """
    values = np.asarray(curves, dtype=float)
    count = values.shape[-1]
    weights = np.clip(share * count - np.arange(count), 0, 1)
    return _weighted_mean(values, weights[::-1]) - _weighted_mean(values, weights)


def theil_sen(curves: ArrayLike, seconds: float = SLICE_SECONDS) -> Floats:
    """Slope in units per minute: the median of the slopes of all pairs of slices (Sen 1968).

    Up to 29 % of the slices may be wild and hardly move it.
    """
    values = np.asarray(curves, dtype=float)
    first, second = np.triu_indices(values.shape[-1], k=1)
    slopes = (values[..., second] - values[..., first]) / ((second - first) * seconds / 60)
    return _nan_quantiles(slopes, 0.5)


def band(curves: ArrayLike) -> tuple[Floats, Floats]:
    """From the curves (films, T) of real films, what 90 % of them show at each slice: its 5 and 95 % quantiles."""
    low, high = _nan_quantiles(np.moveaxis(np.asarray(curves, dtype=float), 0, -1), [0.05, 0.95])
    return low, high


def time_to_drift(
    curve: ArrayLike, inside: tuple[ArrayLike, ArrayLike], seconds: float = SLICE_SECONDS
) -> float | None:
    """Seconds until the first slice of one film (T,) that lies outside the band (low, high); None if it never does.

    One in ten slices of real film lies outside, too: compare with the time that real films take. For a mean over
    films, count those that never drift with their length.
    """
    low, high = inside
    values = np.asarray(curve, dtype=float)
    outside = np.flatnonzero((values < np.asarray(low)) | (values > np.asarray(high)))
    return float(outside[0] * seconds) if len(outside) else None


@dataclass(frozen=True)
class Interval:
    """A mean over prompts and its 95 % interval, each of the shape of one prompt's value."""

    value: Floats
    low: Floats
    high: Floats


def by_prompt(values: ArrayLike, prompts: Sequence[str]) -> Floats:
    """Means (P, …) over the films of each prompt, in the order in which prompts first appear; values: (films, …)."""
    rows = np.asarray(values, dtype=float)
    places: dict[str, list[int]] = {}
    for place, prompt in enumerate(prompts):
        places.setdefault(prompt, []).append(place)
    return np.stack([_weighted_mean(np.moveaxis(rows[films], 0, -1), 1.0) for films in places.values()])


def resampled(prompts: int, resamples: int = 10_000, seed: int = 0) -> Floats:
    """How often each prompt is drawn in each resample (R, P).

    A function of its arguments alone: whatever is compared over the same prompts meets the same draws.
    """
    draws = np.random.default_rng(seed).integers(prompts, size=(resamples, prompts))
    counts = np.zeros((resamples, prompts))
    np.add.at(counts, (np.arange(resamples)[:, None], draws), 1)
    return counts


def bootstrap(values: ArrayLike, resamples: int = 10_000, seed: int = 0) -> Interval:
    """The mean of values (P, …) and its percentile interval over prompts drawn with replacement.

    Give one value a prompt (`by_prompt`), so that its films stay together. A prompt without a value (NaN) is left
    out; of fewer than two there is no interval, and its bounds are NaN.
    """
    rows = np.asarray(values, dtype=float)
    flat = rows.reshape(len(rows), -1)
    known = ~np.isnan(flat)
    counts = resampled(len(rows), resamples, seed)
    drawn = counts @ known
    means = _ratio(counts @ np.where(known, flat, 0), drawn)
    low, high = _nan_quantiles(means.T, [0.025, 0.975])
    enough = known.sum(0) > 1
    shape = rows.shape[1:]
    return Interval(
        _weighted_mean(flat.T, 1.0).reshape(shape),
        np.where(enough, low, np.nan).reshape(shape),
        np.where(enough, high, np.nan).reshape(shape),
    )


def _weighted_mean(values: Floats, weights: ArrayLike) -> Floats:
    """Mean over the last axis, values that are NaN left out; NaN where nothing is left."""
    known = ~np.isnan(values)
    return _ratio((np.where(known, values, 0) * weights).sum(-1), (known * np.asarray(weights)).sum(-1))


def _ratio(a: Floats, b: Floats) -> Floats:
    """a / b, NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)


def _nan_quantiles(values: Floats, shares: float | list[float]) -> Floats:
    """Quantiles over the last axis, in front of the other axes, values that are NaN left out; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, where nothing is left
        return np.nanquantile(values, shares, axis=-1)
