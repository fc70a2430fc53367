"""The tables of a report, as text in cells: the page and Markdown are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from longtake.evaluation.drift import SLICE_SECONDS, Interval
from longtake.evaluation.measures.distribution import SLICE_CLIPS
from longtake.evaluation.report.columns import Column
from longtake.evaluation.report.rows import Row
from longtake.evaluation.report.summary import Summary

NONE = "–"
COST_HEAD = (
    "steps",
    "passes",
    "window, at most",
    "latents through the network, a frame",
    "making",
    "measuring",
)


@dataclass(frozen=True)
class Cell:
    """A number or name, what is written small below it, and 'best', 'good' or 'bad' where it is marked so."""

    text: str
    small: tuple[str, ...] = ()
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """The cells of a table, the first of each row its name; `styles` of the rows: 'ours', 'apart', 'also' or ''."""

    head: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    styles: Sequence[str]
    kind: str = "numbers"


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


def estimate(interval: Interval, unit: str, sign: bool = False, mark: str = "") -> Cell:
    """A mean above its interval."""
    return Cell(number(float(interval.value), unit, sign), (span(interval, unit, sign),), mark)


def headline_table(summary: Summary) -> Table:
    """A row a method: its films, what it costs, and every column with its interval; the best of each is marked."""
    head = [Cell(""), Cell("films", ("of prompts",)), Cell("cost", ("latents seen a frame",))]
    best = {column.key: summary.best(column) for column in summary.columns}
    rows = [
        [
            Cell(row.name),
            Cell(str(len(row.films)), (str(row.prompts),)),
            Cell(number(cost(row), "")),
            *(
                estimate(summary.cells[row.name, key], unit, mark="best" * (row.name in best[key]))
                for key, unit in ((column.key, column.unit) for column in summary.columns)
            ),
        ]
        for row in summary.rows
    ]
    return Table([*head, *map(_title, summary.columns)], rows, _styles(summary))


def markdown(summary: Summary) -> str:
    """The headline table, to paste into a page."""
    table = headline_table(summary)
    lines = [[cell.text for cell in table.head]]
    for row, (name, _, *cells) in zip(summary.rows, table.rows, strict=True):
        films = len(row.films)
        told = str(films) if films == row.prompts else f"{films} of {row.prompts} prompts"
        lines.append([name.text, told, *map(_in_markdown, cells)])
    written = [f"| {' | '.join(cell.replace('|', '∣') for cell in line)} |" for line in lines]
    return "\n".join([written[0], "|---" * len(table.head) + "|", *written[1:]]) + "\n"


def _in_markdown(cell: Cell) -> str:
    text, bounds = f"**{cell.text}**" if cell.mark == "best" else cell.text, "".join(cell.small)
    return f"{text} ({bounds})" if bounds else text


def difference_table(summary: Summary) -> Table:
    """Ours minus each other row, with its interval; marked where the interval leaves out 0."""
    assert summary.ours is not None
    ours = summary.ours
    shown = [column for column in summary.columns if column.better in ("higher", "lower")]
    head = [Cell(f"{ours.name} minus …"), Cell("pairs"), *(Cell(column.title) for column in shown)]
    rows = []
    for row in (row for row in summary.rows if row is not ours):
        differences = ((column, summary.behind[row.name, column.key]) for column in shown)
        cells = [estimate(found, column.unit, True, verdict(found, column)) for column, found in differences]
        rows.append([Cell(row.name), Cell(str(len(row.keys & ours.keys))), *cells])
    return Table(head, rows, [""] * len(rows))


def column_table(summary: Summary, shown: Sequence[Column]) -> Table:
    """Numbers of every row, and ours minus each of them, with their intervals."""
    ours, head = summary.ours, [Cell("")]
    for column in shown:
        head += [_title(column), *([Cell(f"{ours.name} − this")] if ours else [])]
    rows = []
    for row in summary.rows:
        cells = [Cell(row.name)]
        for column in shown:
            cells.append(estimate(row.number(column.number), column.unit))
            if ours is row:
                cells.append(Cell(NONE))
            elif ours is not None:
                cells.append(estimate(ours.less(row, column.number), column.unit, sign=True))
        rows.append(cells)
    return Table(head, rows, _styles(summary))


def kernel_table(summary: Summary) -> Table:
    """Kernel distances from real film in each ten seconds, each with its interval and its floor, and with by how much
    ours is greater."""
    rows, styles = [], []
    for row in _distant(summary):
        ends, nearer = summary.distances[row.name], summary.nearer.get(row.name, [])
        cells = [(estimate(end.interval, ""), f"floor {number(end.kernel_floor, '')}") for end in ends]
        rows.append([Cell(row.name), *(Cell(cell.text, (*cell.small, floor)) for cell, floor in cells)])
        styles.append(style(summary, row))
        if nearer and summary.ours is not None:
            less = [estimate(interval, "", sign=True) for interval in nearer]
            rows.append([Cell(f"{summary.ours.name} − {row.name}"), *less])
            styles.append("also")
    return Table(_ten_seconds(summary), rows, styles)


def frechet_table(summary: Summary) -> Table:
    """Fréchet distances from real film in each ten seconds, each with its floor."""
    rows = [
        [
            Cell(row.name),
            *(
                Cell(number(end.frechet, ""), (f"floor {number(end.frechet_floor, '')}",))
                for end in summary.distances[row.name]
            ),
        ]
        for row in _distant(summary)
    ]
    return Table(_ten_seconds(summary), rows, [style(summary, row) for row in _distant(summary)])


def _distant(summary: Summary) -> list[Row]:
    return [row for row in summary.rows if summary.distances.get(row.name)]


def _ten_seconds(summary: Summary) -> list[Cell]:
    slices, seconds = max(map(len, summary.distances.values())), SLICE_CLIPS * SLICE_SECONDS
    return [Cell(""), *(Cell(f"{k * seconds:g} to {(k + 1) * seconds:g} s") for k in range(slices))]


def cost_table(summary: Summary, took: Mapping[str, tuple[float, float]]) -> Table | None:
    """What follows from the methods, and what was measured: seconds of one core, or of a GPU's clock. None if no film
    was made here."""
    if all(film.record.cost is None for film in summary.films):
        return None
    rows = []
    for row in summary.rows:
        spent = row.films[0].record.cost
        numbers = [NONE] * 4
        if spent is not None:
            told = spent.num_inference_steps, spent.passes, spent.peak_window, spent.evaluations_per_frame
            numbers = [f"{value:.4g}" for value in told]
        numbers += [number(seconds, "s") for seconds in took.get(row.name, (np.nan, np.nan))]
        rows.append([Cell(row.name), *map(Cell, numbers)])
    return Table([*map(Cell, ("", *COST_HEAD))], rows, _styles(summary))


def text_table(words: Mapping[str, str]) -> Table:
    """Names and what is said of them."""
    return Table(
        [Cell(""), Cell("")],
        [[Cell(name), Cell(text)] for name, text in words.items()],
        [""] * len(words),
        "text",
    )


def verdict(interval: Interval, column: Column) -> str:
    """'good' where the compared row is certainly the better one, 'bad' where it is certainly the worse one, or ''."""
    if not certain(interval):
        return ""
    return "good" if (interval.low > 0) == (column.better == "higher") else "bad"


def certain(interval: Interval) -> bool:
    """Whether an interval leaves out 0."""
    return bool(interval.low > 0 or interval.high < 0)


def cost(row: Row) -> float:
    """Latents through the network for each frame, NaN for film that was not made here."""
    costs = [film.record.cost for film in row.films]
    return float(np.mean([np.nan if spent is None else spent.evaluations_per_frame for spent in costs]))


def style(summary: Summary, row: Row) -> str:
    if row is summary.ours:
        return "ours"
    return "apart" if row.is_real else "also" if row.at_equal_cost else ""


def _styles(summary: Summary) -> list[str]:
    return [style(summary, row) for row in summary.rows]


def _title(column: Column) -> Cell:
    return Cell(column.title, (column.about,))
