"""Scenery that is carried, stands, comes near or is replaced, in textures that move as they are told."""

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from longtake.evaluation.measures.base import Frames
from longtake.evaluation.measures.scenery import CarriedScenery, along, correlation, spaced, spread

FPS, WIDTH, HEIGHT = 12, 96, 64
Way = Callable[[int], tuple[float, float, float]]  # of a frame: how far right and down, and how much larger


def texture(seed: int) -> Frames:
    """Blots of four times the film's size."""
    noise = np.random.default_rng(seed).random((4 * HEIGHT, 4 * WIDTH), np.float32)
    blots = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(blots, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload]


def moved(way: Way, frames: int = 2 * FPS, seed: int = 0) -> Frames:
    """A film of a texture about whose middle the camera moves."""
    blots = texture(seed)
    pictures = []
    for frame in range(frames):
        right, down, size = way(frame)
        matrix = cv2.getRotationMatrix2D((2 * WIDTH, 2 * HEIGHT), 0, size)
        matrix[:, 2] += np.array([right - 1.5 * WIDTH, down - 1.5 * HEIGHT])
        pictures.append(cv2.warpAffine(blots, matrix, (WIDTH, HEIGHT)))
    return np.stack(pictures)[..., None].repeat(3, -1).astype(np.uint8)


def still(frame: int) -> tuple[float, float, float]:
    return 0, 0, 1


def panning(frame: int) -> tuple[float, float, float]:
    return 2 * frame, 0, 1


def doubling(frame: int) -> tuple[float, float, float]:
    """In three seconds."""
    return 0, 0, 2 ** (frame / FPS / 3)


def totals(film: Frames) -> dict[str, float]:
    measure = CarriedScenery(FPS)
    for start in range(0, len(film), 5):
        measure.push(film[start : start + 5])
    return measure.totals()


def test_what_stands_persists_and_is_not_carried() -> None:
    """All points stay where they are."""
    assert totals(moved(still)) == pytest.approx({"persistence": 1, "carried": 0, "growth": 0}, abs=1e-4)


@pytest.mark.parametrize("speed", [1, 2, 4])
def test_a_pan_carries_all_that_stays_in_the_picture(speed: int) -> None:
    """What leaves it counts for nothing: at four pixels a frame half of the points do, in a second."""
    told = totals(moved(lambda frame: (speed * frame, 0, 1)))
    assert told["persistence"] > 0.95 and told["carried"] == told["persistence"]
    assert told["growth"] == pytest.approx(0, abs=0.003)


@pytest.mark.parametrize("sign", [1, -1])
def test_growth_is_that_of_the_picture(sign: int) -> None:
    """Twice as large in three seconds: ln 2 / 3 a second, and as much less the other way."""
    told = totals(moved(lambda frame: (0, 0, 2 ** (sign * frame / FPS / 3))))
    assert told["growth"] == pytest.approx(sign * math.log(2) / 3, abs=0.01)
    assert told["persistence"] > 0.9 and told["carried"] > 0.7


def test_a_fade_to_another_view_carries_nothing() -> None:
    """Both views move alike; what is seen at the start is not there at the end."""
    one, other = moved(panning, FPS).astype(float), moved(panning, FPS, seed=1).astype(float)
    turn = np.linspace(0, np.pi / 2, FPS)[:, None, None, None]
    mean = one.mean()
    faded = mean + np.cos(turn) * (one - mean) + np.sin(turn) * (other - mean)
    told = totals(faded.clip(0, 255).astype(np.uint8))
    assert told["persistence"] < 0.1 and told["carried"] < 0.1


def test_noise_carries_nothing() -> None:
    """New in each frame, and over a film that stands."""
    grain = np.random.default_rng(0).normal(0, 1, (2 * FPS, HEIGHT, WIDTH, 1)).repeat(3, -1)
    assert totals((128 + 40 * grain).clip(0, 255).astype(np.uint8))["persistence"] < 0.1
    boiling = totals((moved(still) + 6 * grain).clip(0, 255).astype(np.uint8))
    assert boiling["carried"] < 0.1 and boiling["persistence"] > 0.5


def test_seconds_belong_to_their_slices() -> None:
    """A pan that becomes a stand: carried, then not; a second that is cut off is not told of."""
    film = np.concatenate([moved(panning), moved(still), moved(panning, FPS // 2)])
    measure = CarriedScenery(FPS)
    measure.push(film)
    slices = [slice(0, 2 * FPS), slice(2 * FPS, 4 * FPS), slice(4 * FPS, len(film))]
    np.testing.assert_allclose(measure.curves(slices)["carried"], [1, 0, np.nan], atol=0.05)


def test_what_cannot_be_followed_is_nan() -> None:
    """Even pictures, tiny ones, and less than a second."""
    for film in (
        moved(still)[:, :8, :8],
        np.full((2 * FPS, HEIGHT, WIDTH, 3), 9, np.uint8),
        moved(still)[:5],
    ):
        assert all(map(math.isnan, totals(film).values()))


def test_distances_are_compared_by_pairs() -> None:
    """Thrice as far apart: ln 3; points that are near one another are no pair."""
    points = np.random.default_rng(0).uniform(0, 90, (20, 2)).astype(np.float32)
    near = (points / 20).astype(np.float32)
    assert spread(points, (3 * points + 7).astype(np.float32)) == pytest.approx(math.log(3), rel=1e-5)
    assert math.isnan(spread(points[:1], points[:1])) and math.isnan(spread(near, near))


def test_points_are_those_of_every_part() -> None:
    """At most three in a cell, those that come first."""
    crowd = np.array([[1, 1], [2, 2], [3, 3], [4, 4], [79, 79], [5, 5]], np.float32)
    np.testing.assert_array_equal(spaced(crowd, 80, 80), crowd[[0, 1, 2, 4]])


def test_a_point_that_leaves_is_known() -> None:
    """At the side to which the film pans, and at no other."""
    film = moved(panning, FPS)[..., 0]
    start = np.array([[WIDTH - 10, 30], [20, 30]], np.float32)
    end, _, left = along(list(film), start)
    assert left.tolist() == [True, False]
    np.testing.assert_allclose(end[1], [20 + 2 * (FPS - 1), 30], atol=0.2)


def test_correlation_is_pearsons() -> None:
    """1, −1, and 0 for what is even."""
    a = np.random.default_rng(0).random((5, 5))
    assert correlation(a, 2 * a + 1) == pytest.approx(1) and correlation(a, -a) == pytest.approx(-1)
    assert correlation(a, np.ones((5, 5))) == 0
    other = np.random.default_rng(1).random((5, 5))
    assert correlation(a, other) == pytest.approx(np.corrcoef(a.ravel(), other.ravel())[0, 1])
