"""The grid of patches, in pictures whose steps are known."""

import numpy as np
import pytest

from longtake.evaluation.measures.base import Frames
from longtake.evaluation.measures.grid import GridRatio
from longtake.evaluation.measures.series import largest

HEIGHT, WIDTH = 20, 64


def stepped(patch: int, at: int, elsewhere: int, frames: int = 3) -> Frames:
    """Grey pictures that step up and down from column to column: by `at` to multiples of the patch, else by the
    other."""
    sizes = [at if x % patch == 0 else elsewhere for x in range(1, WIDTH)]
    signs = [1 if x % 2 else -1 for x in range(1, WIDTH)]
    row = 128 + np.cumsum([0, *np.multiply(sizes, signs)])
    return np.broadcast_to(row.astype(np.uint8)[:, None], (frames, HEIGHT, WIDTH, 3))


def totals(film: Frames, patch: int | None) -> dict[str, float]:
    measure = GridRatio(patch)
    measure.push(film)
    return measure.totals()


@pytest.mark.parametrize("patch", [4, 8, 16])
def test_the_grid_is_a_ratio_of_steps(patch: int) -> None:
    """Steps of 6 where patches meet and of 2 elsewhere: 3 in all rows; alike steps: 1."""
    assert totals(stepped(patch, 6, 2), patch) == pytest.approx({"grid": 3, "grid_sky": 3})
    assert totals(stepped(patch, 2, 2), patch) == pytest.approx({"grid": 1, "grid_sky": 1})


def test_the_sky_is_the_upper_rows() -> None:
    """A grid in the upper six of twenty rows is all of the sky's, and its share of the picture's."""
    film = np.concatenate([stepped(16, 6, 2)[:, :6], stepped(16, 2, 2)[:, 6:]], 1)
    assert totals(film, 16) == pytest.approx({"grid_sky": 3, "grid": (6 * 3 + 14) / 20})


def test_the_larger_of_the_usual_patches_is_taken_where_none_is_known() -> None:
    """A grid of 8 shows at 8; at 16 half of it is missed. A grid of 16 shows at 16."""
    for patch in (8, 16):
        assert totals(stepped(patch, 6, 2), None) == pytest.approx({"grid": 3, "grid_sky": 3})
    assert totals(stepped(8, 6, 2), 16)["grid"] == pytest.approx(6 / (2 + 4 * 4 / 60))


def test_steps_below_a_tenth_of_a_level_are_none() -> None:
    """A flat picture has no grid, and a single faint one is finite."""
    assert totals(stepped(16, 0, 0), 16) == {"grid": 1, "grid_sky": 1}
    assert totals(stepped(16, 1, 0), 16) == pytest.approx({"grid": 10, "grid_sky": 10})


def test_slices_have_grids_of_their_own() -> None:
    """Portions do not matter; each slice takes its own frames."""
    film = np.concatenate([stepped(16, 2, 2, 4), stepped(16, 6, 2, 4)])
    measure = GridRatio(16)
    for start in range(0, 8, 3):
        measure.push(film[start : start + 3])
    curves = measure.curves([slice(0, 4), slice(4, 8), slice(2, 6)])
    np.testing.assert_allclose(curves["grid"], [1, 3, 2])
    np.testing.assert_allclose(curves["grid_sky"], [1, 3, 2])


def test_pictures_without_a_border_have_no_grid() -> None:
    """NaN, not 1: nothing was seen. Of two patches the one that fits is taken."""
    film = stepped(8, 6, 2)
    assert np.isnan(totals(film[:, :, :8], 8)["grid"]) and np.isnan(totals(film, 1)["grid"])
    assert np.isnan(totals(film[:, :, :8], None)["grid"]) and np.isnan(totals(film[:, :, :1], None)["grid"])
    assert totals(film[:, :, :16], None)["grid"] == pytest.approx(3)


def test_the_largest_of_what_is_known() -> None:
    """NaN where nothing is."""
    assert largest([np.nan, 2, 1]) == 2
    assert np.isnan(largest([np.nan])) and np.isnan(largest([]))
