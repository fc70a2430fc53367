"""Endless, seeded drone flights: frame n is a function of (flight, n).

A `Flight` begins with a scene; changes lead to others on its way, gently or at once. `Course` says where the camera is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from longtake.worlds.flight.scene import LEVEL, Scene

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from longtake.worlds.flight.land import Land
    from longtake.worlds.flight.painter import Light, Painter

WIDTH, HEIGHT, FPS = 128, 80, 24
AT_ONCE, GENTLY = 12, 60  # frames that a change takes

SPEED = {"slow": 0.28, "steady": 0.55, "fast": 1.0}  # cells a frame
TURN = {"left": -0.0075, "right": 0.0075}  # radians a frame
BANK = {"left": -0.17, "right": 0.17}
CLIMB = {"climbing": 0.00125, "sinking": -0.00125}  # of the altitude, a frame: 3 % a second
ALTITUDE = {"low": (12.0, 20.0), "high": (36.0, 52.0)}  # cells over the ground
LIMITS = (11.0, 95.0)
PITCH = {"low": -0.11, "high": -0.20, "climbing": 0.04, "sinking": -0.28}
SWING, SWING_FRAMES = 0.35, 517  # how much a turn tightens and widens, so that it never closes to a circle


@dataclass(frozen=True)
class Change:
    """From frame `at` on, within `frames`, the flight becomes that of `scene`."""

    at: int
    scene: Scene
    frames: int = GENTLY


@dataclass(frozen=True)
class Flight:
    """A flight that begins as `scene`. The seed makes lands, clouds and the way. Changes are in their order."""

    scene: Scene
    seed: int = 0
    changes: tuple[Change, ...] = ()

    def scene_at(self, frame: int) -> Scene:
        """What a caption of this frame says: a change counts from where it begins."""
        return next((c.scene for c in reversed(self.changes) if c.at <= frame), self.scene)

    def render(self, first: int, count: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
        """Frames first … first + count - 1, (F, height, width, 3) uint8 RGB."""
        return Film(self, width, height).frames(first, count)

    @cached_property
    def course(self) -> Course:
        return Course(self)


class Place(NamedTuple):
    """Where a camera is over the ground: x, y and altitude in cells, heading in radians."""

    x: float
    y: float
    altitude: float
    heading: float


class Course:
    """The way of a flight, frame after frame."""

    def __init__(self, flight: Flight) -> None:
        rng = random.Random(flight.seed)
        low, high = ALTITUDE[flight.scene.height] if flight.scene.motion in LEVEL else LIMITS
        self.azimuth = rng.uniform(-math.pi, math.pi)
        toward_the_sun = rng.choice((True, False))
        heading = self.azimuth + rng.uniform(-0.5, 0.5) if toward_the_sun else rng.uniform(-math.pi, math.pi)
        start = {"climbing": LIMITS[0] + 1, "sinking": LIMITS[1] * 0.8}.get(flight.scene.motion, rng.uniform(low, high))
        self._swing = rng.uniform(0, 2 * math.pi)
        self._flight = flight
        self._places = [Place(rng.uniform(0, 1024), rng.uniform(0, 1024), start, heading)]

    def place(self, frame: int) -> Place:
        while len(self._places) <= frame:
            self._places.append(self._next(len(self._places) - 1))
        return self._places[frame]

    def _next(self, frame: int) -> Place:
        here, weights = self._places[frame], shares(self._flight, frame)
        speed = sum(w * SPEED[s.speed] for s, w in weights)
        turn = sum(w * TURN.get(s.motion, 0.0) for s, w in weights)
        turn *= 1 + SWING * math.sin(2 * math.pi * frame / SWING_FRAMES + self._swing)
        grow = sum(w * self._growth(s, here.altitude) for s, w in weights)
        heading = here.heading + turn
        return Place(
            here.x + speed * math.cos(heading), here.y + speed * math.sin(heading), here.altitude * math.exp(grow), heading
        )

    def _growth(self, scene: Scene, altitude: float) -> float:
        """What is added to the logarithm of the altitude in a frame."""
        if scene.motion in LEVEL:
            low, high = ALTITUDE[scene.height]
            return (math.log(min(max(altitude, low), high)) - math.log(altitude)) / 30
        limit = LIMITS[scene.motion == "climbing"]
        room = abs(math.log(limit / altitude))
        return CLIMB[scene.motion] * min(1.0, room / 0.1)


def shares(flight: Flight, frame: int) -> list[tuple[Scene, float]]:
    """The scenes of which a frame is a mixture, each with its share; in most frames it is one."""
    weights = [(flight.scene, 1.0)]
    for change in flight.changes:
        t = min(max((frame - change.at) / change.frames, 0.0), 1.0)
        share = t * t * (3 - 2 * t)
        if share:
            weights = [(scene, w * (1 - share)) for scene, w in weights if share < 1] + [(change.scene, share)]
    return weights


class Film:
    """A flight's pictures at one size."""

    def __init__(
        self, flight: Flight, width: int = WIDTH, height: int = HEIGHT, device: torch.device | str = "cpu", start: Place | None = None
    ) -> None:
        from longtake.worlds.flight.painter import Painter

        self._flight, self._course = flight, flight.course
        self._painter = Painter(self._course.azimuth, flight.seed, width, height, device)
        self._device = device

    def frames(self, first: int, count: int, batch: int = 8) -> NDArray[np.uint8]:
        import numpy as np

        pieces = [self._batch(range(n, min(n + batch, first + count))) for n in range(first, first + count, batch)]
        return np.concatenate(pieces)

    def _batch(self, numbers: range) -> NDArray[np.uint8]:
        import numpy as np

        groups: list[NDArray[np.uint8]] = []
        pending: list[int] = []

        def lands_of(n: int) -> tuple[str, str, float]:
            return self._lands(n)

        for n in numbers:
            if pending and lands_of(pending[0])[:2] != lands_of(n)[:2]:
                groups.append(self._drawn(pending))
                pending = []
            pending.append(n)
        groups.append(self._drawn(pending))
        return np.concatenate(groups)

    def _lands(self, frame: int) -> tuple[str, str, float]:
        """The land that is near, the one that comes, and how far away it begins."""
        from longtake.worlds.flight.painter import FAR

        near = self._flight.scene.land
        for change in self._flight.changes:
            t = min(max((frame - change.at) / change.frames, 0.0), 1.0)
            if change.scene.land == near or t <= 0:
                continue
            if t < 1:
                return near, change.scene.land, FAR + 60 - (FAR + 120) * (1 - (1 - t) ** 2)
            near = change.scene.land
        return near, near, 0.0

    def _drawn(self, numbers: Sequence[int]) -> NDArray[np.uint8]:
        from longtake.worlds.flight.painter import Camera

        near, other, _ = self._lands(numbers[0])
        land = land_of(near, self._flight.seed)
        coming = land_of(other, self._flight.seed) if other != near else None
        cameras, lights, fronts = list[Camera](), list["Light"](), list[float]()
        for n in numbers:
            place, weights = self._course.place(n), shares(self._flight, n)
            front = self._lands(n)[2]
            ground = _level(land, place)
            if coming is not None:
                ground = _crossed(ground, _level(coming, place), front)
            cameras.append(
                Camera(
                    x=place.x,
                    y=place.y,
                    altitude=ground + place.altitude,
                    heading=place.heading,
                    pitch=sum(w * PITCH.get(s.motion, PITCH[s.height]) for s, w in weights),
                    bank=sum(w * BANK.get(s.motion, 0.0) for s, w in weights),
                    frame=n,
                )
            )
            lights.append(light_of(weights))
            fronts.append(front)
        return self._painter.draw(cameras, lights, land, coming, fronts if coming else None).cpu().numpy()


@lru_cache(maxsize=8)
def land_of(kind: str, seed: int) -> Land:
    from longtake.worlds.flight.land import grown

    return grown(kind, seed % 64)


def _level(land: Land, place: Place) -> float:
    from longtake.worlds.flight.painter import sampled

    return sampled(land.ground, place.x, place.y)


def _crossed(near: float, far: float, front: float) -> float:
    """The ground under a camera where another land begins `front` cells away: above what either is near it."""
    from longtake.worlds.flight.land import CLEARANCE

    edge = CLEARANCE if far > near else -CLEARANCE
    t = min(max((edge - front + 40) / 80, 0.0), 1.0)
    return near + (far - near) * t * t * (3 - 2 * t)


def light_of(weights: list[tuple[Scene, float]]) -> Light:
    """The light of a mixture of scenes."""
    from longtake.worlds.flight.painter import Light
    from longtake.worlds.flight.light import light

    parts = [(light(scene.time, scene.weather), share) for scene, share in weights]
    return Light(**{f.name: sum(getattr(part, f.name) * share for part, share in parts) for f in fields(Light)})
