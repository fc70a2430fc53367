"""The drone flights as a `World`."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from longtake.evaluation.world import World
from longtake.training.stopping import Gently
from longtake.worlds.classifier import AttributeClassifier, trained_classifier
from longtake.worlds.flight import judge
from longtake.worlds.flight.flight import FPS, HEIGHT, WIDTH, Flight, random_flight
from longtake.worlds.flight.scene import described, every_scene, random_scene
from longtake.worlds.flight.sheet import contact_sheet
from longtake.worlds.held_out import held_out_prompts


@dataclass(frozen=True)
class Flights:
    """The world of drone flights over eight lands."""

    name = "flight"
    sizes = ((WIDTH, HEIGHT), (192, 112))
    fps = FPS
    attributes = judge.JUDGED
    looks = tuple((first, first + judge.APART) for first in (2, 7, 12))
    quick_judge = False
    editions = ("tiny", "small", "large", "finish")

    def prompts(self, count: int) -> list[tuple[str, Flight]]:
        seeds = random.Random(7)
        scenes = held_out_prompts(count, every_scene(), partial(random_scene, held_out=True))
        return [(caption, Flight(scene, seeds.getrandbits(31))) for caption, scene in scenes]

    def described(self, caption: str, seed: int = 0) -> Flight:
        return Flight(described(caption), seed)

    def drawn(self, seed: int, num_frames: int) -> tuple[Flight, list[tuple[int, str]]]:
        rng = random.Random(seed)
        flight = random_flight(rng, changes=1, length=num_frames)
        scenes = [(0, flight.scene), *((change.at, change.scene) for change in flight.changes)]
        return flight, [(frame, scene.caption(rng)) for frame, scene in scenes]

    def sheet(self, path: Path, seed: int) -> None:
        contact_sheet(path, seed)

    def judge(self, file: Path) -> AttributeClassifier:
        return trained_classifier(file, judge.FLIGHT)

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
        from longtake.training.flight import EDITIONS, train_flight

        recipe = replace(EDITIONS[edition], device=device, bf16=bf16, compiled=compiled)
        return train_flight(run, replace(recipe, steps=steps or recipe.steps), gently)


WORLD: World = Flights()
