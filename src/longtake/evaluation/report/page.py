"""The page of a report: one HTML file that needs nothing but itself. Its templates are in assets/report."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longtake.evaluation.drift import SLICE_SECONDS
from longtake.evaluation.films import STRIP_SECONDS, Key, MeasuredFilm
from longtake.evaluation.measures.distribution import SLICE_CLIPS
from longtake.evaluation.registry import BLIND_SPOTS
from longtake.evaluation.report.chart import LARGE, WIDE, Chart, Line, line_chart
from longtake.evaluation.report.columns import Column, statistics, whole_films
from longtake.evaluation.report.drift import drift_picture
from longtake.evaluation.report.lines import chart_of, row_style, style_of
from longtake.evaluation.report.rows import FEWEST_PROMPTS
from longtake.evaluation.report.summary import Summary
from longtake.evaluation.report.tables import markdown
from longtake.evaluation.report.templates import templates
from longtake.evaluation.report.verdicts import at_equal_cost, at_equal_steps, sentence, verdicts
from longtake.evaluation.report.words import ABOUT_METHODS, PAPER_HEAD, PAPER_NOTE, PAPER_ROWS
from longtake.evaluation.variants import EQUAL_COST
from longtake.files import write_text

STRIP_PROMPTS = 3
MOST_FILM_BYTES = 3_200_000  # of mp4, before base64 makes it a third more


@dataclass(frozen=True)
class Origin:
    """Where a report comes from: its subject in a few words; the commands given; what is to be said about it; and, of
    each row, the mean seconds that a film took to make and to measure."""

    subject: str
    commands: Sequence[str]
    notes: Sequence[str]
    took: Mapping[str, tuple[float, float]]


def write_report(run: Path, summary: Summary, origin: Origin) -> Path:
    """Write run/report.html, which is returned, run/report.md and run/drift.svg."""
    write_text(run / "report.md", markdown(summary))
    write_text(run / "drift.svg", drift_picture(summary, origin.subject))
    write_text(run / "report.html", page(summary, origin))
    return run / "report.html"


def page(summary: Summary, origin: Origin) -> str:
    """The report as HTML, in one file that loads nothing."""
    plain, films = at_equal_steps(summary), [film for key in summary.keys for film in _filmed(summary, key)]
    shown, left_out = _small_films(films)
    template = templates().get_template("page.html")
    return template.render(
        summary=summary,
        origin=origin,
        sentence=sentence(summary),
        verdicts=verdicts(summary),
        most=max(summary.rows, key=lambda row: len(row.films)),
        shared=len({prompt for prompt, _ in summary.shared}),
        fewest=FEWEST_PROMPTS,
        headlines=_headline_charts(summary),
        plain=[(row.name, style_of(summary, row)) for row in plain],
        curves=[(summary.about[name], chart_of(summary, plain, name)) for name in summary.curve_names],
        numbers=_numbers(summary),
        distances=_distance_chart(summary) if summary.distances else None,
        slices=max(map(len, summary.distances.values()), default=0),
        slice_seconds=SLICE_CLIPS * SLICE_SECONDS,
        made_here=any(film.record.cost for film in summary.films),
        strips=[strip for key in _examples(summary) if (strip := _strips(summary, key)).pictures],
        shown=shown,
        left_out=left_out,
        methods=_told_methods(summary),
        blind_spots=BLIND_SPOTS,
        paper=(PAPER_NOTE, PAPER_HEAD, PAPER_ROWS),
        made=_made(summary),
        prompts=[*dict.fromkeys(film.group for film in summary.films)],
        seeds=sorted({film.record.seed for film in summary.films if film.record.seed is not None}),
    )


def _headline_charts(summary: Summary) -> list[tuple[str, Chart]]:
    """At equal steps and, if there are such films, at equal cost; each with which of these it is."""
    cheap = at_equal_cost(summary)
    groups = [(", at equal steps" if cheap else "", at_equal_steps(summary))]
    if cheap:
        rows = [row for row in summary.rows if row is summary.ours or row.is_real or row.at_equal_cost]
        groups.append((", at equal cost", rows))
    return [
        (where, chart_of(summary, rows, name, LARGE)) for where, rows in groups for name in summary.headlines
    ]


def _numbers(summary: Summary) -> Iterator[tuple[str, list[Column]]]:
    """Of every curve what is told of it, and of whole films what is told of these."""
    for name in summary.curve_names:
        about = summary.about[name]
        yield about.title, statistics(name, about, summary.real)
    if whole := whole_films(summary.films, summary.about):
        yield "whole films", whole


def _distance_chart(summary: Summary) -> Chart:
    slices = max(map(len, summary.distances.values()))
    seconds = SLICE_CLIPS * SLICE_SECONDS
    times = np.linspace(seconds / 2, (slices - 0.5) * seconds, slices)
    lines = []
    for row in at_equal_steps(summary):
        ends = summary.distances.get(row.name, [])
        bounds = [[end.kernel, end.interval.low, end.interval.high] for end in ends]
        lines.append(Line(row.name, row_style(summary, row), *np.array(bounds).reshape(-1, 3).T))
    return line_chart(lines, times, size=WIDE, title="kernel distance")


def _examples(summary: Summary) -> list[Key]:
    """One seed each of the first prompts."""
    first = {prompt: (prompt, seed) for prompt, seed in reversed(summary.keys)}
    return [key for key in summary.keys if key in first.values()][:STRIP_PROMPTS]


def _filmed(summary: Summary, key: Key) -> list[MeasuredFilm]:
    """The films of a prompt and seed, at equal steps."""
    return [film for row in at_equal_steps(summary) for film in row.films if film.key == key]


@dataclass(frozen=True)
class Strips:
    """The same moments of films of one prompt and seed: what the moments are, and a picture a film with its row."""

    prompt: str
    seed: int | None
    moments: list[str]
    pictures: list[tuple[str, str]]


def _strips(summary: Summary, key: Key) -> Strips:
    paths = [(film.row, film.path.with_suffix(".jpg")) for film in _filmed(summary, key)]
    seconds = float(summary.seconds)
    moments = [f"{t} s" for t in range(0, int(np.ceil(seconds)), STRIP_SECONDS)] + [f"{seconds:g} s"]
    return Strips(*key, moments, [(row, _data(path, "image/jpeg")) for row, path in paths if path.exists()])


def _small_films(films: Sequence[MeasuredFilm]) -> tuple[list[tuple[str, str]], list[str]]:
    """The small mp4s that are there, each with its row, and the rows of those that would make the page too large."""
    shown, left, budget = list[tuple[str, str]](), list[str](), MOST_FILM_BYTES
    for film in films:
        path = film.path.with_suffix(".mp4")
        if not path.exists():
            continue
        if path.stat().st_size > budget:
            left.append(film.row)
            continue
        budget -= path.stat().st_size
        shown.append((film.row, _data(path, "video/mp4")))
    return shown, left


def _told_methods(summary: Summary) -> dict[str, str]:
    """What the methods compared are, if there are any."""
    names = [row.name for row in summary.rows] + [EQUAL_COST] * bool(at_equal_cost(summary))
    return {name.strip(", "): about for name, about in ABOUT_METHODS.items() if name in names}


def _made(summary: Summary) -> list[str]:
    """The versions that films were made and measured with, in words."""
    made = [film.record.made for film in summary.films]
    return [*dict.fromkeys(" · ".join(f"{name} {of}" for name, of in each.items() if of) for each in made)]


def _data(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{b64encode(path.read_bytes()).decode()}"
