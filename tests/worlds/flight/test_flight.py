"""Pictures of flights: deterministic, endless, calm, and true to their captions."""

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from longtake.worlds.flight.flight import HEIGHT, WIDTH, Change, Film, Flight, random_flight
from longtake.worlds.flight.scene import ATTRIBUTES, LEVEL, Scene
from portable import same_pictures

pytestmark = pytest.mark.slow

SCENE = Scene("lakes", "sunset", "cloudy")
CHANGING = Flight(
    SCENE,
    3,
    (Change(20, replace(SCENE, motion="left", land="dunes"), 12), Change(60, Scene("dunes", "night"))),
)


def greys(flight: Flight, first: int, count: int) -> NDArray[np.float64]:
    return flight.render(first, count).mean(3)


@given(st.randoms(use_true_random=False), st.sampled_from([0, 1, 900, 100_000]))
@settings(max_examples=6, deadline=None)
def test_any_flight_renders_anywhere(rng: random.Random, frame: int) -> None:
    """Every combination draws, at any place of its endless length, and not a blank picture."""
    (picture,) = random_flight(rng, changes=0.5, length=1000).render(frame, 1)
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
    assert picture.std() > 3


@given(st.lists(st.tuples(st.integers(0, 80), st.integers(1, 12)), min_size=1, max_size=4))
@settings(max_examples=10, deadline=None)
def test_a_frame_depends_on_its_number_alone(asked: list[tuple[int, int]]) -> None:
    """Whatever was asked before and in whatever portions, across lands, lights and water that come and go."""
    whole, film = _whole(), Film(CHANGING)
    for first, count in asked:
        same_pictures(film.frames(first, count), whole[first : first + count])


@cache
def _whole() -> NDArray[np.uint8]:
    return CHANGING.render(0, 92)


def test_size_is_of_the_picture_not_of_the_world() -> None:
    """The same film at any size: pictures of twice the width, averaged, are nearly those of the single one."""
    small, large = CHANGING.render(5, 1)[0], CHANGING.render(5, 1, 2 * WIDTH, 2 * HEIGHT)[0]
    assert large.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    averaged = large.reshape(HEIGHT, 2, WIDTH, 2, 3).mean((1, 3))
    assert np.abs(averaged - small).mean() < 2


@pytest.mark.parametrize("attribute", [name for name in ATTRIBUTES if name != "speed"])
def test_every_attribute_shows(attribute: str) -> None:
    """Changing one attribute changes the picture, for each of its values."""
    scenes = [replace(Scene("hills", "noon"), **{attribute: value}) for value in ATTRIBUTES[attribute]]
    pictures = [Flight(scene, 5).render(40, 1)[0].astype(int) for scene in scenes]
    for i, picture in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(picture - other).mean() > 3


def test_speed_shows_in_time() -> None:
    """A faster flight changes more from frame to frame: nobody can tell from one."""
    changes = [
        np.abs(np.diff(greys(Flight(Scene("canyon", "noon", speed=speed), 5), 40, 9), axis=0)).mean()
        for speed in ("slow", "steady", "fast")
    ]
    assert changes[0] * 1.3 < changes[1] and changes[1] * 1.3 < changes[2]


@pytest.mark.parametrize(
    "values",
    [
        {"land": "frozen"},
        {"time": "night"},
        {"weather": "foggy"},
        {"motion": "right"},
        {"height": "high"},
        {"land": "islands", "time": "dawn"},
    ],
    ids=str,
)
@pytest.mark.parametrize("frames", [12, 60])
def test_both_sides_of_a_change_look_like_their_scenes(values: dict[str, str], frames: int) -> None:
    """Before it a flight is that of its first scene; after it, where it then is, that of the second."""
    first, second = SCENE, replace(SCENE, **values)
    flight = Flight(first, 7, (Change(30, second, frames),))
    same_pictures(flight.render(28, 3), Flight(first, 7).render(28, 3))
    far = 30 + frames + 120
    after, old, new = (greys(f, far, 1) for f in (flight, Flight(first, 7), Flight(second, 7)))
    assert abs(after.mean() - new.mean()) < max(6.0, abs(after.mean() - old.mean()))
    (one, two), (three, four) = flight.render(far - 1, 2).astype(int), flight.render(30, 2).astype(int)
    assert np.abs(one - two).mean() < 12 and np.abs(three - four).mean() < 12


@pytest.mark.parametrize("land", list(ATTRIBUTES["land"]))
def test_calm(land: str) -> None:
    """No flicker and no beat: in a straight flight, what changes from a frame to the next changes itself by less than
    a tenth a frame, and is as much at every fourth frame as between."""
    change = np.abs(np.diff(greys(Flight(Scene(land, "noon"), 5), 100, 49), axis=0)).mean((1, 2))
    assert np.abs(np.diff(change, 2)).mean() < 0.1 * change.mean()
    fourths = change.reshape(-1, 4).mean(0)
    assert fourths.max() < 1.06 * fourths.mean()


def test_heights_of_climbs_are_left_unsaid() -> None:
    """Guards captions that would say low of a flight that is high by then."""
    for motion in set(ATTRIBUTES["motion"]) - set(LEVEL):
        caption = Scene("hills", "noon", motion=motion).caption(random.Random(0))
        assert "low" not in caption.replace("slow", "")
