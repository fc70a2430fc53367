"""Frame statistics and flicker, on pictures whose numbers follow from their pixels."""

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from longtake.evaluation.measures.base import Frames, Measure
from longtake.evaluation.measures.motion import Freezing, Looping, OpticalFlow
from longtake.evaluation.measures.picture import PictureStatistics
from longtake.evaluation.measures.seams import SceneCuts, SeamScore

MAKERS: list[Callable[[], Measure]] = [
    PictureStatistics,
    lambda: OpticalFlow(24),
    lambda: Freezing(24),
    lambda: Looping(24),
    lambda: SeamScore(range(4, 100, 4)),
    SceneCuts,
]


def uniform(values: list[int], size: tuple[int, int] = (11, 7)) -> Frames:
    """A film of one grey level a frame."""
    return np.array(values, np.uint8)[:, None, None, None] + np.zeros((*size, 3), np.uint8)


def seen(measure: Measure, film: Frames) -> Measure:
    measure.push(film)
    return measure


def test_a_grey_film() -> None:
    """Its luma is its value, it has no contrast, colour, edge or flicker, in every slice."""
    measure = seen(PictureStatistics(), uniform([51] * 6))
    expected = {"luma": 0.2, "contrast": 0, "saturation": 0, "sharpness": 0, "clipped": 0, "flicker": 1}
    assert measure.totals() == pytest.approx(expected, abs=5e-6)
    curves = measure.curves([slice(0, 3), slice(3, 6)])
    for name, value in expected.items():
        np.testing.assert_allclose(curves[name], [value, value], atol=5e-6)


def test_primaries() -> None:
    """Rec. 709's weights, full saturation, and every pixel clipped."""
    film = np.zeros((3, 2, 2, 3), np.uint8)
    for channel in range(3):
        film[channel, ..., channel] = 255
    measure = seen(PictureStatistics(), film)
    each = [slice(n, n + 1) for n in range(3)]
    np.testing.assert_allclose(measure.curves(each)["luma"], [0.2126, 0.7152, 0.0722], rtol=5e-6)
    assert measure.totals()["saturation"] == measure.totals()["clipped"] == 1


def test_a_chequerboard() -> None:
    """Black and white in turn: contrast one half, each pixel's Laplacian 4, all clipped."""
    board = np.indices((9, 10)).sum(0) % 2 * 255
    totals = seen(PictureStatistics(), np.repeat(board[None, ..., None], 3, 3).astype(np.uint8)).totals()
    assert (totals["contrast"], totals["sharpness"], totals["clipped"]) == pytest.approx((0.5, 4, 1))


def test_constant_difference() -> None:
    """Frames 10 levels apart flicker by 10 / 255; slices do not see the transition into them."""
    measure = seen(PictureStatistics(), uniform([0, 10, 20, 120, 130, 140]))
    np.testing.assert_allclose(measure.curves([slice(0, 3), slice(3, 6)])["flicker"], 1 - 10 / 255)
    assert measure.totals()["flicker"] == pytest.approx(1 - 28 / 255)


def test_flicker_is_vbench_s() -> None:
    """Its formula written out, on noise."""
    film = np.random.default_rng(0).integers(0, 256, (9, 13, 17, 3)).astype(np.uint8)
    errors = [cv2.absdiff(a.astype(np.float32), b.astype(np.float32)).mean() for a, b in pairwise(film)]
    assert seen(PictureStatistics(), film).totals()["flicker"] == pytest.approx((255 - np.mean(errors)) / 255)


films = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 33), st.integers(1, 33), st.just(3))
)


@pytest.mark.parametrize("make", MAKERS)
@given(film=films)
@settings(max_examples=10, deadline=None)
def test_portions_do_not_matter(make: Callable[[], Measure], film: Frames) -> None:
    """Frames pushed one by one give to the bit what they give at once, at any size and length, a single frame too; and
    numbers are NaN or finite, a title each, for slices that reach over the end as well."""
    whole, piecemeal = seen(make(), film), make()
    for picture in film:
        piecemeal.push(picture[None])
    slices = [slice(0, 8), slice(8, 16), slice(16, 24)]
    assert set(whole.curves(slices)) | set(whole.totals()) == set(whole.about)
    for name, total in whole.totals().items():
        np.testing.assert_equal(piecemeal.totals()[name], total)
        assert not np.isinf(total)
    for name, curve in whole.curves(slices).items():
        np.testing.assert_equal(piecemeal.curves(slices)[name], curve)
        assert curve.shape == (3,) and curve.dtype == np.float64


@pytest.mark.parametrize("make", MAKERS)
def test_black_film(make: Callable[[], Measure]) -> None:
    """Nothing to divide by, and yet a number of everything, in every slice; the first two seconds have no earlier
    moment."""
    measure = seen(make(), uniform([0] * 96, (32, 48)))
    assert not np.isnan(list(measure.totals().values())).any()
    for name, curve in measure.curves([slice(0, 48), slice(48, 96)]).items():
        assert not np.isnan(curve[1]) and (not np.isnan(curve[0]) or name == "loop_score")
