"""Options of how a model is put on a card: fields of Placement, taken by the commands that film."""

from typing import Any

from longtake.cli.parameters import given_of
from longtake.models.card.placement import Placement
from longtake.provenance import COMPILED, NATIVE, Made

PLACED = [name for name in Placement.model_fields]
# Of a film that goes on: its weights are held as they were, and its pictures made so.
PLACED_ANEW = [name for name in PLACED if name not in ("quantize", "tile")]


def placement_of(keywords: dict[str, Any]) -> Placement:
    """The placement that the keywords of a command ask for, taken out of these."""
    return Placement(**given_of({name: keywords.pop(name, None) for name in PLACED}))


def placement_like(told: dict[str, Any], made: Made, asked: Placement | None = None) -> Placement:
    """That of a film which says this of itself; what is asked for holds before it."""
    own = {
        "quantize": told.get("quantize"),
        "tile": told.get("tile"),
        "attention": None if made.attention == NATIVE else made.attention,
        "compile": made.blocks == COMPILED,
    }
    return Placement(**given_of(own) | ({} if asked is None else asked.model_dump(exclude_unset=True)))
