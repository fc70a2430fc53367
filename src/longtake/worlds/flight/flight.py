"""Endless, seeded drone flights: frame n is a function of (flight, n).

A `Flight` begins with a scene; changes lead to others on its way, gently or at once.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from longtake.errors import OptionError
from longtake.worlds.flight.course import Course, Place, bank, pitch, shares
from longtake.worlds.flight.land import CLEARANCE, Land, grown
from longtake.worlds.flight.light import mixed
from longtake.worlds.flight.painter import FAR, Painter
from longtake.worlds.flight.scene import ATTRIBUTES, LEVEL, Scene, random_scene
from longtake.worlds.flight.view import Camera, sampled

WIDTH, HEIGHT, FPS = 128, 80, 24
AT_ONCE, GENTLY = 12, 60  # frames that a change takes
LANDS_OF_A_KIND = 64
BATCH, BATCH_ELSEWHERE = 8, 16  # frames that are drawn together, on a processor and on an accelerator
LEAST_BETWEEN, MOST_BETWEEN = 120, 360  # frames from the beginning of one random change to that of the next


@dataclass(frozen=True)
class Change:
    """From frame `at` on, within `frames`, the flight becomes that of `scene`. OptionError if one is less than 1."""

    at: int
    scene: Scene
    frames: int = GENTLY

    def __post_init__(self) -> None:
        if self.at < 1 or self.frames < 1:
            raise OptionError(
                f"a change begins at frame 1 or later and takes 1 or more, not {self.at}, {self.frames}"
            )


@dataclass(frozen=True)
class Flight:
    """A flight that begins as `scene`. The seed makes lands, clouds and the way: flights of one seed are over the same
    lands, and there are LANDS_OF_A_KIND of each kind. OptionError for a change that begins before the last has ended.
    """

    scene: Scene
    seed: int = 0
    changes: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        for one, other in pairwise(self.changes):
            if other.at < one.at + one.frames:
                raise OptionError(f"a change begins at {other.at}, before that of {one.at} has ended")

    def scene_at(self, frame: int) -> Scene:
        """What a caption of this frame says: a change counts from where it begins."""
        return self.passage(frame)[1]

    def attributes_at(self, frame: int) -> dict[str, str]:
        return self.scene_at(frame).shown

    def passage(self, frame: int) -> tuple[Scene, Scene, float]:
        """What a frame is on its way from, to what, and how far it has come, in [0, 1)."""
        number = bisect_right(self.changes, frame, key=lambda change: change.at)
        if number == 0:
            return self.scene, self.scene, 0.0
        last = self.changes[number - 1]
        done = (frame - last.at) / last.frames
        if done >= 1:
            return last.scene, last.scene, 0.0
        before = self.changes[number - 2].scene if number > 1 else self.scene
        return before, last.scene, done

    def render(self, first: int, count: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
        """Frames first … first + count - 1, (F, height, width, 3) uint8 RGB."""
        return Film(self, width, height).frames(first, count)

    @cached_property
    def course(self) -> Course:
        return Course(self)


def random_flight(
    rng: random.Random, *, held_out: bool = False, changes: float = 0.0, length: int = MOST_BETWEEN
) -> Flight:
    """A flight of which every scene is on one side of the hold-out.

    changes: the share of flights that change, in [0, 1]. length: frames in which they do so, somewhere, and once more
    every LEAST_BETWEEN to MOST_BETWEEN frames from there on.
    """
    scene, seed = random_scene(rng, held_out=held_out), rng.getrandbits(31)
    if rng.random() >= changes:
        return Flight(scene, seed)
    places = [rng.randrange(1, min(length, MOST_BETWEEN))]
    while (after := places[-1] + rng.randint(LEAST_BETWEEN, MOST_BETWEEN)) < length:
        places.append(after)
    return Flight(scene, seed, random_changes(rng, scene, places))


def random_changes(rng: random.Random, scene: Scene, places: Iterable[int]) -> tuple[Change, ...]:
    """A change at each of these frames, half of them gentle, beginning with that of `scene`."""
    made: list[Change] = []
    for place in places:
        scene = _changed(rng, scene)
        made.append(Change(place, scene, rng.choice((AT_ONCE, GENTLY))))
    return tuple(made)


def _changed(rng: random.Random, scene: Scene) -> Scene:
    """Another scene, on the same side of the hold-out, of one or two other attributes. What climbs was low before and
    what sinks was high, else it would soon be where it goes; where a climb or a descent ends there is a height."""
    while True:
        values = {}
        for name in rng.sample(list(ATTRIBUTES), rng.choice((1, 2))):
            values[name] = rng.choice([value for value in ATTRIBUTES[name] if value != getattr(scene, name)])
        motion = values.get("motion", scene.motion)
        height = {"climbing": "low", "sinking": "high"}.get(motion)
        if motion not in LEVEL and "motion" in values and scene.motion in LEVEL:
            if scene.height != height:
                continue
            values["height"] = "low"
        elif motion in LEVEL and scene.motion not in LEVEL:
            values["height"] = rng.choice(list(ATTRIBUTES["height"]))
        elif motion not in LEVEL and "height" in values:
            continue
        other = replace(scene, **values)
        if other.held_out == scene.held_out:
            return other


class _Ground(NamedTuple):
    """What a frame shows: a kind of land, the one that comes, if any, and how many cells away that begins."""

    kind: str
    coming: str | None
    front: float


class Film:
    """A flight's pictures at one size."""

    def __init__(
        self, flight: Flight, width: int = WIDTH, height: int = HEIGHT, device: torch.device | str = "cpu"
    ) -> None:
        self._flight, self._course = flight, flight.course
        self._batch = BATCH if torch.device(device).type == "cpu" else BATCH_ELSEWHERE
        self._painter = _painter(self._course.azimuth, flight.seed, width, height, torch.device(device))

    def frames(self, first: int, count: int) -> NDArray[np.uint8]:
        """Frames first … first + count - 1, (F, height, width, 3) uint8 RGB."""
        pieces = [
            self._drawn(piece[i : i + self._batch])
            for _, group in groupby(range(first, first + count), key=lambda n: self._ground(n)[:2])
            for piece in [list(group)]
            for i in range(0, len(piece), self._batch)
        ]
        return np.concatenate(pieces)

    def _ground(self, frame: int) -> _Ground:
        before, after, done = self._flight.passage(frame)
        if before.land == after.land:
            return _Ground(after.land, None, 0.0)
        return _Ground(before.land, after.land, FAR + 60 - (FAR + 120) * (1 - (1 - done) ** 2))

    def _drawn(self, numbers: list[int]) -> NDArray[np.uint8]:
        """Frames that show the same lands."""
        kind, coming, _ = self._ground(numbers[0])
        lands = [land_of(name, self._flight.seed) for name in (kind, coming) if name is not None]
        parts = [shares(self._flight, n) for n in numbers]
        fronts = [self._ground(n).front for n in numbers]
        cameras = [
            self._camera(n, lands, front, part) for n, front, part in zip(numbers, fronts, parts, strict=True)
        ]
        pictures = self._painter.draw(cameras, [mixed(part) for part in parts], lands, fronts)
        return pictures.cpu().numpy()

    def _camera(
        self, frame: int, lands: list[Land], front: float, parts: list[tuple[Scene, float]]
    ) -> Camera:
        place = self._course.place(frame)
        return Camera(
            x=place.x,
            y=place.y,
            altitude=ground_under(place, lands, front) + place.altitude,
            heading=place.heading,
            pitch=pitch(parts),
            bank=bank(parts),
            frame=frame,
        )


def ground_under(place: Place, lands: list[Land], front: float) -> float:
    """What a camera is above, in cells: a land, and a second one that begins `front` cells away. Never below what the
    picture of both shows there."""
    levels = [sampled(land.ground, place.x, place.y) for land in lands]
    if len(levels) == 1:
        return levels[0]
    near, far = levels
    edge = CLEARANCE if far > near else -CLEARANCE
    t = min(max((edge - front + 40) / 80, 0.0), 1.0)
    return near + (far - near) * t * t * (3 - 2 * t)


def land_of(kind: str, seed: int) -> Land:
    """The land of a kind that flights of a seed are over."""
    return _land(kind, seed % LANDS_OF_A_KIND)


@lru_cache(maxsize=len(ATTRIBUTES["land"]))
def _land(kind: str, seed: int) -> Land:
    return grown(kind, seed)


@lru_cache(maxsize=2)
def _painter(azimuth: float, seed: int, width: int, height: int, device: torch.device) -> Painter:
    return Painter(azimuth, seed, width, height, device)
