"""The tables of a report, in HTML and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from longtake.evaluation.drift import SLICE_SECONDS, Interval
from longtake.evaluation.measures.distribution import SLICE_CLIPS
from longtake.evaluation.summary import Column, Row, Summary
from longtake.evaluation.variants import EQUAL_COST, REAL

NONE = "–"
COST = ("num_inference_steps", "passes", "peak_window", "evaluations_per_frame")


def number(value: float, unit: str, sign: bool = False) -> str:
    """A number as people write it: shares in per cent, three digits of others."""
    if not np.isfinite(value):
        return NONE
    plus = "+" if sign else ""
    if unit.startswith("share"):
        return f"{_rounded(100 * value, 1):{plus}.1f} %"
    if unit == "s":
        return f"{_rounded(value, 1):{plus}.1f} s"
    digits = 0 if value == 0 or abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{_rounded(value, digits):{plus}.{digits}f}"


def _rounded(value: float, digits: int) -> float:
    """Without the sign of what is rounded to zero."""
    return round(value, digits) + 0.0


def span(interval: Interval, unit: str, sign: bool = False) -> str:
    """The bounds of an interval; nothing where there is none."""
    low, high = (number(float(bound), unit, sign).rstrip(" %s") for bound in (interval.low, interval.high))
    return "" if NONE in (low, high) else f"{low} … {high}"


def html_table(head: Iterable[str], rows: Iterable[tuple[str, Sequence[str]]], kind: str = "") -> str:
    """A table of cells that are HTML already; each row with its class, the first cell of each its name."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(
        f'<tr class="{style}"><th>{cells[0]}</th>{"".join(f"<td>{cell}</td>" for cell in cells[1:])}</tr>'
        for style, cells in rows
    )
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def headline_table(summary: Summary) -> str:
    """A row a method: its films, what it costs, and every column with its interval; the best of each is marked."""
    head = ["", "films<small>of prompts</small>", "cost<small>latents seen a frame</small>"]
    head += [
        f"{escape(column.title)}{f'<small>{escape(column.about)}</small>' if column.about else ''}"
        for column in summary.columns
    ]
    best = {column.title: summary.best(column) for column in summary.columns}
    rows = []
    for row in summary.rows:
        cells = [escape(row.name), f"{len(row.films)}<small>{row.prompts}</small>", number(cost(row), "")]
        for column in summary.columns:
            interval = summary.cells[row.name, column.title]
            mark = ' class="best"' if row.name in best[column.title] else ""
            value = number(float(interval.value), column.unit)
            cells.append(f"<span{mark}>{value}</span><small>{span(interval, column.unit)}</small>")
        rows.append((style(summary, row), cells))
    return html_table(head, rows)


def difference_table(summary: Summary) -> str:
    """Ours minus each other row, with its interval; coloured where the interval leaves out 0."""
    assert summary.ours is not None
    shown = [column for column in summary.columns if column.better in ("higher", "lower")]
    head = [f"{escape(summary.ours.name)} minus …", "pairs", *(escape(column.title) for column in shown)]
    rows = []
    for row in summary.rows:
        if row is summary.ours:
            continue
        cells = [escape(row.name), str(pairs(summary, row))]
        for column in shown:
            interval = summary.behind[row.name, column.title]
            value = number(float(interval.value), column.unit, sign=True)
            cells.append(
                f'<span class="{verdict(interval, column)}">{value}</span>'
                f"<small>{span(interval, column.unit, sign=True)}</small>"
            )
        rows.append(("", cells))
    return html_table(head, rows)


def column_table(summary: Summary, shown: Sequence[Column]) -> str:
    """Numbers of every row, and ours minus each of them, with their intervals."""
    ours, head = summary.ours, [""]
    for column in shown:
        head.append(f"{column.title}<small>{escape(column.about)}</small>")
        head += [f"{escape(ours.name)} − this"] if ours else []
    rows = []
    for row in summary.rows:
        cells = [escape(row.name)]
        for column in shown:
            cells.append(_cell(row.number(column.number), column.unit))
            if ours is not None:
                cells.append(
                    NONE if row is ours else _cell(ours.less(row, column.number), column.unit, sign=True)
                )
        rows.append((style(summary, row), cells))
    return html_table(head, rows)


