"""The report of a comparison: one HTML file that needs nothing but itself, and its headline table in Markdown."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from longtake.evaluation.chart import Line, line_chart
from longtake.evaluation.drift import SLICE_SECONDS, band
from longtake.evaluation.films import STRIP_SECONDS, Key
from longtake.evaluation.measures.distribution import SLICE_CLIPS
from longtake.evaluation.registry import BLIND_SPOTS
from longtake.evaluation.summary import (
    FEWEST_PROMPTS,
    HEADLINES,
    Column,
    Row,
    Summary,
    curves,
    statistics,
    whole_films,
)
from longtake.evaluation.tables import (
    certain,
    column_table,
    cost_table,
    difference_table,
    distance_table,
    headline_table,
    html_table,
    markdown,
    number,
)
from longtake.evaluation.variants import ABLATIONS, EQUAL_COST, METHODS, REAL
from longtake.evaluation.words import ABOUT_METHODS, PAPER_HEAD, PAPER_NOTE, PAPER_ROWS
from longtake.files import write_text

NUM_STYLES = 9
STRIP_PROMPTS = 3
MOST_FILM_BYTES = 3_200_000  # of mp4, before base64 makes it a third more
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
PLAYER = (
    '<div class="player"><button>Play all</button>'
    '<input type="range" min="0" max="1" step="any" value="0" aria-label="time"></div>'
)


@dataclass(frozen=True)
class Origin:
    """Where a report comes from: its subject in a few words; the commands given; what is to be said about it; and, of
    each row, the mean seconds that a film took to make and to measure."""

    subject: str
    commands: Sequence[str]
    notes: Sequence[str]
    took: Mapping[str, tuple[float, float]]


def write_report(run: Path, summary: Summary, origin: Origin) -> Path:
    """Write run/report.html, which is returned, and run/report.md."""
    write_text(run / "report.md", markdown(summary))
    write_text(run / "report.html", page(summary, origin))
    return run / "report.html"


def page(summary: Summary, origin: Origin) -> str:
    """The report as HTML, in one file that loads nothing."""
    assets = files("longtake") / "assets"
    style, script = ((assets / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    body = [
        _top(summary, origin),
        _tables(summary),
        _curves(summary),
        _strips(summary),
        _films(summary),
        _words(summary, origin),
        _making(summary, origin),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(origin.subject)}</title><style>{style}</style></head>\n"
        f"<body>\n{chr(10).join(body)}\n<script>{script}</script></body></html>\n"
    )


def _top(summary: Summary, origin: Origin) -> str:
    plain, cheap = at_equal_steps(summary), at_equal_cost(summary)
    where = ", at equal steps" if cheap else ""
    charts = [_headline_chart(summary, plain, name, where) for name in summary.headlines]
    if cheap:
        rows = [row for row in summary.rows if row is summary.ours or row.name == REAL or row in cheap]
        charts += [_headline_chart(summary, rows, name, ", at equal cost") for name in summary.headlines]
    return (
        f'<header><p class="kicker">{escape(origin.subject)}</p><h1>{escape(sentence(summary))}</h1>'
        f"{_verdicts(summary)}</header>"
        f'<div class="charts wide">{"".join(charts)}</div>'
    )


def at_equal_steps(summary: Summary) -> list[Row]:
    return [row for row in summary.rows if not row.name.endswith(EQUAL_COST)]


def at_equal_cost(summary: Summary) -> list[Row]:
    return [row for row in summary.rows if row.name.endswith(EQUAL_COST)]


def sentence(summary: Summary) -> str:
    """What a person is to know of all this, if it is one thing."""
    seconds = f"{summary.seconds:g} s"
    if summary.ours is None:
        sets = [row.name for row in summary.rows if row.name != REAL]
        return f"How {sets[0] if len(sets) == 1 else f'{len(sets)} films or sets'} hold over {seconds}"
    first, last, change = summary.columns[:3]
    ours, phrase = summary.ours.name, HEADLINES[summary.headline]
    start, end = (_value(summary, ours, column) for column in (first, last))
    interval = summary.cells[ours, change.title]
    if not np.isfinite(interval.low):
        return f"{start} of {phrase} at first, {end} after {seconds}: too few prompts to tell more"
    worse, better, _ = standing(summary, at_equal_steps(summary), last)
    says = f"Over {seconds}, {ours} {'does not hold' if certain(interval) else 'holds'} {phrase}:"
    says += f" {start} at first, {end} at last"
    if worse:
        says += f". {worse[0].capitalize()} ends at {_value(summary, worse[0], last)}"
    if better:
        says += f". {better[0].capitalize()} ends better, at {_value(summary, better[0], last)}"
    if not worse and not better:
        says += ", and no other method ends certainly better or worse"
    for i, name in enumerate(summary.headlines[1:], start=1):
        worse, better, _ = standing(summary, at_equal_steps(summary), summary.columns[3 * i + 1])
        groups = zip(("above", "below"), (worse, better), strict=True)
        ends = [f"{side} that of {', '.join(rows)}" for side, rows in groups if rows]
        what = f"{ours.capitalize()}'s {HEADLINES[name].removeprefix('its ')}"
        says += f". {what} ends {' and '.join(ends)}" if ends else ""
    return f"{says}."


def _verdicts(summary: Summary) -> str:
    """Who stands where at the end, with certainty or without, and what that rests on."""
    most = max(summary.rows, key=lambda row: len(row.films))
    films = (
        f"{len(most.films)} films of {most.prompts} prompts a row at most"
        if len(most.films) > 1
        else "One film a row"
    )
    rests = f"{films}, {summary.seconds:g} s each at most. Bands and"
    rests += f" intervals are 95 %, over prompts; there are none for fewer than {FEWEST_PROMPTS}."
    prompts = len({prompt for prompt, _ in summary.shared})
    if any(row.prompts > prompts for row in summary.rows if row.name != REAL):
        rests += f" Curves are of the {prompts} prompts that all rows have. In the first table rows of more prompts lie"
        rests += " higher or lower for that alone: read their changes, and the differences."
    lines = []
    for i, name in enumerate(summary.headlines):
        for what, rows in (("steps", at_equal_steps(summary)), ("cost", at_equal_cost(summary))):
            groups = standing(summary, rows, summary.columns[3 * i + 1])
            says = [
                f"{words} {', '.join(row.removesuffix(EQUAL_COST) for row in group)}"
                for words, group in zip(
                    ("better than", "worse than", "not to be told from"), groups, strict=True
                )
                if group
            ]
            if says:
                title = escape(summary.about[name].title)
                lines.append(f"<li><b>{title}</b> at the end, equal {what}: {escape(' · '.join(says))}</li>")
    ours = escape(summary.ours.name) if summary.ours else ""
    verdicts = f'<p class="lede">How {ours} stands to the others:</p>' if lines else ""
    return f'{verdicts}<ul class="verdicts">{"".join(lines)}</ul><p class="soft">{rests}</p>'


def standing(summary: Summary, rows: Sequence[Row], column: Column) -> tuple[list[str], list[str], list[str]]:
    """Those of the rows, real film aside, that are certainly worse than the compared row, certainly better, or neither;
    the farthest first. Nobody if there is no compared row."""
    groups: tuple[list[str], list[str], list[str]] = [], [], []
    sign = -1 if column.better == "lower" else 1
    others = [row.name for row in rows if row.name != REAL and (row.name, column.title) in summary.behind]
    for name in sorted(others, key=lambda name: -abs(float(summary.behind[name, column.title].value))):
        interval = summary.behind[name, column.title]
        place = 2 if not certain(interval) else 0 if sign * float(interval.value) > 0 else 1
        groups[place].append(name)
    return groups


def _value(summary: Summary, name: str, column: Column) -> str:
    return number(float(summary.cells[name, column.title].value), column.unit)


def _headline_chart(summary: Summary, rows: Sequence[Row], name: str, where: str) -> str:
    about = summary.about[name]
    lines, percent = [_line(summary, row, name) for row in rows], about.unit.startswith("share")
    chart = line_chart(
        lines, summary.times, width=470, height=300, labels=140, percent=percent, title=about.title
    )
    return f"<figure><figcaption><b>{escape(about.title)}</b>{where}</figcaption>{chart}</figure>"


def _line(summary: Summary, row: Row, name: str) -> Line:
    curve = (row if row.name == REAL else row.only(summary.shared)).curve(name)
    low, high = band(curves(row.films, name)) if row.name == REAL else (curve.low, curve.high)
    return Line(row.name.removesuffix(EQUAL_COST), _style(summary, row), curve.value, low, high)


def _style(summary: Summary, row: Row) -> str:
    return style_of(summary, row) + " ours" * (row is summary.ours)


def style_of(summary: Summary, row: Row) -> str:
    """A method has the same colour in every report, at any cost; sets take theirs in turn."""
    if row.name == REAL:
        return "real"
    known = [*METHODS, *ABLATIONS]
    base = row.name.removesuffix(EQUAL_COST)
    place = known.index(base) if base in known else summary.rows.index(row)
    return f"s{place % NUM_STYLES}"


def _section(title: str, words: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{f'<p>{words}</p>' if words else ''}{body}</section>"


def _tables(summary: Summary) -> str:
    parts = [
        _section(
            "In numbers",
            "Means over films, with 95 % bootstrap intervals over prompts below. ▸ marks the best of a column, if all"
            " rows are of the same prompts and seeds, even if only by chance: the next table tells that.",
            headline_table(summary),
        )
    ]
    if summary.behind:
        words = (
            "Differences of film with film of the same prompt and seed. Green: it is better, and the interval leaves"
            " out 0; red: it is worse."
        )
        assert summary.ours is not None
        parts.append(_section(f"What {summary.ours.name} gains or loses", words, difference_table(summary)))
    if summary.distances:
        words = (
            "Kernel and Fréchet distance of 2-second clips from real film in each ten seconds, in the features named"
            " below. The floor is that of real film from other real film, in sets of the same size. Intervals are over"
            " prompts; a Fréchet distance has none, as prompts drawn twice would narrow it."
        )
        body = _distance_chart(summary) + distance_table(summary)
        parts.append(_section("Distance from real film", words, body))
    return "".join(parts)


def _curves(summary: Summary) -> str:
    plain = at_equal_steps(summary)
    keys = "".join(
        f'<button class="key {style}" data-style="{style}" aria-pressed="false">{escape(row.name)}</button>'
        for row in plain
        for style in [style_of(summary, row)]
    )
    arrows = {"higher": "higher is better", "lower": "lower is better", "neither": "only a change tells"}
    charts = []
    for name in summary.curve_names:
        about = summary.about[name]
        lines = [_line(summary, row, name) for row in plain]
        chart = line_chart(lines, summary.times, percent=about.unit.startswith("share"), title=about.title)
        unit = "" if about.unit.startswith("share") or not about.unit else f", {escape(about.unit)}"
        caption = f"<b>{escape(about.title)}</b>{unit} · {arrows[about.better]}"
        charts.append(f"<figure><figcaption>{caption}</figcaption>{chart}</figure>")
    words = (
        "A value every two seconds: mean over films and 95 % band; where there are methods, at equal steps."
        + (" Grey: where 90 % of real film lies." if summary.row(REAL) else "")
    )
    numbers = "".join(
        f"<h3>{escape(summary.about[name].title)}</h3>{column_table(summary, statistics(summary, name))}"
        for name in summary.curve_names
    )
    if whole := whole_films(summary):
        numbers += f"<h3>whole films</h3>{column_table(summary, whole)}"
    body = f'<div class="keys">{keys}</div><div class="charts small">{"".join(charts)}</div>'
    body += f"<details><summary>All of this in numbers</summary>{numbers}</details>"
    return _section("Every measure through the film", words, body)


def _distance_chart(summary: Summary) -> str:
    slices = max(map(len, summary.distances.values()))
    seconds = SLICE_CLIPS * SLICE_SECONDS
    times = np.linspace(seconds / 2, (slices - 0.5) * seconds, slices)
    lines = []
    for row in at_equal_steps(summary):
        ends = summary.distances.get(row.name, [])
        values, low, high = (
            np.array([[end.kernel, end.interval.low, end.interval.high] for end in ends]).reshape(-1, 3).T
        )
        lines.append(Line(row.name, _style(summary, row), values, low, high))
    chart = line_chart(lines, times, width=620, height=300, labels=140, title="kernel distance")
    caption = "<b>kernel distance from real film</b> · lower is better"
    return f'<div class="charts wide"><figure><figcaption>{caption}</figcaption>{chart}</figure></div>'


def _examples(summary: Summary) -> list[Key]:
    """One seed each of the first prompts."""
    first = {prompt: (prompt, seed) for prompt, seed in reversed(summary.keys)}
    return [key for key in summary.keys if key in first.values()][:STRIP_PROMPTS]


def _strips(summary: Summary) -> str:
    figures = []
    for key in _examples(summary):
        films = [film for row in at_equal_steps(summary) for film in row.films if film.key == key]
        pictures = [(film, film.path.with_suffix(".jpg")) for film in films]
        strips = [
            f'<div class="strip"><span>{escape(film.row)}</span><img src="{_data(path, "image/jpeg")}"'
            f' alt="{escape(film.row)}, a moment every {STRIP_SECONDS} seconds"></div>'
            for film, path in pictures
            if path.exists()
        ]
        if not strips:
            continue
        seconds = float(summary.seconds)
        moments = [f"{t} s" for t in range(0, int(np.ceil(seconds)), STRIP_SECONDS)] + [f"{seconds:g} s"]
        times = "".join(f"<span>{moment}</span>" for moment in moments)
        prompt, seed = key
        title = f"“{escape(prompt)}”" + ("" if seed is None else f", seed {seed}")
        figures.append(
            f'<h3>{title}</h3><div class="scroll"><div class="strips"><div class="strip"><span></span>'
            f'<div class="times">{times}</div></div>{"".join(strips)}</div></div>'
        )
    words = "The same prompt and seed down a column, the same film along a row."
    return _section("What the films look like", words, "".join(figures)) if figures else ""


def _films(summary: Summary) -> str:
    shown, left, budget = [], list[str](), MOST_FILM_BYTES
    rows = at_equal_steps(summary)
    for film in (film for key in summary.keys for row in rows for film in row.films if film.key == key):
        path = film.path.with_suffix(".mp4")
        if not path.exists():
            continue
        if path.stat().st_size > budget:
            left.append(film.row)
            continue
        budget -= path.stat().st_size
        shown.append(
            f'<figure><video muted loop playsinline preload="auto" src="{_data(path, "video/mp4")}"></video>'
            f"<figcaption>{escape(film.row)}</figcaption></figure>"
        )
    if not shown:
        return ""
    note = f" Left out, to keep this page small: {escape(', '.join(left))}." if left else ""
    words = f"Small and whole, one prompt and seed; they play together.{note}"
    return _section("Side by side", words, f'{PLAYER}<div class="films">{"".join(shown)}</div>')


def _words(summary: Summary, origin: Origin) -> str:
    names = [row.name for row in summary.rows]
    names += [EQUAL_COST] * any(name.endswith(EQUAL_COST) for name in names)
    told = [name for name in ABOUT_METHODS if name in names]
    parts = []
    if cost := cost_table(summary, origin.took):
        words = (
            "Passes are calls of the network. Making and measuring: seconds of one core, or of a GPU's clock."
        )
        parts.append(_section("What it costs", words, cost))
    if told:
        rows = [("", (escape(name.strip(", ")), escape(ABOUT_METHODS[name]))) for name in told]
        parts.append(_section("The methods", "", html_table(("", ""), rows, "text")))
    blind = [("", (escape(name), escape(text))) for name, text in BLIND_SPOTS.items()]
    parts.append(_section("What each measure cannot see", "", html_table(("", ""), blind, "text")))
    if told:
        table = html_table(PAPER_HEAD, [("", row) for row in PAPER_ROWS])
        parts.append(_section("The paper's table, for its shape", escape(PAPER_NOTE), table))
    return "".join(parts)


def _making(summary: Summary, origin: Origin) -> str:
    films = [film for row in summary.rows for film in row.films]
    made = dict.fromkeys(
        " · ".join(f"{name} {value}" for name, value in film.record["made"].items() if value)
        for film in films
    )
    prompts = dict.fromkeys(film.group for film in films)
    seeds = sorted({seed for _, seed in (film.key for film in films) if seed is not None})
    notes = "".join(f"<li>{escape(note)}</li>" for note in [*origin.notes, *summary.notes])
    listed = "".join(f"<li>{escape(prompt)}</li>" for prompt in prompts)
    body = (
        f"<pre>{escape(chr(10).join(origin.commands))}</pre>"
        + "".join(f"<p>{escape(line)}</p>" for line in made)
        + (f"<p>Seeds {', '.join(map(str, seeds))}.</p>" if seeds else "")
        + (f"<ul>{notes}</ul>" if notes else "")
        + f"<details><summary>{len(prompts)} prompts</summary><ol>{listed}</ol></details>"
    )
    return _section("How this was made", "", body)


def _data(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{b64encode(path.read_bytes()).decode()}"
