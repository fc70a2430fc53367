"""The admission of measures: what drifts is caught, what does not is left alone, and none is there for nothing."""

import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from longtake.evaluation.drift import start_end_contrast
from longtake.evaluation.features import ImageNetFeatures
from longtake.evaluation.films import measure_film, read_film, recorded, write_film
from longtake.evaluation.measures.base import Curve, Frames, Joints, Measure
from longtake.evaluation.measures.beat import Beat
from longtake.evaluation.measures.consistency import Consistency
from longtake.evaluation.measures.grid import GridRatio
from longtake.evaluation.measures.motion import Freezing, Looping, OpticalFlow
from longtake.evaluation.measures.picture import PictureStatistics
from longtake.evaluation.measures.scenery import CarriedScenery
from longtake.evaluation.measures.seams import SceneCuts, SeamScore
from longtake.evaluation.record import Source
from longtake.evaluation.report.columns import LIKENESS
from longtake.evaluation.report.summary import with_likeness
from longtake.evaluation.variants import REAL
from longtake.evaluation.world import Rendered
from longtake.worlds.flight.flight import Flight
from longtake.worlds.flight.scene import Scene
from longtake.worlds.tracking_shot.shot import FPS, Shot, random_shot
from synthetic import DRIFTS, WINDOW, Key, Numbers, caught, numbers, other_views

pytestmark = pytest.mark.slow

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
    "looping": {("loop_score", "start–end")},
    "seams": {("seam_score", "total"), ("worst_jump", "total")},
    "growing beat": {(name, kind) for name in ("beat", "beat_peak") for kind in ("start–end", "total")},
    "growing grid": {("grid_sky", "start–end"), ("grid_sky", "total")},
}


def weightless() -> list[Measure]:
    return [
        PictureStatistics(),
        OpticalFlow(FPS),
        Freezing(FPS),
        Looping(FPS),
        SeamScore(range(WINDOW, FRAMES, WINDOW)),
        SceneCuts(),
        GridRatio(),
        Beat(FPS, Joints()),
    ]


def measured(film: Frames, measures: list[Measure], fps: int = FPS) -> Numbers:
    return numbers(measure_film([film], Fraction(fps), measures))


def rendered(shots: list[Shot]) -> list[Frames]:
    return [shot.render(0, FRAMES, WIDTH, HEIGHT) for shot in shots]


@pytest.fixture(scope="module")
def renders() -> list[Frames]:
    """Of the shots that are spoilt."""
    return rendered(SPOILT)


@pytest.fixture(scope="module")
def stable_renders() -> list[Frames]:
    """Of other shots."""
    rng = random.Random(5)
    return rendered([random_shot(rng) for _ in range(8)])


@pytest.fixture(scope="module")
def spoilt(renders: list[Frames]) -> dict[str, list[Frames]]:
    return {
        name: [drift(film, shot) for film, shot in zip(renders, SPOILT, strict=True)]
        for name, drift in DRIFTS.items()
    }


@pytest.fixture(scope="module")
def stable(stable_renders: list[Frames]) -> list[Numbers]:
    return [measured(film, weightless()) for film in stable_renders]


@pytest.fixture(scope="module")
def catches(spoilt: dict[str, list[Frames]], stable: list[Numbers]) -> dict[str, set[Key]]:
    return {
        name: caught([measured(film, weightless()) for film in films], stable)
        for name, films in spoilt.items()
    }


def test_stable_film_is_flat(stable: list[Numbers]) -> None:
    """Guards against measures that drift by themselves."""
    for film in stable:
        for name in ("luma", "contrast", "saturation", "sharpness", "clipped", "flicker", "smoothness"):
            assert abs(film[name, "start–end"]) < 0.02
        assert film["freeze_share", "total"] == film["cuts", "total"] == 0
        assert film["seam_score", "total"] == pytest.approx(1, abs=0.15) and film["worst_jump", "total"] < 3
        assert film["loop_score", "total"] < 0.55


def test_stable_film_is_not_caught(renders: list[Frames], stable: list[Numbers]) -> None:
    """The curves of the shots that are spoilt elsewhere do not drift before they are; their totals are their own."""
    films = [measured(film, weightless()) for film in renders]
    assert {name for name, kind in caught(films, stable) if kind == "start–end"} == set()


@pytest.mark.parametrize("drift", MUST)
def test_drifts_are_caught(catches: dict[str, set[Key]], drift: str) -> None:
    """By the measures that are there for them."""
    assert catches[drift] >= MUST[drift]


