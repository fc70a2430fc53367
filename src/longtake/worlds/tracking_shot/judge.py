"""Reads the attributes of a tracking shot off single frames: an absolute judge of what film shows.

TRACKING_SHOT is the lesson of its classifier. It reads vehicle, colour, landscape, time and weather; speed cannot be
seen in one frame. Its blind spot is everything else: a frame can be ugly and still be read right.
"""

from __future__ import annotations

import random

import numpy as np

from longtake.runs import processes
from longtake.worlds.classifier import Frames, Labels, Lesson, labels_of
from longtake.worlds.tracking_shot.shot import ATTRIBUTES, HEIGHT, WIDTH, Shot, random_shot

JUDGED = ("vehicle", "colour", "landscape", "time", "weather")


def rendered_stills(count: int, seed: int, held_out: bool | None = None) -> tuple[Frames, Labels]:
    """`count` single frames of random shots (of either side of the hold-out, or both in turn) and their labels."""
    rng = random.Random(seed)
    sides = [i % 10 == 0 if held_out is None else held_out for i in range(count)]
    shots = [random_shot(rng, held_out=side) for side in sides]
    jobs = [(shot, rng.randrange(4000)) for shot in shots]
    with processes() as pool:
        frames = np.concatenate(list(pool.map(_still, jobs, chunksize=64)))
    return frames, labels_of([shot.attributes for shot in shots], TRACKING_SHOT.values)


def _still(job: tuple[Shot, int]) -> Frames:
    shot, frame = job
    return shot.render(frame, 1)


TRACKING_SHOT = Lesson({name: list(ATTRIBUTES[name]) for name in JUDGED}, rendered_stills, (WIDTH, HEIGHT))
