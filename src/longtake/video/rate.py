"""The rate of a film, read off the times of its pictures.

What files say of their rate is a hint: it may be an average, a guess from the first pictures, or the clock's."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

ROUNDING = Fraction(1, 1000)  # seconds; Matroska keeps times in whole milliseconds
NTSC = Fraction(1000, 1001)
WHOLE = tuple(map(Fraction, (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)))
USUAL = (*WHOLE, *(rate * NTSC for rate in (24, 30, 60, 120, 240)))
SAME = Fraction(1, 10_000)  # rates that differ by less are one: 24 and 23.976 differ by ten times as much
STILL = 1.5  # times as long as most pictures are shown
LARGEST_DENOMINATOR = 10_000

Times = NDArray[np.int64]  # of pictures (F,), in ascending order, in units of a time base


def same_rate(one: Fraction | float, other: Fraction | float) -> bool:
    """Whether two rates are equal up to what containers and decimals make of them (59.9401 and 60000/1001)."""
    return abs(Fraction(one) - Fraction(other)) < SAME * Fraction(other)


def constant_rate(times: Times, time_base: Fraction, declared: Fraction | None) -> Fraction | None:
    """The rate at which every picture comes at its time, up to the rounding of the times; None if there is none.

    Of several such rates, a round one (whole, half of a whole one, or NTSC's) before others, one that holds up to a
    unit of the time base before one that holds up to a millisecond, the declared one before the nearest to the mean.
    There must be two times that differ."""
    mean = Fraction(len(times) - 1) / (int(times[-1] - times[0]) * time_base)
    nearest = sorted(
        (Fraction(round(mean)), Fraction(round(2 * mean), 2), round(mean / NTSC) * NTSC),
        key=lambda rate: abs(rate - mean),
    )
    others = [mean.limit_denominator(LARGEST_DENOMINATOR)]
    if declared is not None:
        (nearest if _is_round(declared) else others).insert(0, declared)
    for candidates in (nearest, others):
        for rounding in (time_base, max(time_base, ROUNDING)):
            for rate in candidates:
                if _fits(times, time_base, rate, rounding):
                    return rate
    return None


def typical_rate(times: Times, time_base: Fraction) -> Fraction:
    """A rate for pictures that come at varying times: the first usual one that has a tick for each of them, as where
    some were dropped, or else that of the mean time from one to the next, but for stills. There must be two times that
    differ."""
    rounding = max(time_base, ROUNDING)
    for rate in USUAL:
        if _has_ticks(times, time_base, rate, rounding):
            return rate
    steps = np.diff(times)
    steps = steps[steps > 0]
    step = Fraction(float(steps[steps < STILL * np.median(steps)].mean())) * time_base
    near = [rate for rate in WHOLE if abs(1 / rate - step) <= rounding]
    if near:
        return min(near, key=lambda rate: abs(1 / rate - step))
    return Fraction(round(1 / step)) if step < 1 else (1 / step).limit_denominator(LARGEST_DENOMINATOR)


def _is_round(rate: Fraction) -> bool:
    return rate.denominator <= 2 or (rate / NTSC).denominator == 1


def _fits(times: Times, time_base: Fraction, rate: Fraction, rounding: Fraction) -> bool:
    """Whether no picture is further from its place than the rounding of two times, and than would be ambiguous."""
    if rate <= 0:
        return False
    seconds = (times - times[0]) * float(time_base)
    allowed = min(float(rounding), 0.4 / float(rate)) + 1e-9
    return bool((np.abs(seconds - np.arange(len(times)) / float(rate)) <= allowed).all())


def _has_ticks(times: Times, time_base: Fraction, rate: Fraction, rounding: Fraction) -> bool:
    """Whether every picture is at a tick of its own, as far as the rounding of two times and of a tick allow."""
    ticks = (times - times[0]) * float(time_base * rate)
    allowed = min(float(rounding * rate), 0.2) + 1e-9
    return bool((np.abs(ticks - ticks.round()) <= allowed).all() and (np.diff(ticks.round()) > 0).all())