def test_an_identity_swap_is_caught(
    spoilt: dict[str, list[Frames]], renders: list[Frames], stable_renders: list[Frames]
) -> None:
    """By the features of a network, and by what is shown alone: every picture is as bright as before."""
    for swapped, film in zip(spoilt["identity swap"], renders, strict=True):
        np.testing.assert_allclose(swapped.mean((1, 2, 3)), film.mean((1, 2, 3)), atol=1.5)
    features, apart = ImageNetFeatures(), FPS // 2
    found, usual = (
        [measured(film[::apart], [Consistency(features, 2)], fps=2) for film in films]
        for films in (spoilt["identity swap"], stable_renders)
    )
    assert ("similarity_to_start", "start–end") in caught(found, usual)


def test_likeness_to_real_film_sees_what_is_shown(
    spoilt: dict[str, list[Frames]], renders: list[Frames], tmp_path: Path
) -> None:
    """It falls where the prompt's own real film shows something else, and stays where nothing is done."""
    shots = [replace(shot, seed=2) for shot in SPOILT]
    kinds = {REAL: rendered(shots), "none": renders}
    kinds |= {name: spoilt[name] for name in ("hard cut", "identity swap")}
    features, apart, films = ImageNetFeatures(), FPS // 2, []
    for row, some in kinds.items():
        for number, frames in enumerate(some):
            measure, path = Consistency(features, Fraction(2)), tmp_path / f"{row}-{number}.json"
            told = measure_film([frames[::apart]], Fraction(2), [measure])
            record = recorded(Source(row=row, group=f"shot {number}"), told)
            write_film(path, record, measure.clips(), b"")
            films.append(read_film(path))
    falls = {
        (film.row, film.group): float(start_end_contrast(film.curves[LIKENESS]))
        for film in with_likeness(films)
        if film.row != REAL
    }
    for (row, _), fall in falls.items():
        assert abs(fall) < 0.05 if row == "none" else fall < -0.1


def halves(film: Frames) -> dict[str, Curve]:
    """What becomes of points in each half of a film."""
    measure, middle = CarriedScenery(FPS), len(film) // 2
    measure.push(film)
    return measure.curves([slice(0, middle), slice(middle, len(film))])


SCENIC: dict[str, Rendered] = {
    "shot": Shot("tractor", "blue", "canyon", "noon", "clear", "steady", seed=1),
    "flight": Flight(Scene("mountains", "noon"), seed=3),
}


@pytest.mark.parametrize("world", SCENIC)
def test_other_views_are_not_carried(world: str) -> None:
    """From the middle on; a vehicle, which is in all views of a shot, persists. Only a flight comes near."""
    film = SCENIC[world].render(0, 4 * FPS, 128, 80)
    spoilt = other_views(film, SCENIC[world])
    real, found = halves(film), halves(spoilt)
    assert (real["growth"] > 0.05).all() if world == "flight" else (abs(real["growth"]) < 0.02).all()
    for name, left in (("persistence", 0.8), ("carried", 0.5)):
        assert found[name][0] == real[name][0] and found[name][1] < left * real[name][1]


def test_a_creeping_zoom_grows() -> None:
    """By ln 4 / 4 in its first half of four seconds."""
    shot = Shot("tractor", "blue", "canyon", "noon", "clear", "slow", seed=1)
    found = halves(DRIFTS["creeping zoom"](shot.render(0, 8 * FPS), shot))
    assert found["growth"][0] == pytest.approx(np.log(4) / 4 / 4, abs=0.02)
    assert found["growth"][1] > 2 * found["growth"][0]


def test_all_drifts_are_tried() -> None:
    """None is left out above."""
    assert {*MUST, "identity swap", "other views", "creeping zoom"} == set(DRIFTS)


def test_every_measure_catches_something(catches: dict[str, set[Key]]) -> None:
    """A measure that catches nothing is not admitted."""
    assert {name for found in catches.values() for name, _ in found} == {
        name for measure in weightless() for name in measure.about
    }


@pytest.mark.parametrize("drift", DRIFTS)
def test_drifts_keep_the_shape_and_the_first_frame(
    spoilt: dict[str, list[Frames]], renders: list[Frames], drift: str
) -> None:
    """They are films of the same length that begin as the render does."""
    for film, render in zip(spoilt[drift], renders, strict=True):
        assert film.shape == render.shape and film.dtype == np.uint8
        np.testing.assert_array_equal(film[0], render[0])
