"""The numbers of tables as people write them, and the headline table in Markdown."""

from __future__ import annotations

import math
from statistics import fmean
from typing import SupportsFloat

from longtake.evaluation.drift import Interval
from longtake.evaluation.report.columns import Column
from longtake.evaluation.report.rows import Row
from longtake.evaluation.report.summary import Summary

NONE = "–"


def number(value: SupportsFloat, unit: str, sign: bool = False) -> str:
    """A number as people write it: shares in per cent, three digits of others."""
    value = float(value)
    if not math.isfinite(value):
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
    low, high = (number(bound, unit, sign).rstrip(" %s") for bound in (interval.low, interval.high))
    return "" if NONE in (low, high) else f"{low} … {high}"


def markdown(summary: Summary) -> str:
    """The headline table, to paste into a page."""
    head = ["", "films", "cost", *(column.title for column in summary.columns)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    best = {column.key: summary.best(column) for column in summary.columns}
    for row in summary.rows:
        films = len(row.films)
        told = str(films) if films == row.prompts else f"{films} of {row.prompts} prompts"
        cells = [row.name, told, number(cost(row), "")]
        for column in summary.columns:
            interval = summary.cells[row.name, column.key]
            value, bounds = number(interval.value, column.unit), span(interval, column.unit)
            value = f"**{value}**" if row.name in best[column.key] else value
            cells.append(f"{value} ({bounds})" if bounds else value)
        lines.append(f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |")
    return "\n".join(lines) + "\n"


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
    return fmean(math.nan if spent is None else spent.evaluations_per_frame for spent in costs)


def style(summary: Summary, row: Row) -> str:
    if row is summary.ours:
        return "ours"
    return "apart" if row.is_real else "also" if row.at_equal_cost else ""
