"""Prompts of a world that training never saw."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from longtake.errors import OptionError


class Captioned(Protocol):
    """A combination of attributes, with captions that tell of it."""

    @property
    def combination(self) -> str:
        """What tells it from others, as far as the hold-out goes."""
        ...

    @property
    def held_out(self) -> bool: ...

    def caption(self, rng: random.Random) -> str: ...


Shown = TypeVar("Shown", bound=Captioned)


def held_out_prompts(
    count: int, every: Iterable[Shown], draw: Callable[[random.Random], Shown]
) -> list[tuple[str, Shown]]:
    """`count` held-out ones of different combinations, by chance, each behind a caption; fewer are the first of more.

    every: all there are. draw: a held-out one. OptionError if there are not so many combinations."""
    known = len({one.combination for one in every if one.held_out})
    if count > known:
        raise OptionError(
            f"training leaves {known} combinations of attributes out: {count} prompts are too many"
        )
    drawing, telling = random.Random(5), random.Random(6)
    found: dict[str, Shown] = {}
    while len(found) < count:
        one = draw(drawing)
        found.setdefault(one.combination, one)
    return [(one.caption(telling), one) for one in found.values()]
