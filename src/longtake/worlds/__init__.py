"""Worlds: renderers of captioned film, its judges, and the recipes of the models that film them.

A world is a package with a module `world`, whose WORLD is an `evaluation.world.World`, and a line here.
"""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longtake.evaluation.world import World


class WorldName(StrEnum):
    """What users call each world, by the name of its package."""

    flight = "flight"
    tracking_shot = "tracking-shot"


def load_world(name: WorldName) -> World:
    """ModuleNotFoundError without the extra `world`."""
    world: World = import_module(f"longtake.worlds.{name.name}.world").WORLD
    return world
