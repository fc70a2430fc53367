"""Seams and cuts, where they were put."""

import numpy as np
import pytest

from longtake.evaluation.measures.base import Frames
from longtake.evaluation.measures.seams import SceneCuts, SeamScore
from longtake.worlds.tracking_shot.shot import Shot

DAY = Shot("car", "red", "mountains", "noon", "clear", "steady")
NIGHT = Shot("bus", "white", "forest", "sunset", "clear", "steady")


def steps(sizes: list[int]) -> Frames:
    """A film of grey pictures, each so many levels brighter than the one before."""
    return np.cumsum([0, *sizes]).astype(np.uint8)[:, None, None, None] + np.zeros((3, 5, 3), np.uint8)


def test_seam_score_is_a_ratio() -> None:
    """Shifts where the film changes by 6 instead of 2: 3, and 1 where shifts are like the rest."""
    film = steps([2, 2, 6, 2, 2, 6, 2, 2])
    for shifts, score in (((3, 6), 3), ((1, 4), 1), ((3, 5), 2), ((3, 6, 90), 3)):
        measure = SeamScore(shifts)
        measure.push(film)
        assert measure.totals() == pytest.approx({"seam_score": score, "worst_jump": 3})


def test_seams_belong_to_the_slice_they_begin() -> None:
    """A shift at a slice's first frame is in that slice; a slice without one has no score."""
    measure = SeamScore([4])
    measure.push(steps([1, 1, 1, 5, 1, 1, 1, 4, 1, 1, 1]))
    curves = measure.curves([slice(0, 4), slice(4, 8), slice(8, 12)])
    np.testing.assert_allclose(curves["seam_score"], [np.nan, 5, np.nan])
    np.testing.assert_allclose(curves["worst_jump"], [1, 5, 4])


def test_films_of_unknown_origin_have_their_worst_jump_alone() -> None:
    """No shifts, no seam score."""
    measure = SeamScore()
    measure.push(steps([2, 2, 8, 2]))
    assert np.isnan(measure.totals()["seam_score"]) and measure.totals()["worst_jump"] == pytest.approx(4)


def test_a_jump_in_a_frozen_film_is_finite() -> None:
    """Differences count from a tenth of a level on."""
    measure = SeamScore([3])
    measure.push(steps([0, 0, 5, 0, 0]))
    assert measure.totals() == pytest.approx({"seam_score": 50, "worst_jump": 50})


@pytest.fixture(scope="module")
def sides() -> list[Frames]:
    """The same five seconds of two shots."""
    return [shot.render(0, 120) for shot in (DAY, NIGHT)]


@pytest.mark.parametrize(("cuts", "scale"), [((), 1), ((40,), 1), ((48, 80), 1), ((96,), 1), ((48,), 4)])
def test_cuts_are_counted_where_they_are(sides: list[Frames], cuts: tuple[int, ...], scale: int) -> None:
    """A-A-B: a slice's count holds the cut at its own first frame; large pictures are shrunk first."""
    film = np.stack([sides[sum(cut <= n for cut in cuts) % 2][n] for n in range(120)])
    measure = SceneCuts()
    measure.push(film.repeat(scale, 1).repeat(scale, 2))
    slices = [slice(0, 48), slice(48, 96), slice(96, 120)]
    assert measure.totals() == {"cuts": len(cuts)}
    expected = [sum(part.start <= cut < part.stop for cut in cuts) for part in slices]
    np.testing.assert_array_equal(measure.curves(slices)["cuts"], expected)
