"""The judge of flights: what it is shown, what that is labelled as, and that it learns to read it."""

import json
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longtake.errors import ModelError
from longtake.worlds.classifier import (
    UNREAD,
    AttributeClassifier,
    Frames,
    Labels,
    accuracy,
    labels_of,
    trained_classifier,
)
from longtake.worlds.flight import judge
from longtake.worlds.flight.flight import Flight
from longtake.worlds.flight.judge import APART, FLIGHT, JUDGED, look, rendered_pairs
from longtake.worlds.flight.scene import ATTRIBUTES, Scene
from longtake.worlds.tracking_shot.judge import TRACKING_SHOT
from portable import same_pictures

pytestmark = pytest.mark.slow

SCENES = [
    Scene(land, "noon", weather, motion)
    for land in ("dunes", "frozen")
    for weather in ("clear", "foggy")
    for motion in ("left", "right", "climbing")
]


def few(count: int, seed: int, held_out: bool | None) -> tuple[Frames, Labels]:
    """Looks at a dozen scenes, rendered here."""
    rng = random.Random(seed)
    scenes = [SCENES[n % len(SCENES)] for n in range(count)]
    looks = np.stack([look(Flight(scene, 5), rng.randrange(400)) for scene in scenes])
    return looks, labels_of([scene.shown for scene in scenes], FLIGHT.values)


def test_a_look_is_two_frames_on_top_of_each_other() -> None:
    """Guards a judge of motion that is shown two frames of another distance."""
    flight = Flight(SCENES[0], 3)
    both = look(flight, 40)
    same_pictures(both[..., :3], flight.render(40, 1)[0])
    same_pictures(both[..., 3:], flight.render(40 + APART, 1)[0])


def test_what_is_shown() -> None:
    """All attributes but speed, and but for the height of what climbs, whose label is passed over."""
    level, climb = Scene("hills", "noon", height="high"), Scene("hills", "noon", motion="climbing")
    assert level.shown == {name: value for name, value in asdict(level).items() if name in JUDGED}
    assert {*JUDGED, "speed"} == set(ATTRIBUTES)
    labels = labels_of([level.shown, climb.shown], FLIGHT.values)
    assert labels["height"].tolist() == [1, UNREAD] and labels["motion"].tolist() == [0, 3]


def test_mirrors_swap_turns_and_nothing_else() -> None:
    """A picture that is turned left to right shows the other turn of the same land."""
    for name, values in FLIGHT.values.items():
        turned = [list(values)[n] for n in FLIGHT.turned(name)]
        swapped = {"left": "right", "right": "left"} if name == "motion" else {}
        assert turned == [swapped.get(value, value) for value in values]


def test_renders_are_of_the_side_that_is_asked_for() -> None:
    """Labels are those of scenes that training never meets; a height that is not shown is low in these."""
    looks, labels = rendered_pairs(2, seed=4, held_out=True)
    assert looks.shape == (2, 80, 128, 6) and looks.std() > 3 and set(labels) == set(JUDGED)
    values = {
        name: [list(ATTRIBUTES[name])[max(0, int(row))] for row in rows] for name, rows in labels.items()
    }
    for n in range(2):
        assert Scene(**{name: column[n] for name, column in values.items()}).held_out


def test_it_learns_what_flights_show(tmp_path: Path) -> None:
    """After half a minute it reads land, weather and motion of a dozen scenes, and the file of it reads the same."""
    lesson = replace(FLIGHT, render=few, count=72, steps=40)
    reader = trained_classifier(tmp_path / "judge.safetensors", lesson, batch=24)
    looks, labels = few(24, 1, None)
    right = accuracy(reader, looks, labels)
    assert min(right[name] for name in ("land", "weather", "motion")) > 0.9
    again = trained_classifier(tmp_path / "judge.safetensors", lesson)
    for one in (reader, again):
        read = one.read(looks[:1])
        assert {name: read[name] for name in ("land", "weather", "motion")} == {
            "land": "dunes",
            "weather": "clear",
            "motion": "left",
        }


def test_a_height_that_is_not_shown_teaches_nothing() -> None:
    """Guards the loss: looks at climbs move the head of heights by not a digit."""
    torch.manual_seed(0)
    reader = AttributeClassifier(FLIGHT)
    labels = torch.tensor([UNREAD, UNREAD, 1])
    logits = reader(torch.randn(3, 6, 80, 128))["height"]
    logits.retain_grad()
    torch.nn.functional.cross_entropy(logits, labels, ignore_index=UNREAD).backward()
    assert logits.grad is not None and not logits.grad[:2].any() and logits.grad[2].any()


def test_the_classifier_of_another_world_is_refused(tmp_path: Path) -> None:
    """Guards a judge that would read flights as tracking shots."""
    path = tmp_path / "judge.safetensors"
    trained_classifier(path, replace(FLIGHT, render=few, count=12, steps=1), batch=12)
    with pytest.raises(ModelError, match="no classifier of this version"):
        trained_classifier(path, TRACKING_SHOT)


def test_the_judge_is_measured_by_a_command(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards `longtake judge`: it trains once, says how much is read right of what, and refuses other files."""
    monkeypatch.setattr(judge, "FLIGHT", replace(FLIGHT, render=few, count=12, steps=1))
    file = tmp_path / "judge.safetensors"
    first = cli("judge", "flight", file, "--looks", "12", "--json")
    assert first.code == 0 and set(json.loads(first.out)["right"]) == set(JUDGED)
    made = file.stat().st_mtime_ns
    again = cli("judge", "flight", file, "--looks", "12")
    assert [line.split()[0] for line in again.out.splitlines()] == list(JUDGED)
    assert file.stat().st_mtime_ns == made
    other = cli("judge", "tracking-shot", file)
    assert other.code == 2 and "no classifier of this version" in other.err
