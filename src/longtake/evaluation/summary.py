"""Many measured films in numbers: a row a method, each number with its interval over prompts.

T slices of a film
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from longtake.errors import DataError
from longtake.evaluation.drift import (
    SLICE_SECONDS,
    Floats,
    Interval,
    band,
    bootstrap,
    by_prompt,
    start_end_contrast,
    theil_sen,
    time_to_drift,
)
from longtake.evaluation.films import Key, MeasuredFilm, read_clips
from longtake.evaluation.measures.base import About
from longtake.evaluation.measures.clips import Clips
from longtake.evaluation.measures.consistency import units
from longtake.evaluation.measures.distribution import Distances, RealFilm
from longtake.evaluation.measures.series import mean
from longtake.evaluation.variants import ABLATIONS, EQUAL_COST, METHODS, OURS, REAL

RESAMPLES = 4000
FEWEST_PROMPTS = 5
END_SLICES = 5  # ten seconds
# What the headline is about, in words: the first of these curves that all the films have.
HEADLINES = {
    "adherence": "what its prompt asks for",
    "vbench_imaging_quality": "its imaging quality",
    "similarity_to_start": "its likeness to its first second",
    "likeness": "its likeness to real film",
}
LIKENESS = "likeness"  # to real film, the second headline
CONTRASTS = ("luma", "contrast", "saturation", "sharpness")
TOTALS = ("dynamic_degree", "seam_score", "cuts", "grid_sky", "beat", "carried", "growth")

ABOUT_LIKENESS = About("likeness to real film", "cosine", "higher")

Number = Callable[[MeasuredFilm], float]
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Column:
    """A number of every film: its name, what it is in a few words, its unit, and which way is better."""

    title: str
    about: str
    number: Number
    better: Better
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """The films of one method, or of one set."""

    name: str
    films: tuple[MeasuredFilm, ...]

    @property
    def prompts(self) -> int:
        return len({film.group for film in self.films})

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
        shared = {film.key for film in self.films} & {film.key for film in other.films}
        if not shared:
            return Interval(*3 * [np.array(np.nan)])
        mine, theirs = (row._by_prompt(shared, number) for row in (self, other))
        return _interval(np.array([mine[prompt] - theirs[prompt] for prompt in mine]))

    def _by_prompt(self, keys: Collection[Key], number: Number) -> dict[str, float]:
        """The mean of a number over the films of each prompt, of those with these keys."""
        films = [film for film in self.films if film.key in keys]
        prompts = [film.group for film in films]
        return dict(
            zip(dict.fromkeys(prompts), by_prompt([number(film) for film in films], prompts), strict=True)
        )

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
    known = [name + cost for name in (*METHODS, *ABLATIONS) for cost in ("", EQUAL_COST)]

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


@dataclass(frozen=True)
class Summary:
    """The numbers of a report. `ours`: the row that the others are compared with, if there is one. `headline`: the
    curve that it is about. `cells` and `behind`: of each row and column, by their names, the mean, and the mean
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

    @property
    def films(self) -> list[MeasuredFilm]:
        return [film for row in self.rows for film in row.films]

    @property
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
        keys = [{film.key for film in row.films} for row in self.rows if row.name != REAL]
        every = set[Key]().union(*keys)
        return every.intersection(*keys) or every

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)

    def best(self, column: Column) -> list[str]:
        """The rows whose mean is best, real film aside; none if no way is better, all are equal, or the rows are not of
        the same prompts and seeds."""
        rows = [row for row in self.rows if row.name != REAL]
        if len({frozenset(film.key for film in row.films) for row in rows}) > 1:
            return []
        means = {row.name: float(self.cells[row.name, column.title].value) for row in rows}
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
    cells = {(row.name, column.title): row.number(column.number) for row in rows for column in shown}
    behind = {
        (row.name, column.title): compared.less(row, column.number)
        for row in rows
        for column in shown
        if compared is not None and row is not compared
    }
    distances, nearer = _distances(rows, compared, notes)
    return Summary(rows, compared, headline, shown, cells, behind, distances, nearer, notes)


