"""The numbers of a film that tables show, a column each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from longtake.evaluation.drift import SLICE_SECONDS, band, start_end_contrast, theil_sen, time_to_drift
from longtake.evaluation.films import MeasuredFilm
from longtake.evaluation.measures.base import About, Better, Curve
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
        of, title = about[name], about[name].title.split(",")[0]
        found.append(_of_curve(name, "first", f"{title}, first 10 s", "", of.better, of))
        found.append(_of_curve(name, "last", f"{title}, last 10 s", "", of.better, of))
        found.append(_of_curve(name, "change", f"{title}, change", "last 10 s − first", of.better, of))
    for name in (name for name in CONTRASTS if all(name in film.curves for film in films)):
        found.append(_drift(name, f"drift of {about[name].title}", about[name]))
    for name in (name for name in TOTALS if any(name in film.totals for film in films)):
        total = _total(name, about[name])
        found += [total] if any(math.isfinite(total.number(film)) for film in films) else []
    return found if real is None else [*found, _time_to_drift(LIKENESS, about[LIKENESS], real)]


def statistics(name: str, about: About, real: Row | None) -> list[Column]:
    """What is told of every curve: its mean, its change and how large that is, its slope, and when it leaves the range
    of real film."""
    found = [
        _of_curve(name, "mean", "mean", "", about.better, about),
        _of_curve(name, "contrast", "change", "last 15 % − first 15 %", "neither", about),
        _drift(name, "drift", about),
        _of_curve(name, "slope", "slope", "a minute, Theil–Sen", "neither", about),
        _of_curve(name, "kept", "kept", "last 10 s / first 10 s", "neither", About("", "share", "neither")),
    ]
    return found if real is None else [*found, _time_to_drift(name, about, real)]


def whole_films(films: Sequence[MeasuredFilm], about: dict[str, About]) -> list[Column]:
    """The numbers that all films have as a whole, beside those of curves that all have."""
    return [
        _total(name, what)
        for name, what in about.items()
        if all(name in film.totals for film in films) and not all(name in film.curves for film in films)
    ]


def _first(curve: Curve) -> float:
    return mean(curve[:END_SLICES])


def _last(curve: Curve) -> float:
    return mean(curve[-END_SLICES:])


def _kept(curve: Curve) -> float:
    """NaN for what was nothing at the start."""
    return _last(curve) / _first(curve) if _first(curve) else math.nan


OF_A_CURVE: dict[str, Callable[[Curve], float]] = {
    "first": _first,
    "last": _last,
    "change": lambda curve: _last(curve) - _first(curve),
    "mean": mean,
    "contrast": lambda curve: float(start_end_contrast(curve)),
    "drift": lambda curve: abs(float(start_end_contrast(curve))),
    "slope": lambda curve: float(theil_sen(curve)),
    "kept": _kept,
}


def _of_curve(name: str, what: str, title: str, words: str, better: Better, about: About) -> Column:
    def number(film: MeasuredFilm) -> float:
        return OF_A_CURVE[what](film.curves[name])

    return Column(f"{name}.{what}", title, words, number, better, about.unit)


def _drift(name: str, title: str, about: About) -> Column:
    """How far a curve ends from where it began, either way: films that drift apart do not make up for each other."""
    return _of_curve(name, "drift", title, "|last 15 % − first 15 %|", "lower", about)


def _total(name: str, about: About) -> Column:
    def number(film: MeasuredFilm) -> float:
        return film.totals.get(name, math.nan)

    return Column(f"{name}.total", about.title, about.unit, number, about.better, about.unit)


def _time_to_drift(name: str, about: About, real: Row) -> Column:
    """A film that never drifts counts with its length, or with that of the longest real film, if that is shorter."""
    low, high = band(curves(real.films, name))

    def until(film: MeasuredFilm) -> float:
        judged = min(len(film.curves[name]), len(low))
        seconds = time_to_drift(film.curves[name][:judged], (low[:judged], high[:judged]))
        return judged * SLICE_SECONDS if seconds is None else seconds

    words = f"of {about.title} from real film"
    return Column(f"{name}.until_drift", "time to drift", words, until, "higher", "s")
