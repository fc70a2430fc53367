"""The drone flights as a `World`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.evaluation.world import World
from longtake.worlds.attributes import held_out_prompts
from longtake.worlds.classifier import AttributeClassifier, trained_classifier
from longtake.worlds.flight import judge
from longtake.worlds.flight.flight import FPS, HEIGHT, WIDTH, Flight, random_flight
from longtake.worlds.flight.scene import described, every_scene, random_scene
from longtake.worlds.flight.sheet import contact_sheet

if TYPE_CHECKING:
    from longtake.training.recipe import Recipe


def _prompts(count: int) -> list[tuple[str, Flight]]:
    seeds = random.Random(7)
    scenes = held_out_prompts(count, every_scene(), partial(random_scene, held_out=True))
    return [(caption, Flight(scene, seeds.getrandbits(31))) for caption, scene in scenes]


def _described(caption: str, seed: int) -> Flight:
    return Flight(described(caption), seed)


def _drawn(seed: int, num_frames: int) -> tuple[Flight, list[tuple[int, str]]]:
    rng = random.Random(seed)
    flight = random_flight(rng, changes=1, length=num_frames)
    scenes = [(0, flight.scene), *((change.at, change.scene) for change in flight.changes)]
    return flight, [(frame, scene.caption(rng)) for frame, scene in scenes]


def _judge(file: Path) -> AttributeClassifier:
    return trained_classifier(file, judge.FLIGHT)


def _editions() -> Mapping[str, Recipe]:
    from longtake.worlds.flight.recipe import EDITIONS

    return EDITIONS


WORLD = World(
    name="flight",
    sizes=((WIDTH, HEIGHT), (192, 112)),
    fps=FPS,
    attributes=judge.JUDGED,
    looks=tuple((first, first + judge.APART) for first in (2, 7, 12)),
    quick_judge=False,
    editions=_editions,
    prompts=_prompts,
    described=_described,
    drawn=_drawn,
    sheet=contact_sheet,
    judge=_judge,
)