def _cell(interval: Interval, unit: str, sign: bool = False) -> str:
    return f"{number(float(interval.value), unit, sign)}<small>{span(interval, unit, sign)}</small>"


def verdict(interval: Interval, column: Column) -> str:
    """'good' where the compared row is certainly the better one, 'bad' where it is certainly the worse one, or ''."""
    if not certain(interval):
        return ""
    return "good" if (interval.low > 0) == (column.better == "higher") else "bad"


def certain(interval: Interval) -> bool:
    """Whether an interval leaves out 0."""
    return bool(interval.low > 0 or interval.high < 0)


def distance_table(summary: Summary) -> str:
    """Kernel and Fréchet distances from real film in each ten seconds, each beside its floor; the kernel distance with
    its interval, and with by how much ours is greater."""
    slices, seconds = max(map(len, summary.distances.values())), SLICE_CLIPS * SLICE_SECONDS
    head = ["", *(f"{k * seconds:g} to {(k + 1) * seconds:g} s" for k in range(slices))]
    kernel, frechet = [], []
    for row in summary.rows:
        ends, nearer = summary.distances.get(row.name, []), summary.nearer.get(row.name, [])
        if not ends:
            continue
        floors = [f"<small>floor {number(end.kernel_floor, '')}</small>" for end in ends]
        cells = [_cell(end.interval, "") + floor for end, floor in zip(ends, floors, strict=True)]
        kernel.append((style(summary, row), [escape(row.name), *cells]))
        if nearer and summary.ours is not None:
            less = [_cell(interval, "", sign=True) for interval in nearer]
            kernel.append(("also", [f"{escape(summary.ours.name)} − {escape(row.name)}", *less]))
        cells = [
            f"{number(end.frechet, '')}<small>floor {number(end.frechet_floor, '')}</small>" for end in ends
        ]
        frechet.append((style(summary, row), [escape(row.name), *cells]))
    return f"<h3>Kernel distance</h3>{html_table(head, kernel)}<h3>Fréchet distance</h3>{html_table(head, frechet)}"


def cost_table(summary: Summary, took: Mapping[str, tuple[float, float]]) -> str:
    """What follows from the methods, and what was measured: seconds of one core, or of a GPU's clock. Empty if no film
    was made here."""
    if not any("cost" in film.record for film in summary.films):
        return ""
    head = [
        "",
        "steps",
        "passes",
        "window, at most",
        "latents through the network, a frame",
        "making",
        "measuring",
    ]
    rows = []
    for row in summary.rows:
        record = row.films[0].record
        cells = [f"{record['cost'][key]:.4g}" if "cost" in record else NONE for key in COST]
        cells += [number(seconds, "s") for seconds in took.get(row.name, (np.nan, np.nan))]
        rows.append((style(summary, row), [escape(row.name), *cells]))
    return html_table(head, rows)


def markdown(summary: Summary) -> str:
    """The headline table, to paste into a page."""
    head = ["", "films", "cost", *(column.title for column in summary.columns)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in summary.rows:
        cells = [row.name, films_and_prompts(row), number(cost(row), "")]
        for column in summary.columns:
            interval = summary.cells[row.name, column.title]
            value, bounds = number(float(interval.value), column.unit), span(interval, column.unit)
            value = f"**{value}**" if row.name in summary.best(column) else value
            cells.append(f"{value} ({bounds})" if bounds else value)
        lines.append(f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def pairs(summary: Summary, row: Row) -> int:
    """How many films of a row have one of the compared row to be compared with."""
    ours = summary.ours
    return len({film.key for film in row.films} & {film.key for film in ours.films}) if ours else 0


def films_and_prompts(row: Row) -> str:
    """How many films a row has, and of how many prompts where that is not one each."""
    films = len(row.films)
    return str(films) if films == row.prompts else f"{films} of {row.prompts} prompts"


def cost(row: Row) -> float:
    """Latents through the network for each frame, NaN for film that was not made here."""
    return float(
        np.mean([film.record.get("cost", {}).get("evaluations_per_frame", np.nan) for film in row.films])
    )


def style(summary: Summary, row: Row) -> str:
    if row is summary.ours:
        return "ours"
    return "apart" if row.name == REAL else "also" if row.name.endswith(EQUAL_COST) else ""
