"""The tracking shots as a `World`."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import longtake.worlds.tracking_shot.paint  # noqa: F401  (what draws is asked for at once)
from longtake.evaluation.world import World
from longtake.training.stopping import Gently
from longtake.worlds.classifier import AttributeClassifier, trained_classifier
from longtake.worlds.held_out import held_out_prompts
from longtake.worlds.tracking_shot import judge
from longtake.worlds.tracking_shot.sheet import contact_sheet
from longtake.worlds.tracking_shot.shot import FPS, HEIGHT, WIDTH, Shot, described, every_shot, random_shot


@dataclass(frozen=True)
class TrackingShots:
    """The world of the embedded model."""

    name = "tracking-shot"
    sizes = ((WIDTH, HEIGHT),)
    fps = FPS
    attributes = judge.JUDGED
    looks = ((3,), (11,), (19,))
    quick_judge = True
    editions = ("small",)

    def prompts(self, count: int) -> list[tuple[str, Shot]]:
        return held_out_prompts(count, every_shot(), partial(random_shot, held_out=True))

    def described(self, caption: str, seed: int = 0) -> Shot:
        return described(caption, seed)

    def drawn(self, seed: int, num_frames: int) -> tuple[Shot, list[tuple[int, str]]]:
        rng = random.Random(seed)
        shot = random_shot(rng)
        return shot, [(0, shot.caption(rng))]

    def sheet(self, path: Path, seed: int) -> None:
        contact_sheet(path, seed)

    def judge(self, file: Path) -> AttributeClassifier:
        return trained_classifier(file, judge.TRACKING_SHOT)

    def train(
        self,
        run: Path,
        gently: Gently,
        *,
        edition: str,
        steps: int | None,
        device: str,
        bf16: bool,
        compiled: bool,
    ) -> Path:
        """The trainer finishes it. Nothing of it is compiled."""
        from longtake.training.default import Recipe, train_default

        recipe = Recipe(steps=steps or Recipe.steps, device=device, bf16=bf16)
        return train_default(run, recipe, gently)


WORLD: World = TrackingShots()
