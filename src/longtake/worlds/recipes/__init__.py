"""The recipes of the embedded models, by world and edition."""

from collections.abc import Mapping
from importlib import import_module

from longtake.training.recipe import Recipe

MODULES = {
    "tracking-shot": "longtake.worlds.recipes.tracking_shot",
    "flight": "longtake.worlds.flight.recipe",
}


def editions(world: str) -> Mapping[str, Recipe]:
    """A world's recipe in every edition."""
    found: Mapping[str, Recipe] = import_module(MODULES[world]).EDITIONS
    return found
