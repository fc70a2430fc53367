"""The tracking shots as a `World`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import longtake.worlds.tracking_shot.paint  # noqa: F401  (what draws is asked for at once)
from longtake.evaluation.world import World
from longtake.worlds.attributes import held_out_prompts
from longtake.worlds.classifier import AttributeClassifier, trained_classifier
from longtake.worlds.tracking_shot import judge, shot
from longtake.worlds.tracking_shot.shot import Shot, random_shot

if TYPE_CHECKING:
    from longtake.training.recipe import Recipe


def _prompts(count: int) -> list[tuple[str, Shot]]:
    return held_out_prompts(count, shot.every_shot(), partial(random_shot, held_out=True))


def _drawn(seed: int, num_frames: int) -> tuple[Shot, list[tuple[int, str]]]:
    rng = random.Random(seed)
    drawn = random_shot(rng)
    return drawn, [(0, drawn.caption(rng))]


def _judge(file: Path) -> AttributeClassifier:
    return trained_classifier(file, judge.TRACKING_SHOT)


def _editions() -> Mapping[str, Recipe]:
    from longtake.worlds.tracking_shot.recipe import EDITIONS

    return EDITIONS


WORLD = World(
    name="tracking-shot",
    sizes=((shot.WIDTH, shot.HEIGHT),),
    fps=shot.FPS,
    attributes=judge.JUDGED,
    looks=((3,), (11,), (19,)),
    quick_judge=True,
    editions=_editions,
    prompts=_prompts,
    described=shot.described,
    drawn=_drawn,
    sheet=shot.contact_sheet,
    judge=_judge,
)
