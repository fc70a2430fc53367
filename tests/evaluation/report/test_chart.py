"""Charts: their arithmetic."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longtake.evaluation.report.chart import LARGE, Line, line_chart, nice_range, spread

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.lists(NUMBERS), st.booleans())
def test_axes_hold_what_they_show(values: list[float], percent: bool) -> None:
    """Guards lines that leave their chart, and ticks without number: a few round ones around all values."""
    if percent:
        values = [abs(value) / 1e6 for value in values]
    low, high, step = nice_range(np.array(values), percent)
    assert low < high and 1 <= round((high - low) / step) <= 12
    assert all(low - 1e-6 * step <= value <= high + 1e-6 * step for value in values)


@given(st.lists(st.floats(0, 300), max_size=12).map(sorted))
def test_labels_do_not_touch(wanted: list[float]) -> None:
    """Guards names written over one another: in order, apart, and within the chart where they fit."""
    places = spread(wanted, 15, 0, 300)
    assert len(places) == len(wanted)
    assert all(b - a > 15 - 1e-6 for a, b in pairwise(places))
    assert all(-1e-6 < place < 300 + 1e-6 for place in places)
    if all(b - a >= 15 for a, b in pairwise(wanted)):
        np.testing.assert_allclose(places, wanted, atol=1e-6)


def test_a_gap_is_a_gap() -> None:
    """Guards lines drawn through slices without a value."""
    values = np.array([1.0, 2.0, np.nan, 3.0])
    line = Line("a line", "s0", values, values - 1, values + 1)
    chart = line_chart([line], np.array([1.0, 3.0, 5.0, 7.0]), size=LARGE)
    ((style, path, name),), ((_, band),) = chart.lines, chart.bands
    assert (style, name, path.count("M"), path.count("L")) == ("s0", "a line", 2, 2)
    assert "nan" not in path + band and [name for *_, name in chart.names] == ["a line"]
