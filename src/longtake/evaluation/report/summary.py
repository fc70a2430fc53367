"""Many measured films in numbers: a row a method, each number with its interval over prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from longtake.errors import DataError
from longtake.evaluation.drift import SLICE_SECONDS, Floats, Interval
from longtake.evaluation.films import Key, MeasuredFilm, read_clips
from longtake.evaluation.measures.base import About
from longtake.evaluation.measures.consistency import units
from longtake.evaluation.measures.distribution import Distances, RealFilm
from longtake.evaluation.report.columns import LIKENESS, Column, columns
from longtake.evaluation.report.rows import Row, rows_of
from longtake.evaluation.variants import OURS, REAL

# What the headline is about, in words: the first of these curves that all the films have.
HEADLINES = {
    "adherence": "what its prompt asks for",
    "vbench_imaging_quality": "its imaging quality",
    "similarity_to_start": "its likeness to its first second",
    LIKENESS: "its likeness to real film",
}
ABOUT_LIKENESS = About("likeness to real film", "cosine", "higher")


@dataclass(frozen=True)
class Summary:
    """The numbers of a report. `ours`: the row that the others are compared with, if there is one. `headline`: the
    curve that it is about. `cells` and `behind`: of each row and column, by its name and key, the mean, and the mean
    difference of ours minus that one. `distances`: of each row, from real film in each ten seconds; `nearer`: those of
    ours minus those of that one. `notes`: what could not be measured, and why."""

    rows: list[Row]
    ours: Row | None
    headline: str
    columns: list[Column]
    cells: dict[tuple[str, str], Interval]
    behind: dict[tuple[str, str], Interval]
    distances: dict[str, list[Distances]]
    nearer: dict[str, list[Interval]]
    notes: list[str]

    @cached_property
    def films(self) -> list[MeasuredFilm]:
        return [film for row in self.rows for film in row.films]

    @cached_property
    def about(self) -> dict[str, About]:
        return {name: about for film in self.films for name, about in film.about.items()}

    @property
    def times(self) -> Floats:
        """The middles of the slices of the longest film, in seconds."""
        return max((film.times for film in self.films), key=len)

    @property
    def seconds(self) -> float:
        return len(self.times) * SLICE_SECONDS

    @property
    def headlines(self) -> list[str]:
        """The curves on top of the report."""
        return [self.headline, *([LIKENESS] if LIKENESS in self.about else [])]

    @property
    def curve_names(self) -> list[str]:
        """The curves that all films have."""
        return [name for name in self.films[0].curves if all(name in film.curves for film in self.films)]

    @property
    def keys(self) -> list[Key]:
        """Prompts and seeds, those that most rows have first, and of these those of which small films were kept."""
        keys = [film.key for film in self.films]
        kept = {film.key for film in self.films if film.path.with_suffix(".mp4").exists()}
        return sorted(dict.fromkeys(keys), key=lambda key: (-keys.count(key), key not in kept))

    @property
    def shared(self) -> set[Key]:
        """The prompts and seeds that all rows have, real film aside; those of any row, if there are none."""
        keys = [row.keys for row in self.made]
        every = set[Key]().union(*keys)
        return every.intersection(*keys) or every

    @property
    def made(self) -> list[Row]:
        """The rows but for real film."""
        return [row for row in self.rows if not row.is_real]

    @property
    def real(self) -> Row | None:
        return next((row for row in self.rows if row.is_real), None)

    def column(self, key: str) -> Column:
        return next(column for column in self.columns if column.key == key)

    def best(self, column: Column) -> list[str]:
        """The rows whose mean is best, real film aside; none if no way is better, all are equal, or the rows are not of
        the same prompts and seeds."""
        if len({frozenset(row.keys) for row in self.made}) > 1:
            return []
        means = {row.name: float(self.cells[row.name, column.key].value) for row in self.made}
        sign = {"higher": 1, "lower": -1, "neither": np.nan}[column.better]
        worth = {name: round(sign * mean, 9) for name, mean in means.items() if np.isfinite(sign * mean)}
        found = [name for name, value in worth.items() if value == max(worth.values())]
        return found if len(found) < len(worth) else []


def summarise(films: Sequence[MeasuredFilm], ours: str | None = OURS) -> Summary:
    """All numbers of the films of one comparison. They need not have the same length, nor the same measures.

    ours: the row that the others are compared with, if it is there."""
    rows, notes = rows_of(with_likeness(films)), list[str]()
    films = [film for row in rows for film in row.films]
    headline = next(name for name in HEADLINES if all(name in film.curves for film in films))
    by_name = {row.name: row for row in rows}
    shown = columns(films, headline, by_name.get(REAL))
    compared = by_name.get(ours or "")
    cells = {(row.name, column.key): row.number(column.number) for row in rows for column in shown}
    behind = {
        (row.name, column.key): compared.less(row, column.number)
        for row in rows
        for column in shown
        if compared is not None and row is not compared
    }
    distances, nearer = _distances(rows, compared, notes)
    return Summary(rows, compared, headline, shown, cells, behind, distances, nearer, notes)


def with_likeness(films: Sequence[MeasuredFilm]) -> list[MeasuredFilm]:
    """The films, each with the curve `likeness` if there is real film: the cosine of what a clip shows with the mean of
    what real film of its prompt shows, all other real films of it taken together; of all prompts, where none has its.

    Range 0 to 1."""
    looks = {film.path: _looks(film) for film in films}
    real = [film for film in films if film.row == REAL]
    if not real:
        return list(films)
    groups = {film.group for film in real}
    found = []
    for film in films:
        same = [other for other in real if other.group == film.group] if film.group in groups else real
        others = [looks[other.path] for other in same if other is not film]
        curve = np.full(len(film.times), np.nan)
        if others:
            shown = looks[film.path][: len(curve)] @ units(np.concatenate(others).mean(0))
            curve[: len(shown)] = shown
        found.append(
            replace(
                film, curves={**film.curves, LIKENESS: curve}, about={**film.about, LIKENESS: ABOUT_LIKENESS}
            )
        )
    return found


def _looks(film: MeasuredFilm) -> Floats:
    """What each clip shows: the first half of its vector, at length 1."""
    shown = read_clips(film)
    return np.asarray(units(shown[:, : shown.shape[1] // 2]), dtype=np.float64)


def _distances(
    rows: Sequence[Row], ours: Row | None, notes: list[str]
) -> tuple[dict[str, list[Distances]], dict[str, list[Interval]]]:
    """The distances of each row from real film in each ten seconds, and by how much those of ours are greater, of the
    same prompts; what has none is told in `notes`."""
    by_row = {row.name: row.clips() for row in rows}
    found, nearer = dict[str, list[Distances]](), dict[str, list[Interval]]()
    if REAL not in by_row:
        return found, nearer
    real = RealFilm(by_row.pop(REAL))
    for name, clips in by_row.items():
        try:
            found[name] = real.slice_distances(clips)
        except DataError as error:
            notes.append(f"no distance of {name} from real film: {error}")
            continue
        if not found[name]:
            notes.append(f"no distance of {name} from real film: a film is shorter than ten seconds")
        elif ours is not None and name != ours.name and clips.keys() <= by_row[ours.name].keys():
            pairs = real.slice_distances({prompt: by_row[ours.name][prompt] for prompt in clips})
            nearer[name] = [mine.less(other) for mine, other in zip(pairs, found[name], strict=False)]
    return {name: slices for name, slices in found.items() if slices}, nearer
