"""Reads the attributes of a flight off two frames, APART from each other: an absolute judge of what film shows.

FLIGHT is the lesson of its classifier. It reads land, time, weather, motion and height. Speed it does not learn, since
a network that halves the picture at once cannot measure how far things come near. The height of a climb or a descent
changes on the way and is not read either. Its blind spot is everything else: a film can be ugly, or jump between two
looks, and still be read right.

Shapes: H W picture height and width.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
import torch

from longtake.progress import track
from longtake.runs import processes
from longtake.worlds.classifier import Frames, Labels, Lesson, labels_of
from longtake.worlds.flight.flight import HEIGHT, LANDS_OF_A_KIND, WIDTH, Flight
from longtake.worlds.flight.scene import ATTRIBUTES, Scene, random_scene

JUDGED = ("land", "time", "weather", "motion", "height")
APART = 10  # frames
MINUTE = 1440  # frames, in which climbs climb
LOOKS_OF_A_LAND = 8  # for each that is grown, since that takes as long as all of them


class _Looks(NamedTuple):
    """Some looks at one land: scenes of flights of one seed, and the first frame of each look."""

    seed: int
    scenes: list[Scene]
    at: list[int]


def rendered_pairs(count: int, seed: int, held_out: bool | None = None) -> tuple[Frames, Labels]:
    """`count` looks at random flights, of either side of the hold-out, or of the held-out one every tenth time, and
    their labels. The lands come in turn, so that those of every kind are all seen before one is seen again."""
    rng = random.Random(seed)
    sizes = [min(LOOKS_OF_A_LAND, count - done) for done in range(0, count, LOOKS_OF_A_LAND)]
    jobs = [_looks(rng, number, held_out, size) for number, size in enumerate(sizes)]
    with processes("spawn") as pool:
        frames = list(track(pool.map(_rendered, jobs), "rendering looks at flights", len(jobs)))
    scenes = [scene for job in jobs for scene in job.scenes]
    return np.concatenate(frames), labels_of([scene.shown for scene in scenes], FLIGHT.values)


def _looks(rng: random.Random, number: int, held_out: bool | None, count: int) -> _Looks:
    kinds, scenes = list(ATTRIBUTES["land"]), list[Scene]()
    while len(scenes) < count:
        side = rng.random() < 0.1 if held_out is None else held_out
        scene = random_scene(rng, held_out=side)
        if scene.land == kinds[number % len(kinds)]:
            scenes.append(scene)
    seed = rng.getrandbits(24) * LANDS_OF_A_KIND + number // len(kinds) % LANDS_OF_A_KIND
    return _Looks(seed, scenes, [rng.randrange(MINUTE - APART) for _ in scenes])


def _rendered(job: _Looks) -> Frames:
    torch.set_num_threads(1)
    flights = [Flight(scene, job.seed) for scene in job.scenes]
    return np.stack([look(flight, at) for flight, at in zip(flights, job.at, strict=True)])


def look(flight: Flight, at: int) -> Frames:
    """Frames `at` and `at` + APART of a flight on top of each other, (H, W, 6)."""
    return np.concatenate([flight.render(n, 1)[0] for n in (at, at + APART)], axis=2)


FLIGHT = Lesson(
    {name: list(ATTRIBUTES[name]) for name in JUDGED},
    rendered_pairs,
    (WIDTH, HEIGHT),
    frames=2,
    count=4096,
    steps=1000,
    mirrored={"motion": {"left": "right", "right": "left"}},
)
