"""Where flights go: over the ground, never round in a circle, from one scene to the next."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtake.worlds.flight.course import ALTITUDE, LIMITS, SPEED, SWING, TURN, Place, shares
from longtake.worlds.flight.flight import (
    Change,
    Flight,
    ground_under,
    land_of,
    random_changes,
    random_flight,
)
from longtake.worlds.flight.painter import FAR, SOFT
from longtake.worlds.flight.scene import ATTRIBUTES, LEVEL, Scene, random_scene
from longtake.worlds.flight.view import sampled

pytestmark = pytest.mark.slow

PLAIN = Scene("hills", "noon")


@pytest.mark.parametrize("kind", list(ATTRIBUTES["land"]))
def test_what_a_camera_flies_above_is_never_below_the_ground(kind: str) -> None:
    """The law by which no camera enters the ground: it is `altitude` above a level that is nowhere lower."""
    land = land_of(kind, 3)
    assert bool((land.ground >= land.height - 1e-3).all()) and bool((land.height >= 0).all())


@given(st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_the_camera_never_enters_the_ground(rng: random.Random) -> None:
    """Two minutes of any motion, with changes of any kind, are between the limits above what the pictures show."""
    flight = random_flight(rng, changes=0.7, length=2880)
    places = [flight.course.place(n) for n in range(2880)]
    assert all(LIMITS[0] * 0.999 <= place.altitude <= LIMITS[1] * 1.001 for place in places)


@given(st.floats(0, 1024), st.floats(0, 1024), st.floats(-100, FAR + 100))
@settings(max_examples=200, deadline=None)
def test_the_camera_is_above_both_lands_where_one_follows_the_other(x: float, y: float, front: float) -> None:
    """Mountains that come near lift the camera before they are there, and canyons let it sink when they are."""
    for kinds in (("mountains", "dunes"), ("dunes", "mountains")):
        lands = [land_of(kind, 1) for kind in kinds]
        t = min(max((SOFT - front) / (2 * SOFT), 0.0), 1.0)
        share = t * t * (3 - 2 * t)
        near, far = (sampled(land.height, x, y) for land in lands)
        assert ground_under(Place(x, y, 0, 0), lands, front) >= near + (far - near) * share - 1e-4


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("speed", ["slow", "steady", "fast"])
def test_a_turn_never_closes_into_a_circle(side: str, speed: str) -> None:
    """Each round ends where the one before did, moved by what the closed form says."""
    course = Flight(Scene("hills", "noon", motion=side, speed=speed), seed=4).course
    start = course.place(0)
    sign = math.copysign(1, TURN[side])
    ends = [0]
    while len(ends) < 4:
        turned = sign * (course.place(ends[-1] + 1).heading - start.heading)
        ends.append(ends[-1] + 1)
        while turned < 2 * math.pi * len(ends[1:]):
            ends[-1] += 1
            turned = sign * (course.place(ends[-1]).heading - start.heading)
    places = np.array([course.place(end)[:2] for end in ends])
    root = math.sqrt(1 - SWING**2)
    expected = 2 * math.pi * (1 - root) / (SWING * root) * SPEED[speed] / abs(TURN[side])
    moved = np.linalg.norm(np.diff(places, axis=0), axis=1)
    np.testing.assert_allclose(moved, expected, atol=3 * SPEED[speed])
    assert np.linalg.norm(places[3] - places[0]) > 2.8 * expected


@pytest.mark.parametrize("motion", ["straight", "left", "right"])
@pytest.mark.parametrize("height", ["low", "high"])
def test_a_level_flight_keeps_its_height(motion: str, height: str) -> None:
    """The height of the caption holds for ever."""
    course = Flight(Scene("hills", "noon", motion=motion, height=height), seed=6).course
    low, high = ALTITUDE[height]
    assert all(low <= course.place(n).altitude <= high for n in range(0, 5000, 50))


def test_a_climb_takes_more_than_a_minute() -> None:
    """It rises in every frame of a minute, by the same part of its height in nearly all; a descent is its mirror."""
    for motion, sign in (("climbing", 1), ("sinking", -1)):
        course = Flight(Scene("hills", "noon", motion=motion), seed=6).course
        heights = np.log([course.place(n).altitude for n in range(1440)])
        rates = sign * np.diff(heights) * 24
        assert (rates > 0.01).all() and np.median(rates) == pytest.approx(0.0252, rel=0.01)


def test_changes_come_in_their_order() -> None:
    """A caption counts from where a change begins, pictures are whole where it has ended."""
    left, night = Scene("hills", "noon", motion="left"), Scene("hills", "night", motion="left")
    flight = Flight(PLAIN, 0, (Change(50, left, 12), Change(100, night, 60)))
    assert [flight.scene_at(n) for n in (0, 49, 50, 99, 100, 10**6)] == [
        PLAIN,
        PLAIN,
        left,
        left,
        night,
        night,
    ]
    assert shares(flight, 50) == [(PLAIN, 1.0)] and shares(flight, 62) == [(left, 1.0)]
    assert shares(flight, 56) == [(PLAIN, 0.5), (left, 0.5)]
    rising = [dict(shares(flight, n)).get(night, 0.0) for n in range(100, 161)]
    assert rising == sorted(rising) and rising[-1] == 1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ([(50, 60), (100, 60)], "begins at 100, before that of 50 has ended"),
        ([(100, 12), (50, 12)], "begins at 50, before that of 100"),
        ([(0, 12)], "begins at frame 1 or later"),
        ([(5, 0)], "takes 1 or more"),
    ],
)
def test_changes_that_cannot_be(changes: list[tuple[int, int]], problem: str) -> None:
    """Guards pictures of three scenes at once, and captions that no frame has."""
    with pytest.raises(ValueError, match=problem):
        Flight(PLAIN, 0, tuple(Change(at, PLAIN, frames) for at, frames in changes))


@given(st.randoms(use_true_random=False), st.booleans(), st.integers(2, 4000))
@settings(max_examples=200, deadline=None)
def test_random_flights_stay_on_their_side(rng: random.Random, held_out: bool, length: int) -> None:
    """Training meets no held-out scene on its way; one or two attributes change, and a height where it must."""
    flight = random_flight(rng, held_out=held_out, changes=1, length=length)
    scenes = [flight.scene, *(change.scene for change in flight.changes)]
    assert {scene.held_out for scene in scenes} == {held_out}
    assert 1 <= flight.changes[0].at < length and all(change.at < length for change in flight.changes)
    for one, other in pairwise(scenes):
        changed = {name for name in ATTRIBUTES if getattr(one, name) != getattr(other, name)}
        levels = (one.motion in LEVEL) + (other.motion in LEVEL)
        assert 1 <= len(changed - ({"height"} if levels == 1 else set())) <= 2


def test_the_share_of_flights_that_change() -> None:
    """Is what is asked for; some changes are gentle, some are not, and a long flight has many."""
    rng = random.Random(0)
    flights = [random_flight(rng, changes=0.3, length=480) for _ in range(2000)]
    changing = [flight for flight in flights if flight.changes]
    assert 0.27 < len(changing) / len(flights) < 0.33
    assert {change.frames for flight in changing for change in flight.changes} == {12, 60}
    assert len(random_flight(rng, changes=1, length=24000).changes) > 60
    assert not any(random_flight(rng).changes for _ in range(50))


def test_changes_where_they_are_wanted() -> None:
    """A timeline of its own, each change from the scene before it."""
    rng = random.Random(3)
    scene = random_scene(rng)
    changes = random_changes(rng, scene, [240, 480, 960])
    assert [change.at for change in changes] == [240, 480, 960]
    flight = Flight(scene, 1, changes)
    assert flight.scene_at(479) == changes[0].scene != changes[1].scene == flight.scene_at(480)
