"""Where the camera of a flight is, frame after frame."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, NamedTuple

from longtake.worlds.flight.scene import LEVEL, Scene

if TYPE_CHECKING:
    from longtake.worlds.flight.flight import Flight

SPEED = {"slow": 0.28, "steady": 0.55, "fast": 1.0}  # cells a frame
TURN = {"left": -0.0075, "right": 0.0075}  # radians a frame
SWING = 0.4  # by how much a turn tightens and widens
BANK = {"left": -0.17, "right": 0.17}  # radians
ALTITUDE = {"low": (12.0, 20.0), "high": (36.0, 52.0)}  # cells over the ground
LIMITS = (11.0, 80.0)
CLIMB = {"climbing": 0.00105, "sinking": -0.00105}  # of the altitude, a frame: 2.5 % a second
STEEPEST = 0.02  # of the altitude, a frame, on the way to another height
PITCH = {"low": -0.11, "high": -0.20, "climbing": 0.04, "sinking": -0.34}  # radians


class Place(NamedTuple):
    """Where a camera is over the ground: x, y and altitude in cells, heading in radians."""

    x: float
    y: float
    altitude: float
    heading: float


class Course:
    """The way of a flight.

    azimuth: of the flight's sun, in radians; half of all flights go toward it. Turns are tighter in one direction of
    the compass than in the other, so that they never close: each round ends where the one before did, moved by
    2 pi (1 - r) / (SWING r) of the mean radius, r = sqrt(1 - SWING²). A climb or a descent takes more than a minute
    from one limit to the other, and stays there.
    """

    def __init__(self, flight: Flight) -> None:
        rng = random.Random(flight.seed)
        scene = flight.scene
        self.azimuth = rng.uniform(-math.pi, math.pi)
        toward_the_sun = rng.choice((True, False))
        heading = self.azimuth + rng.uniform(-0.5, 0.5) if toward_the_sun else rng.uniform(-math.pi, math.pi)
        level = rng.uniform(*ALTITUDE[scene.height])
        altitude = {"climbing": LIMITS[0] + 1, "sinking": LIMITS[1] * 0.8}.get(scene.motion, level)
        self._wide = rng.uniform(0, 2 * math.pi)
        self._flight = flight
        self._places = [Place(rng.uniform(0, 1024), rng.uniform(0, 1024), altitude, heading)]

    def place(self, frame: int) -> Place:
        """Of a frame; the first time, the whole way there is gone, some microseconds a frame."""
        while len(self._places) <= frame:
            self._places.append(self._next(len(self._places) - 1))
        return self._places[frame]

    def _next(self, frame: int) -> Place:
        here, parts = self._places[frame], shares(self._flight, frame)
        speed = sum(w * SPEED[s.speed] for s, w in parts)
        turn = sum(w * TURN.get(s.motion, 0.0) for s, w in parts)
        heading = here.heading + turn * (1 + SWING * math.sin(here.heading + self._wide))
        growth = sum(w * _growth(s, here.altitude) for s, w in parts)
        return Place(
            here.x + speed * math.cos(heading),
            here.y + speed * math.sin(heading),
            here.altitude * math.exp(growth),
            heading,
        )


def shares(flight: Flight, frame: int) -> list[tuple[Scene, float]]:
    """The scenes of which a frame is a mixture, each with its share; in most frames it is one."""
    before, after, done = flight.passage(frame)
    share = done * done * (3 - 2 * done)
    return [(before, 1.0)] if share == 0 else [(before, 1 - share), (after, share)]


def pitch(parts: list[tuple[Scene, float]]) -> float:
    """How far the camera looks up, in radians."""
    return sum(w * PITCH.get(s.motion, PITCH[s.height]) for s, w in parts)


def bank(parts: list[tuple[Scene, float]]) -> float:
    """How far it leans to the right, in radians."""
    return sum(w * BANK.get(s.motion, 0.0) for s, w in parts)


def _growth(scene: Scene, altitude: float) -> float:
    """What is added to the logarithm of the altitude in a frame."""
    if scene.motion in LEVEL:
        low, high = ALTITUDE[scene.height]
        missing = math.log(min(max(altitude, low), high) / altitude)
        return min(max(missing / 30, -STEEPEST), STEEPEST)
    limit = LIMITS[scene.motion == "climbing"]
    return CLIMB[scene.motion] * min(1.0, abs(math.log(limit / altitude)) / 0.1)
