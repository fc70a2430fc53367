"""What is told of a model before it is fetched. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from longtake.models.card.placement import Offload

# What a network saw in training: one noise level in each clip; that, beside clean frames; levels that differ.
TrainedOn = Literal["equal levels", "clean frames", "unequal levels"]

# What to expect, of models whose weights nobody has filmed with here.
MADE_FOR_IT = "it was trained on frames of unequal noise, and films as it is; untried with these weights"
NEEDS_A_LORA = (
    "it never saw levels that rise through a clip, and wants a LoRA that has; untried with these weights"
)


@dataclass(frozen=True)
class HubModel:
    """A model to film with.

    about: a line. licence: a word or a few, with what it forbids, if anything. trained_on: the noise levels that it
    knows. expect: what its films are like, in a line. weights_gib: all its parts in bfloat16. peak_gib: the most that a
    card holds at the model's own settings in bfloat16, by offload; `python benchmarks/memory.py` prints both numbers.
    """

    about: str
    licence: str
    trained_on: TrainedOn
    expect: str
    weights_gib: float | None = None
    peak_gib: Mapping[Offload, float] = field(default_factory=dict)
