"""The films of a report in rows, one a method or a set, and the means of their numbers over prompts.

T slices of a film
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from longtake.evaluation.drift import Floats, Interval, bootstrap, by_prompt
from longtake.evaluation.films import Key, MeasuredFilm, read_clips
from longtake.evaluation.measures.clips import Clips
from longtake.evaluation.options import COMPARED
from longtake.evaluation.variants import EQUAL_COST, REAL

RESAMPLES = 4000
FEWEST_PROMPTS = 5

Number = Callable[[MeasuredFilm], float]


@dataclass(frozen=True)
class Row:
    """The films of one method, or of one set."""

    name: str
    films: tuple[MeasuredFilm, ...]

    @property
    def is_real(self) -> bool:
        return self.name == REAL

    @property
    def at_equal_cost(self) -> bool:
        return self.name.endswith(EQUAL_COST)

    @property
    def base(self) -> str:
        """The method's name, at whatever cost."""
        return self.name.removesuffix(EQUAL_COST)

    @property
    def prompts(self) -> int:
        return len({film.group for film in self.films})

    @property
    def keys(self) -> set[Key]:
        return {film.key for film in self.films}

    def only(self, keys: Collection[Key]) -> Row:
        """The films of these prompts and seeds."""
        return Row(self.name, tuple(film for film in self.films if film.key in keys))

    def curve(self, name: str) -> Interval:
        """The mean curve (T,) over the films and its band, as long as the longest film."""
        return self._mean(curves(self.films, name))

    def number(self, number: Number) -> Interval:
        """The mean of a number over the films, and its interval."""
        return self._mean([number(film) for film in self.films])

    def less(self, other: Row, number: Number) -> Interval:
        """The mean difference of a number, this row minus the other, over the films that both have: those of the same
        prompt and seed. NaN if there are none."""
        shared = self.keys & other.keys
        if not shared:
            return Interval(*3 * [np.array(np.nan)])
        mine, theirs = (row._by_prompt(shared, number) for row in (self, other))
        return _interval(np.array([mine[prompt] - theirs[prompt] for prompt in mine]))

    def clips(self) -> dict[str, list[Clips]]:
        """The clips of every film, by prompt."""
        found: dict[str, list[Clips]] = {}
        for film in self.films:
            found.setdefault(film.group, []).append(read_clips(film))
        return found

    def _by_prompt(self, keys: Collection[Key], number: Number) -> dict[str, float]:
        """The mean of a number over the films of each prompt, of those with these keys."""
        films = self.only(keys).films
        prompts = [film.group for film in films]
        means = by_prompt([number(film) for film in films], prompts)
        return dict(zip(dict.fromkeys(prompts), means, strict=True))

    def _mean(self, values: Floats | list[float]) -> Interval:
        return _interval(by_prompt(values, [film.group for film in self.films]))


def _interval(values: Floats) -> Interval:
    """Of values (P, …) a prompt; no bounds for fewer than FEWEST_PROMPTS, whose bootstrap is far too narrow."""
    interval = bootstrap(values, RESAMPLES)
    enough = (~np.isnan(values)).sum(0) >= FEWEST_PROMPTS
    low, high = (np.where(enough, bound, np.nan) for bound in (interval.low, interval.high))
    return Interval(interval.value, low, high)


def rows_of(films: Sequence[MeasuredFilm]) -> list[Row]:
    """The films by what they are compared as: methods in their order, each followed by itself at equal cost; sets by
    name; real film last."""
    known = [name + cost for name in COMPARED for cost in ("", EQUAL_COST)]

    def place(name: str) -> tuple[bool, int, str]:
        return name == REAL, known.index(name) if name in known else len(known), name

    names = sorted({film.row for film in films}, key=place)
    return [Row(name, tuple(film for film in films if film.row == name)) for name in names]


def curves(films: Sequence[MeasuredFilm], name: str) -> Floats:
    """The curves (films, T) of that name, NaN where a film is over or has none."""
    stacked = np.full((len(films), max(len(film.times) for film in films)), np.nan)
    for row, film in zip(stacked, films, strict=True):
        if name in film.curves:
            row[: len(film.times)] = film.curves[name]
    return stacked
