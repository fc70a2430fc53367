"""Rates read off times: laws, for any rate in any rounding."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.video.rate import NTSC, constant_rate, same_rate, typical_rate

RATES = [*map(Fraction, (1, 8, 12, 15, 24, 25, 30, 48, 50, 60, 120, 240)), Fraction(25, 2)]
RATES += [rate * NTSC for rate in (24, 30, 60, 120)]
BASES = [Fraction(1, base) for base in (1000, 16_000, 90_000, 1_000_000)]


def rounded(num: int, rate: Fraction, base: Fraction, begin: Fraction) -> np.ndarray:
    return np.array([round((begin + k / rate) / base) for k in range(num)], np.int64)


@given(
    rate=st.sampled_from(RATES),
    base=st.sampled_from(BASES),
    num=st.integers(60, 500),
    begin=st.fractions(0, 4000),
    declared=st.sampled_from([None, Fraction(25), Fraction(600), Fraction(3600, 149)]),
)
def test_a_constant_rate_is_found_whatever_is_declared(
    rate: Fraction, base: Fraction, num: int, begin: Fraction, declared: Fraction | None
) -> None:
    """Guards 41, 42, 42 milliseconds, which are 24 frames a second, and 23.976, which is not 24: the rate is the
    nominal one, exactly, for films that last long enough to tell."""
    times = rounded(num, rate, base, begin)
    found = constant_rate(times, base, declared)
    assert found is not None and abs(found - rate) / rate < Fraction(1, 1000)
    seconds = num / rate
    if seconds > 4:
        assert found == rate
    assert constant_rate(times, base, rate) == rate


@given(st.lists(st.integers(1, 400), min_size=2, max_size=60))
def test_a_constant_rate_puts_every_picture_at_its_place(steps: list[int]) -> None:
    """Guards resampling that drops or repeats pictures of a film that is said to be constant."""
    times = np.cumsum([5, *steps])
    rate = constant_rate(times, Fraction(1, 1000), None)
    if rate is not None:
        places = [round(Fraction(int(time) - 5, 1000) * rate) for time in times]
        assert places == list(range(len(times)))
    assert typical_rate(times, Fraction(1, 1000)) > 0


@given(
    rate=st.sampled_from([24, 30, 60]),
    dropped=st.sets(st.integers(1, 98), max_size=60),
    base=st.sampled_from(BASES),
)
def test_dropped_pictures_do_not_slow_a_film(rate: int, dropped: set[int], base: Fraction) -> None:
    """Guards phones and recorders that leave pictures out: each that is there has a tick."""
    kept = [k for k in range(100) if k not in dropped]
    times = rounded(100, Fraction(rate), base, Fraction(0))[kept]
    found = typical_rate(times, base)
    ticks = [round(int(time) * base * found) for time in times]
    assert len(set(ticks)) == len(kept) and found <= 2 * rate


def test_jittered_pictures_have_a_usual_rate() -> None:
    """Guards phones, whose pictures come a few milliseconds early or late."""
    jitter = np.random.default_rng(0).integers(-4000, 4000, 300)
    times = np.sort(np.arange(300) * 33_333 + jitter)
    assert constant_rate(times, Fraction(1, 1_000_000), Fraction(30)) is None
    assert typical_rate(times, Fraction(1, 1_000_000)) == 30
    early = np.array([33 * k + 2 * (k % 7) for k in range(100)])  # most steps are of 35 milliseconds
    assert typical_rate(early, Fraction(1, 1000)) == 30


def test_stills_do_not_slow_a_film() -> None:
    """Guards recordings of screens, where nothing comes for seconds while nothing moves."""
    times = np.array([17 * k for k in range(20)] + [3001 + 17 * k for k in range(10)])
    assert typical_rate(times, Fraction(1, 1000)) == 60


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Fraction(60000, 1001), 59.9401, True),
        (Fraction(60000, 1001), Fraction(19001, 317), True),
        (Fraction(24000, 1001), 23.976, True),
        (24, Fraction(24000, 1001), False),
        (30, Fraction(30000, 1001), False),
        (Fraction(100_000, 4167), 24, True),
    ],
)
def test_equal_rates_are_equal(one: Fraction, other: Fraction, same: bool) -> None:
    """Guards 59.9401, which is refused where 59.9401 is wanted; rates that differ look different in six digits."""
    assert same_rate(one, other) == same_rate(other, one) == same
    assert same or f"{float(one):.6g}" != f"{float(other):.6g}"
