"""The statistics of curves, on curves whose answers are known by hand."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.evaluation.drift import (
    band,
    bootstrap,
    by_prompt,
    resampled,
    slices_of,
    start_end_contrast,
    theil_sen,
    time_to_drift,
)

FILM = Fraction(24000, 1001)
NAN = math.nan


@pytest.mark.parametrize(
    ("num_frames", "fps", "count", "left"),
    [(1440, 24, 30, 0), (1439, 24, 29, 47), (1438, FILM, 30, 0), (1439, FILM, 30, 1), (47, 24, 0, 47), (0, 24, 0, 0)],
)  # fmt: skip
def test_slices(num_frames: int, fps: Fraction | int, count: int, left: int) -> None:
    """A minute has 30 slices at any rate; what is left over is less than a slice."""
    slices = slices_of(num_frames, fps)
    assert len(slices) == count
    assert num_frames - (slices[-1].stop if slices else 0) == left


@given(st.integers(0, 5000), st.fractions(5, 120, max_denominator=1001), st.sampled_from([0.5, 1.0, 2.0]))
def test_slices_tile_the_film(num_frames: int, fps: Fraction, seconds: float) -> None:
    """Each begins where the one before it ends, within a frame of its exact time, and no whole one is missing."""
    slices = slices_of(num_frames, fps, seconds)
    edges = [0, *(part.stop for part in slices)]
    assert [part.start for part in slices] == edges[:-1]
    assert all(0 <= k * Fraction(seconds) * fps - edge < 1 for k, edge in enumerate(edges))
    assert edges[-1] <= num_frames < math.floor((len(slices) + 1) * Fraction(seconds) * fps)


def test_start_end_contrast() -> None:
    """Of 20 slices, three on each side; of 10, one and a half; NaN left out; of one slice, 0."""
    curve = np.r_[1, 2, 3, np.full(14, 100), 4, 5, 9]
    assert start_end_contrast(curve) == 6 - 2
    assert start_end_contrast(np.r_[3, 6, np.zeros(6), 9, 30]) == pytest.approx(
        (30 + 4.5) / 1.5 - (3 + 3) / 1.5
    )
    assert start_end_contrast(np.r_[NAN, 2, 4, curve[3:]]) == 6 - 3
    assert start_end_contrast([5]) == 0
    assert np.isnan(start_end_contrast(np.full((2, 7), NAN))).all()


def test_theil_sen() -> None:
    """A line of 0.5 a slice is 15 a minute, whatever three wild values in ten do; of one slice, nothing."""
    line = 0.5 * np.arange(10) + 3
    wild = line.copy()
    wild[[0, 4, 9]] = 50, -80, NAN
    np.testing.assert_allclose(theil_sen([line, wild]), 15)
    assert theil_sen([0, 1, 5]) == pytest.approx(30 * np.median([1, 4, 2.5]))
    assert np.isnan(theil_sen([1.0])) and np.isnan(theil_sen([1, NAN]))


def test_time_to_drift() -> None:
    """The start of the first slice outside, on either side; None within; slices without a value are not outside."""
    low, high = band(np.linspace(0, 1, 101)[:, None] + np.zeros(5))
    np.testing.assert_allclose([low[0], high[0]], [0.05, 0.95])
    assert time_to_drift([0.5, 0.9, 0.96, 2, 0.5], (low, high)) == 4
    assert time_to_drift([0.5, NAN, 0.1, 0.04, 0.5], (low, high)) == 6
    assert time_to_drift([0.05, 0.95, NAN, 0.5, 0.5], (low, high)) is None


def test_by_prompt() -> None:
    """Films of a prompt are averaged, in the order of first appearance; NaN is left out."""
    values = by_prompt(np.array([[1, 1], [5, NAN], [3, NAN]]), ["b", "a", "b"])
    np.testing.assert_array_equal(values, [[2, 1], [5, NAN]])


def test_bootstrap_of_a_constant() -> None:
    """No spread, no interval; its shape is that of one prompt's value."""
    interval = bootstrap(np.full((6, 3), 0.25))
    for bound in (interval.value, interval.low, interval.high):
        np.testing.assert_allclose(bound, [0.25] * 3)


def test_bootstrap_leaves_out_what_is_missing() -> None:
    """A prompt without a value counts for nothing; of one prompt there is no interval."""
    whole, holed = (
        bootstrap([1, 2, 3, 4]),
        bootstrap(np.array([[1, 1], [2, NAN], [3, NAN], [4, NAN], [NAN, NAN]])),
    )
    assert holed.value.tolist() == [2.5, 1]
    assert holed.low[0] == pytest.approx(whole.low, abs=0.3)
    assert np.isnan([holed.low[1], holed.high[1]]).all()
    assert np.isnan(bootstrap([NAN, NAN]).value)


def test_bootstrap_covers() -> None:
    """Of 400 samples of 30 normal values, some 95 % have the true mean in their interval: percentile intervals of
    so few have a little less."""
    samples = np.random.default_rng(1).normal(3, 2, (30, 400))
    interval = bootstrap(samples, resamples=2000)
    covered = (interval.low <= 3) & (interval.high >= 3)
    assert 0.90 < covered.mean() < 0.97


def test_differences_are_paired() -> None:
    """Prompts that differ much hide nothing when the same draws meet both sides: b = a + 1 is certain."""
    a = np.random.default_rng(2).normal(0, 50, 12)
    difference = bootstrap((a + 1) - a)
    np.testing.assert_allclose([difference.value, difference.low, difference.high], 1)
    assert bootstrap(a + 1).low < 0 < bootstrap(a).high


def test_resamples_are_the_same_for_all() -> None:
    """A function of its arguments, each row as many draws as there are prompts."""
    counts = resampled(7, 50)
    np.testing.assert_array_equal(counts, resampled(7, 50))
    assert (counts.sum(1) == 7).all() and not (resampled(7, 50, seed=1) == counts).all()
