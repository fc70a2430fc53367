"""The curves of a report's rows as charts: whose line has which style, and which films it is of."""

from __future__ import annotations

from collections.abc import Sequence

from longtake.evaluation.drift import band
from longtake.evaluation.options import COMPARED
from longtake.evaluation.report.chart import SMALL, Chart, Line, Size, line_chart
from longtake.evaluation.report.rows import Row, curves
from longtake.evaluation.report.summary import Summary

NUM_STYLES = 9


def chart_of(summary: Summary, rows: Sequence[Row], name: str, size: Size = SMALL) -> Chart:
    about, lines = summary.about[name], [_line(summary, row, name) for row in rows]
    percent = about.unit.startswith("share")
    return line_chart(lines, summary.times, size=size, percent=percent, title=about.title)


def _line(summary: Summary, row: Row, name: str) -> Line:
    curve = (row if row.is_real else row.only(summary.shared)).curve(name)
    low, high = band(curves(row.films, name)) if row.is_real else (curve.low, curve.high)
    return Line(row.base, row_style(summary, row), curve.value, low, high)


def row_style(summary: Summary, row: Row) -> str:
    return style_of(summary, row) + " ours" * (row is summary.ours)


def style_of(summary: Summary, row: Row) -> str:
    """A method has the same colour in every report, at any cost; sets take theirs in turn."""
    if row.is_real:
        return "real"
    place = COMPARED.index(row.base) if row.base in COMPARED else summary.rows.index(row)
    return f"s{place % NUM_STYLES}"
