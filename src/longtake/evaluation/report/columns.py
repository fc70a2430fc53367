"""The numbers of a film that tables show, a column each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from longtake.evaluation.drift import (
    SLICE_SECONDS,
    Floats,
    band,
    start_end_contrast,
    theil_sen,
    time_to_drift,
)
from longtake.evaluation.films import MeasuredFilm
from longtake.evaluation.measures.base import About, Better
from longtake.evaluation.measures.series import mean
from longtake.evaluation.report.rows import Number, Row, curves

END_SLICES = 5  # ten seconds
LIKENESS = "likeness"  # to real film, the second headline
CONTRASTS = ("luma", "contrast", "saturation", "sharpness")
TOTALS = ("dynamic_degree", "seam_score", "cuts", "grid_sky", "beat", "carried", "growth")


@dataclass(frozen=True)
class Column:
    """A number of every film. `key`: the curve or total that it is of, and what of it, such as 'luma.drift', which no
    other column of a table has. Also its title, what it is in a few words, which way is better, and its unit."""

    key: str
    title: str
    about: str
    number: Number
    better: Better
    unit: str = ""


def columns(films: Sequence[MeasuredFilm], headline: str, real: Row | None) -> list[Column]:
    """The numbers of the headline table, of those that all the films have."""
    about = {name: what for film in films for name, what in film.about.items()}
    found = list[Column]()
    for name in [headline, *([LIKENESS] if real is not None else [])]:
        title, unit, better = about[name].title.split(",")[0], about[name].unit, about[name].better
        found += [
            Column(f"{name}.first", f"{title}, first 10 s", "", partial(_start, name=name), better, unit),
            Column(f"{name}.last", f"{title}, last 10 s", "", partial(_end, name=name), better, unit),
            Column(
                f"{name}.change",
                f"{title}, change",
                "last 10 s − first",
                partial(_change, name=name),
                better,
                unit,
            ),
        ]
    for name in (name for name in CONTRASTS if all(name in film.curves for film in films)):
        found.append(_drift(name, f"drift of {about[name].title}", about[name]))
    for name in (name for name in TOTALS if any(np.isfinite(_total(film, name)) for film in films)):
        found.append(_whole(name, about[name]))
    if real is not None:
        found.append(_time_to_drift(LIKENESS, about[LIKENESS], real))
    return found


def statistics(name: str, about: About, real: Row | None) -> list[Column]:
    """What is told of every curve: its mean, its change and how large that is, its slope, and when it leaves the range
    of real film."""
    unit = about.unit
    found = [
        Column(f"{name}.mean", "mean", "", partial(_mean, name=name), about.better, unit),
        Column(
            f"{name}.contrast",
            "change",
            "last 15 % − first 15 %",
            partial(_contrast, name=name),
            "neither",
            unit,
        ),
        _drift(name, "drift", about),
        Column(f"{name}.slope", "slope", "a minute, Theil–Sen", partial(_slope, name=name), "neither", unit),
        Column(
            f"{name}.kept", "kept", "last 10 s / first 10 s", partial(_kept, name=name), "neither", "share"
        ),
    ]
    return found if real is None else [*found, _time_to_drift(name, about, real)]


def whole_films(films: Sequence[MeasuredFilm], about: dict[str, About]) -> list[Column]:
    """The numbers that all films have as a whole, beside those of curves that all have."""
    return [
        _whole(name, what)
        for name, what in about.items()
        if all(name in film.totals for film in films) and not all(name in film.curves for film in films)
    ]


def _whole(name: str, about: About) -> Column:
    return Column(
        f"{name}.total", about.title, about.unit, partial(_total, name=name), about.better, about.unit
    )


def _drift(name: str, title: str, about: About) -> Column:
    """How far a curve ends from where it began, either way: films that drift apart do not make up for each other."""

    def drift(film: MeasuredFilm) -> float:
        return abs(_contrast(film, name))

    return Column(f"{name}.drift", title, "|last 15 % − first 15 %|", drift, "lower", about.unit)


def _time_to_drift(name: str, about: About, real: Row) -> Column:
    until = partial(_until_drift, name=name, inside=band(curves(real.films, name)))
    return Column(
        f"{name}.until_drift", "time to drift", f"of {about.title} from real film", until, "higher", "s"
    )


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
