"""Consistency: hand-worked values, and what must not be concluded from it."""

import math

import numpy as np
import pytest

from longtake.evaluation.features import ImageNetFeatures, Vectors
from longtake.evaluation.measures.base import Frames
from longtake.evaluation.measures.consistency import LAGS, Consistency, consistency, recurrence, units

FPS = 24


class Corner:
    """The colour of the corner pixel, less 100: the simplest features whose cosines can be worked by hand."""

    name = "corner"

    def __call__(self, frames: Frames) -> Vectors:
        return frames[:, 0, 0].astype(np.float32) - 100


def film(*colours: tuple[int, int, int], frames: int = 48) -> Frames:
    """So many frames of each colour."""
    return np.repeat(np.array(colours, np.uint8), frames, axis=0)[:, None, None].repeat(2, 1).repeat(2, 2)


def measured(frames: Frames, fps: float = FPS) -> Consistency:
    measure = Consistency(Corner(), fps)
    measure.push(frames)
    return measure


RED, GREEN, ANTI_RED = (200, 100, 100), (100, 200, 100), (0, 100, 100)


def slices(frames: int, size: int = 48) -> list[slice]:
    return [slice(start, start + size) for start in range(0, frames, size)]


def test_one_colour_is_consistent() -> None:
    """All cosines of a film that never changes are 1, and it comes back to nothing."""
    measure = measured(film(RED, frames=240))
    totals = measure.totals()
    assert totals.pop("recurrence") == 0
    assert totals == dict.fromkeys(["consistency", *(f"lag_{lag}" for lag in LAGS)], pytest.approx(1))
    for curve in measure.curves(slices(240)).values():
        np.testing.assert_allclose(curve, 1)


def test_two_orthogonal_halves() -> None:
    """Red, then green, eight looks each: 7 pairs are alike to both, 1 to neither, 7 to the one before alone, so
    (7 + 3.5) / 15; each half is consistent, the second is nothing like the start."""
    measure = measured(film(RED, GREEN))
    assert measure.totals()["consistency"] == pytest.approx(10.5 / 15)
    curves = measure.curves(slices(96))
    np.testing.assert_allclose(curves["consistency"], [1, 1])
    np.testing.assert_allclose(curves["similarity_to_start"], [1, 0])


def test_opposite_vectors_count_as_unlike() -> None:
    """VBench takes the larger of 0 and a cosine."""
    opposite = units(np.array([[1.0, 0.0], [-1.0, 0.0], [-2.0, 0.0]]))
    assert consistency(opposite) == pytest.approx((0 + (0 + 1) / 2) / 2)
    assert measured(film(RED, ANTI_RED)).totals()["lag_64"] == pytest.approx(-1)


def test_lags_are_frames() -> None:
    """Colours that change every eight frames: frames 2 and 4 after the first of each two seconds show the same, those 8
    after the next colour, which is unlike."""
    totals = measured(film(*[RED, GREEN] * 30, frames=8)).totals()
    assert [round(totals[f"lag_{lag}"], 6) for lag in LAGS] == [1, 1, 0, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("fps", [24, 24000 / 1001, 25, 30, 60, 8, 3, 1])
def test_portions_do_not_matter(fps: float) -> None:
    """Guards the bookkeeping of absolute frame numbers, at any rate: portions of every size give what one push
    gives."""
    colours = np.random.default_rng(0).integers(0, 256, (250, 3), np.uint8)
    whole, parts = film(*map(tuple, colours), frames=1), Consistency(Corner(), fps)
    for start, stop in ((0, 1), (1, 4), (4, 120), (120, 250)):
        parts.push(whole[start:stop])
    once = measured(whole, fps)
    assert parts.totals() == once.totals()
    np.testing.assert_equal(parts.curves(slices(250)), once.curves(slices(250)))
    np.testing.assert_equal(parts.clips(), once.clips())


def test_a_film_of_one_frame() -> None:
    """Nothing to compare is no number, and no warning."""
    measure = measured(film(RED, frames=1))
    assert all(math.isnan(total) for total in measure.totals().values())
    curves = measure.curves([slice(0, 1), slice(1, 1)])
    np.testing.assert_equal(curves["consistency"], [math.nan, math.nan])
    np.testing.assert_equal(curves["similarity_to_start"], [1, math.nan])
    assert len(measure.clips()) == 0


def test_a_loop_comes_back() -> None:
    """A film that goes on turning away comes back to nothing; the same film, looped, comes back all the way."""
    angles = np.linspace(0, 1.5, 60)
    turning = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert recurrence(turning, 30) == pytest.approx(0, abs=1e-9)
    assert recurrence(np.concatenate([turning[:20]] * 3), 30) == pytest.approx(1)


def test_titles_name_the_network() -> None:
    """No number without the features it stands on."""
    about = measured(film(RED)).about
    assert set(about) >= {*measured(film(RED)).totals(), *measured(film(RED)).curves([])}
    assert all(what.title.endswith(", corner") for what in about.values())


def test_it_must_not_stand_alone() -> None:
    """The blind spot, with numbers: to the ImageNet network a film of pure noise is more consistent than most films
    are, and a frozen frame is perfect. docs/measures.md warns of both."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 80, 128, 3), np.uint8)
    scores = []
    for frames in (noise, np.repeat(noise[:1], 96, axis=0)):
        measure = Consistency(ImageNetFeatures(), FPS)
        measure.push(frames)
        scores.append(measure.totals()["consistency"])
    assert scores == pytest.approx([0.92, 1], abs=0.02)
