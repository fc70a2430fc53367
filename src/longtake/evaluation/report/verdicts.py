"""What can be said of the numbers of a report, in words, and with what certainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longtake.evaluation.report.columns import Column
from longtake.evaluation.report.rows import Row
from longtake.evaluation.report.summary import HEADLINES, Summary
from longtake.evaluation.report.tables import certain, number

GROUPS = ("better than", "worse than", "not to be told from")


def at_equal_steps(summary: Summary) -> list[Row]:
    return [row for row in summary.rows if not row.at_equal_cost]


def at_equal_cost(summary: Summary) -> list[Row]:
    return [row for row in summary.rows if row.at_equal_cost]


@dataclass(frozen=True)
class Verdict:
    """How the compared row stands to the others at the end, by one curve: at equal what, and who is better, worse or
    not to be told from it."""

    title: str
    equal: str
    groups: list[str]


def verdicts(summary: Summary) -> list[Verdict]:
    """Who stands where at the end, with certainty or without."""
    found = []
    for name in summary.headlines:
        for what, rows in (("steps", at_equal_steps(summary)), ("cost", at_equal_cost(summary))):
            standings = zip(GROUPS, standing(summary, rows, summary.column(f"{name}.last")), strict=True)
            groups = [
                f"{words} {', '.join(row.base for row in group)}" for words, group in standings if group
            ]
            if groups:
                found.append(Verdict(summary.about[name].title, what, groups))
    return found


def standing(summary: Summary, rows: Sequence[Row], column: Column) -> tuple[list[Row], list[Row], list[Row]]:
    """Those of the rows, real film aside, that are certainly worse than the compared row, certainly better, or neither;
    the farthest first. Nobody if there is no compared row."""
    groups: tuple[list[Row], list[Row], list[Row]] = [], [], []
    sign = -1 if column.better == "lower" else 1
    behind = {
        row.name: summary.behind[row.name, column.key]
        for row in rows
        if not row.is_real and (row.name, column.key) in summary.behind
    }
    others = [row for row in rows if row.name in behind]
    for row in sorted(others, key=lambda row: -abs(float(behind[row.name].value))):
        interval = behind[row.name]
        place = 2 if not certain(interval) else 0 if sign * float(interval.value) > 0 else 1
        groups[place].append(row)
    return groups


def sentence(summary: Summary) -> str:
    """What a person is to know of all this, if it is one thing."""
    seconds = f"{summary.seconds:g} s"
    if summary.ours is None:
        sets = summary.made
        return f"How {sets[0].name if len(sets) == 1 else f'{len(sets)} films or sets'} hold over {seconds}"
    first, last, change = (
        summary.column(f"{summary.headline}.{what}") for what in ("first", "last", "change")
    )
    ours, phrase = summary.ours, HEADLINES[summary.headline]
    start, end = (_value(summary, ours, column) for column in (first, last))
    interval = summary.cells[ours.name, change.key]
    if not np.isfinite(interval.low):
        return f"{start} of {phrase} at first, {end} after {seconds}: too few prompts to tell more"
    worse, better, _ = standing(summary, at_equal_steps(summary), last)
    says = f"Over {seconds}, {ours.name} {'does not hold' if certain(interval) else 'holds'} {phrase}:"
    says += f" {start} at first, {end} at last"
    if worse:
        says += f". {worse[0].name.capitalize()} ends at {_value(summary, worse[0], last)}"
    if better:
        says += f". {better[0].name.capitalize()} ends better, at {_value(summary, better[0], last)}"
    if not worse and not better:
        says += ", and no other method ends certainly better or worse"
    return says + "".join(_also(summary, ours, name) for name in summary.headlines[1:]) + "."


def _also(summary: Summary, ours: Row, name: str) -> str:
    """What is said of another headline; nothing if nothing is certain."""
    worse, better, _ = standing(summary, at_equal_steps(summary), summary.column(f"{name}.last"))
    told = [
        f"{side} that of {', '.join(row.name for row in rows)}"
        for side, rows in (("above", worse), ("below", better))
        if rows
    ]
    what = f"{ours.name.capitalize()}'s {HEADLINES[name].removeprefix('its ')}"
    return f". {what} ends {' and '.join(told)}" if told else ""


def _value(summary: Summary, row: Row, column: Column) -> str:
    return number(summary.cells[row.name, column.key].value, column.unit)
