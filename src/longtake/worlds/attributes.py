"""What worlds show as attributes: the words of captions, read back, and the combinations that training never sees."""

from __future__ import annotations

import hashlib
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TypeVar

from longtake.errors import OptionError

Phrases = dict[str, tuple[str, ...]]
HELD_OUT = 26  # of 256 combinations


@dataclass(frozen=True)
class Vocabulary:
    """What captions of something say: of every attribute the values, each with the phrases that tell of it. The first
    phrase is the plain one, and an empty one may go unsaid."""

    of: str
    attributes: Mapping[str, Phrases]

    @cached_property
    def _meaning(self) -> dict[str, tuple[str, str]]:
        return {
            phrase: (name, value)
            for name, values in self.attributes.items()
            for value, phrases in values.items()
            for phrase in filter(None, phrases)
        }

    @cached_property
    def _any_phrase(self) -> re.Pattern[str]:
        return re.compile(rf"\b(?:{'|'.join(sorted(self._meaning, key=len, reverse=True))})\b")

    def told(self, caption: str) -> dict[str, str]:
        """The value of every attribute that a caption tells of. Other words are passed over.

        OptionError if it tells of none where one must be said, or of two values of one attribute."""
        found = self._any_phrase.findall(" ".join(caption.lower().split()))
        told, values = {self._meaning[phrase] for phrase in found}, {}
        for name, choices in self.attributes.items():
            unsaid = [value for value, phrases in choices.items() if "" in phrases]
            known = sorted(value for other, value in told if other == name) or unsaid
            if len(known) != 1:
                raise OptionError(
                    f"{self.of} has one {name}, and {caption!r} tells of {' and '.join(known) or 'none'}"
                )
            (values[name],) = known
        return values

    def check(self, values: Mapping[str, str]) -> None:
        """OptionError for a value that there is not."""
        for name, choices in self.attributes.items():
            if values[name] not in choices:
                raise OptionError(f"{name} {values[name]!r} is not one of {', '.join(choices)}")

    def every(self) -> Iterator[dict[str, str]]:
        """All combinations of values."""
        for values in product(*self.attributes.values()):
            yield dict(zip(self.attributes, values, strict=True))

    def words(self, *others: str) -> list[str]:
        """All words and marks of its phrases and of others, sorted: what a tokenizer must know."""
        own = (phrase for values in self.attributes.values() for some in values.values() for phrase in some)
        return sorted(set(" ".join([*own, *others]).replace("-", " - ").split()))


def tidied(caption: str) -> str:
    """A caption without the blanks and commas around what goes unsaid."""
    pieces = [" ".join(piece.split()) for piece in caption.split(",")]
    return ", ".join(piece for piece in pieces if piece)


class Captioned(ABC):
    """A combination of attributes, with captions that tell of it."""

    @property
    @abstractmethod
    def combination(self) -> str:
        """What tells it from others, as far as the hold-out goes."""

    @abstractmethod
    def caption(self, rng: random.Random | None = None) -> str:
        """One of many phrasings, or the plain one without an `rng`."""

    @property
    def held_out(self) -> bool:
        """True for the tenth of all combinations that training never sees."""
        return hashlib.sha256(self.combination.encode()).digest()[0] < HELD_OUT


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
