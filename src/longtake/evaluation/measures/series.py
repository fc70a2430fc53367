"""Numbers gathered frame by frame, and their means."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from longtake.evaluation.measures.base import Curve


def mean(values: ArrayLike) -> float:
    """Of those that are not NaN; NaN if none is left."""
    numbers = np.asarray(values, dtype=float)
    known = numbers[~np.isnan(numbers)]
    return float(known.mean()) if len(known) else math.nan


def means(values: Sequence[float], slices: Iterable[slice], lead: int = 0, trail: int = 0) -> Curve:
    """Means over slices of frames, without the first `lead` and the last `trail` frames of each: those whose number
    tells of a frame outside as well."""
    return np.array([mean(values[part.start + lead : part.stop - trail]) for part in slices])


def largest(values: ArrayLike) -> float:
    """Of those that are not NaN; NaN if none is left."""
    numbers = np.asarray(values, dtype=float)
    known = numbers[~np.isnan(numbers)]
    return float(known.max()) if len(known) else math.nan
