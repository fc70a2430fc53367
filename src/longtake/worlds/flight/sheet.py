"""All lands of the flights at a glance."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from longtake.worlds.flight.flight import Flight
from longtake.worlds.flight.scene import ATTRIBUTES, Scene
from longtake.worlds.sheet import write_sheet

COLUMNS: tuple[dict[str, str], ...] = (
    *({"time": time} for time in ATTRIBUTES["time"]),
    {"time": "noon", "weather": "cloudy"},
    {"time": "sunset", "weather": "cloudy"},
    {"time": "night", "weather": "cloudy"},
    {"time": "noon", "weather": "foggy"},
    {"time": "dusk", "weather": "foggy"},
    {"time": "noon", "motion": "left"},
    {"time": "dawn", "motion": "right"},
    {"time": "noon", "motion": "climbing"},
    {"time": "sunset", "motion": "sinking"},
    {"time": "noon", "height": "high"},
)


def contact_sheet(path: Path, seed: int = 0, width: int = 160, height: int = 100) -> None:
    """Write a PNG of a row a land and a column for each of COLUMNS, pictures of width x height pixels."""
    rows = []
    for land in ATTRIBUTES["land"]:
        scenes = [Scene(land, **values) for values in COLUMNS]
        pictures = [Flight(scene, seed).render(120, 1, width, height)[0] for scene in scenes]
        rows.append([(picture, _told(scene)) for picture, scene in zip(pictures, scenes, strict=True)])
    write_sheet(path, rows)


def _told(scene: Scene) -> str:
    """The values that are not the usual ones."""
    plain = asdict(Scene(scene.land, scene.time))
    kept = ("land", "time")
    return " ".join(value for name, value in asdict(scene).items() if name in kept or value != plain[name])
