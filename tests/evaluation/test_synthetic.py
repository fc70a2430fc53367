"""The admission of measures: what drifts is caught, what does not is left alone, and none is there for nothing."""

import random
from fractions import Fraction

import numpy as np
import pytest

from longtake.evaluation.features import Features, ImageNetFeatures
from longtake.evaluation.films import measure_film
from longtake.evaluation.measures.base import Frames, Measure
from longtake.evaluation.measures.consistency import Consistency
from longtake.evaluation.measures.motion import Freezing, Looping, OpticalFlow
from longtake.evaluation.measures.picture import PictureStatistics
from longtake.evaluation.measures.seams import SceneCuts, SeamScore
from longtake.evaluation.synthetic import DRIFTS, WINDOW, Key, Numbers, caught, numbers
from longtake.worlds.tracking_shot import FPS, Shot, random_shot

FRAMES, WIDTH, HEIGHT = 14 * FPS, 64, 40
SPOILT = [
    Shot("car", "green", "hills", "dawn", "clear", "fast", seed=1),
    Shot("bus", "yellow", "forest", "sunset", "clear", "fast", seed=1),
]

# What each drift must be caught by, whatever else notices it.
MUST = {
    "exposure creep": {("luma", "start–end"), ("saturation", "start–end")},
    "progressive blur": {("sharpness", "start–end"), ("contrast", "start–end")},
    "growing noise": {("sharpness", "start–end"), ("flicker", "start–end"), ("smoothness", "start–end")},
    "freezing": {("freeze_share", "total"), ("motion", "start–end"), ("dynamic_degree", "start–end")},
    "hard cut": {("cuts", "total"), ("worst_jump", "total")},
    "identity swap": {("similarity_to_start", "start–end")},
    "looping": {("loop_score", "start–end")},
    "seams": {("seam_score", "total"), ("worst_jump", "total")},
}


def weightless() -> list[Measure]:
    return [
        PictureStatistics(),
        OpticalFlow(FPS),
        Freezing(FPS),
        Looping(FPS),
        SeamScore(range(WINDOW, FRAMES, WINDOW)),
        SceneCuts(),
    ]


def measured(film: Frames, measures: list[Measure]) -> Numbers:
    return numbers(measure_film([film], Fraction(FPS), measures))


def rendered(shot: Shot) -> Frames:
    return shot.render(0, FRAMES, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def renders() -> list[Frames]:
    """Of the shots that are spoilt."""
    return [rendered(shot) for shot in SPOILT]


@pytest.fixture(scope="module")
def features() -> Features:
    return ImageNetFeatures()


@pytest.fixture(scope="module")
def stable(features: Features) -> list[Numbers]:
    rng = random.Random(5)
    films = [rendered(random_shot(rng)) for _ in range(8)]
    return [measured(film, [*weightless(), Consistency(features, FPS)]) for film in films]


@pytest.fixture(scope="module")
def catches(renders: list[Frames], stable: list[Numbers], features: Features) -> dict[str, set[Key]]:
    found = {}
    for name, drift in DRIFTS.items():
        consistency = [Consistency(features, FPS)] if name == "identity swap" else []
        films = [
            measured(drift(film, shot), [*weightless(), *consistency])
            for film, shot in zip(renders, SPOILT, strict=True)
        ]
        found[name] = caught(films, [{key: film[key] for key in films[0]} for film in stable])
    return found


def test_stable_film_is_flat(stable: list[Numbers]) -> None:
    """Guards against measures that drift by themselves."""
    for film in stable:
        for name in ("luma", "contrast", "saturation", "sharpness", "clipped", "flicker", "smoothness"):
            assert abs(film[name, "start–end"]) < 0.02
        assert film["freeze_share", "total"] == film["cuts", "total"] == 0
        assert film["seam_score", "total"] == pytest.approx(1, abs=0.15) and film["worst_jump", "total"] < 3
        assert film["loop_score", "total"] < 0.55


def test_stable_film_is_not_caught(renders: list[Frames], stable: list[Numbers], features: Features) -> None:
    """The curves of the shots that are spoilt elsewhere do not drift before they are; their totals are their own."""
    films = [measured(film, [*weightless(), Consistency(features, FPS)]) for film in renders]
    assert {name for name, kind in caught(films, stable) if kind == "start–end"} == set()


@pytest.mark.parametrize("drift", DRIFTS)
def test_drifts_are_caught(catches: dict[str, set[Key]], drift: str) -> None:
    """By the measures that are there for them."""
    assert catches[drift] >= MUST[drift]


def test_every_measure_catches_something(catches: dict[str, set[Key]]) -> None:
    """A measure that catches nothing is not admitted."""
    assert {name for found in catches.values() for name, _ in found} >= {
        name for measure in weightless() for name in measure.about
    }


def test_an_identity_swap_keeps_its_brightness(renders: list[Frames]) -> None:
    """It can only be caught by what is shown: every picture is as bright as before, and there is no cut."""
    film = renders[0]
    swapped = DRIFTS["identity swap"](film, SPOILT[0])
    np.testing.assert_allclose(swapped.mean((1, 2, 3)), film.mean((1, 2, 3)), atol=1.5)
    assert np.abs(swapped[-1].astype(int) - film[-1]).mean() > 5


@pytest.mark.parametrize("drift", DRIFTS)
def test_drifts_keep_the_shape_and_the_first_frame(renders: list[Frames], drift: str) -> None:
    """They are films of the same length that begin as the render does."""
    film = renders[0]
    spoilt = DRIFTS[drift](film, SPOILT[0])
    assert spoilt.shape == film.shape and spoilt.dtype == np.uint8
    np.testing.assert_array_equal(spoilt[0], film[0])