def columns(films: Sequence[MeasuredFilm], headline: str, real: Row | None) -> list[Column]:
    """The numbers of the headline table, of those that all the films have."""
    about = {name: what for film in films for name, what in film.about.items()}
    found = list[Column]()
    for name in [headline, *([LIKENESS] if real is not None else [])]:
        title, unit, better = about[name].title.split(",")[0], about[name].unit, about[name].better
        found += [
            Column(f"{title}, first 10 s", "", partial(_start, name=name), better, unit),
            Column(f"{title}, last 10 s", "", partial(_end, name=name), better, unit),
            Column(f"{title}, change", "last 10 s − first", partial(_change, name=name), better, unit),
        ]
    for name in (name for name in CONTRASTS if all(name in film.curves for film in films)):
        found.append(_drift_of(name, f"drift of {about[name].title}", about[name]))
    for name in (name for name in TOTALS if any(np.isfinite(_total(film, name)) for film in films)):
        total = partial(_total, name=name)
        found.append(Column(about[name].title, about[name].unit, total, about[name].better, about[name].unit))
    if real is not None:
        found.append(_drift_column(LIKENESS, about[LIKENESS], real))
    return found


def statistics(summary: Summary, name: str) -> list[Column]:
    """What is told of every curve: its mean, its change and how large that is, its slope, and when it leaves the range
    of real film."""
    about, real = summary.about[name], summary.row(REAL)
    found = [
        Column("mean", "", partial(_mean, name=name), about.better, about.unit),
        Column("change", "last 15 % − first 15 %", partial(_contrast, name=name), "neither", about.unit),
        _drift_of(name, "drift", about),
        Column("slope", "a minute, Theil–Sen", partial(_slope, name=name), "neither", about.unit),
        Column("kept", "last 10 s / first 10 s", partial(_kept, name=name), "neither", "share"),
    ]
    return found if real is None else [*found, _drift_column(name, about, real)]


def whole_films(summary: Summary) -> list[Column]:
    """The numbers that all films have as a whole, beside those of their curves."""
    names = {
        name: about
        for name, about in summary.about.items()
        if name not in summary.curve_names and all(name in film.totals for film in summary.films)
    }
    return [
        Column(about.title, about.unit, partial(_total, name=name), about.better, about.unit)
        for name, about in names.items()
    ]


def _drift_of(name: str, title: str, about: About) -> Column:
    """How far a curve ends from where it began, either way: films that drift apart do not make up for each other."""

    def drift(film: MeasuredFilm) -> float:
        return abs(_contrast(film, name))

    return Column(title, "|last 15 % − first 15 %|", drift, "lower", about.unit)


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


def _drift_column(name: str, about: About, real: Row) -> Column:
    until = partial(_until_drift, name=name, inside=band(curves(real.films, name)))
    return Column("time to drift", f"of {about.title} from real film", until, "higher", "s")


def _mean(film: MeasuredFilm, name: str) -> float:
    return mean(film.curves[name])


def _slope(film: MeasuredFilm, name: str) -> float:
    return float(theil_sen(film.curves[name]))


def _start(film: MeasuredFilm, name: str) -> float:
    return mean(film.curves[name][:END_SLICES])


def _end(film: MeasuredFilm, name: str) -> float:
    return mean(film.curves[name][-END_SLICES:])


def _change(film: MeasuredFilm, name: str) -> float:
    return _end(film, name) - _start(film, name)


def _kept(film: MeasuredFilm, name: str) -> float:
    """NaN for what was nothing at the start."""
    start = _start(film, name)
    return _end(film, name) / start if start else np.nan


def _contrast(film: MeasuredFilm, name: str) -> float:
    return float(start_end_contrast(film.curves[name]))


def _total(film: MeasuredFilm, name: str) -> float:
    return film.totals.get(name, np.nan)


def _until_drift(film: MeasuredFilm, name: str, inside: tuple[Floats, Floats]) -> float:
    """A film that never drifts counts with its length, or with that of the longest real film, if that is shorter."""
    low, high = inside
    judged = min(len(film.curves[name]), len(low))
    seconds = time_to_drift(film.curves[name][:judged], (low[:judged], high[:judged]))
    return judged * SLICE_SECONDS if seconds is None else seconds


def _distances(
    rows: Sequence[Row], ours: Row | None, notes: list[str]
) -> tuple[dict[str, list[Distances]], dict[str, list[Interval]]]:
    """The distances of each row from real film in each ten seconds, and by how much those of ours are greater, of the
    same prompts; what has none is told in `notes`."""
    by_row = {row.name: _clips(row) for row in rows}
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


def _clips(row: Row) -> dict[str, list[Clips]]:
    clips: dict[str, list[Clips]] = {}
    for film in row.films:
        clips.setdefault(film.group, []).append(read_clips(film))
    return clips
