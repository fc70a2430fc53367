"""The tracking shots as a `World`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import longtake.worlds.tracking_shot.paint  # noqa: F401  (what draws is asked for at once)
from longtake.evaluation.world import World
from longtake.training.stopping import Gently
from longtake.worlds.attributes import held_out_prompts
from longtake.worlds.classifier import AttributeClassifier, trained_classifier
from longtake.worlds.tracking_shot import judge, shot
from longtake.worlds.tracking_shot.shot import Shot, random_shot


def _prompts(count: int) -> list[tuple[str, Shot]]:
    return held_out_prompts(count, shot.every_shot(), partial(random_shot, held_out=True))


def _drawn(seed: int, num_frames: int) -> tuple[Shot, list[tuple[int, str]]]:
    rng = random.Random(seed)
    drawn = random_shot(rng)
    return drawn, [(0, drawn.caption(rng))]


def _judge(file: Path) -> AttributeClassifier:
    return trained_classifier(file, judge.TRACKING_SHOT)


def _train(run: Path, edition: str, given: Mapping[str, Any], gently: Gently) -> Path:
    """The embedded model; nothing of it is compiled."""
    from longtake.training.default import Recipe, train_default

    taken = {name: value for name, value in given.items() if name != "compiled"}
    return train_default(run, replace(Recipe(), **taken), gently)


WORLD = World(
    name="tracking-shot",
    sizes=((shot.WIDTH, shot.HEIGHT),),
    fps=shot.FPS,
    attributes=judge.JUDGED,
    looks=((3,), (11,), (19,)),
    quick_judge=True,
    editions=("small",),
    prompts=_prompts,
    described=shot.described,
    drawn=_drawn,
    sheet=shot.contact_sheet,
    judge=_judge,
    train=_train,
)
