"""Lines with bands against time: where they are drawn. The page makes SVG of it, which takes its colours from there.

A line of the class `m3` is drawn in the page's variable `--m3`, so that one stylesheet serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]

TICKS = 5
LONGEST_LABEL = 18  # letters
LABEL_HEIGHT = 15.0  # between the baselines of two labels
MARGIN = 8


@dataclass(frozen=True)
class Line:
    """A named curve: values at the times of its chart, NaN where there is none, and the band around it, if any."""

    label: str
    style: str
    values: Curve
    low: Curve | None = None
    high: Curve | None = None

    @property
    def parts(self) -> list[Curve]:
        return [part for part in (self.values, self.low, self.high) if part is not None]


class Size(NamedTuple):
    """Of a chart in pixels, and its room on the right: for the names of its lines, if it is more than a margin."""

    width: int = 300
    height: int = 170
    right: int = MARGIN


@dataclass(frozen=True)
class Frame:
    """Where a chart is drawn: its size, the margins within it, and the ranges that its axes show."""

    size: Size
    times: tuple[float, float]
    values: tuple[float, float]
    left: int = 46
    top: int = 10

    @property
    def end(self) -> int:
        return self.size.width - self.size.right

    @property
    def bottom(self) -> int:
        return self.size.height - 26

    def x(self, time: float) -> float:
        first, last = self.times
        return self.left + (time - first) / (last - first) * (self.end - self.left)

    def y(self, value: float) -> float:
        low, high = self.values
        return self.top + (high - value) / (high - low) * (self.bottom - self.top)


@dataclass(frozen=True)
class Chart:
    """What is drawn, in pixels. values, times: the ticks of either axis, each its place and text. bands: style and
    path. lines: style, path and name. names: of the lines beside their ends, each its style, the height of the end,
    that of the name, and the name."""

    title: str
    frame: Frame
    values: list[tuple[float, str]]
    times: list[tuple[float, str]]
    bands: list[tuple[str, str]]
    lines: list[tuple[str, str, str]]
    names: list[tuple[str, float, float, str]]


SMALL, LARGE, WIDE = Size(), Size(470, 300, 140), Size(620, 300, 140)


def line_chart(
    lines: Sequence[Line], times: Curve, *, size: Size = SMALL, percent: bool = False, title: str = ""
) -> Chart:
    """A chart of lines over `times`, in seconds; a shorter line ends earlier."""
    shown = np.concatenate([part[np.isfinite(part)] for line in lines for part in line.parts])
    low, high, step = nice_range(shown, percent)
    frame = Frame(size, (0.0, float(times[-1] + times[0])), (low, high))
    bands = [(line.style, _band(frame, line, times)) for line in lines]
    return Chart(
        title,
        frame,
        _value_ticks(frame, step, percent),
        _time_ticks(frame),
        [(style, path) for style, path in bands if path],
        [(line.style, _path(frame, line, times), line.label) for line in lines],
        _names(frame, lines) if size.right > MARGIN else [],
    )


def nice_range(values: Curve, percent: bool) -> tuple[float, float, float]:
    """A range of round numbers around `values` and the step of its ticks; shares stay within 0 and 1."""
    least, most = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    low, high = least, most
    if percent and most > 0.5:
        low, high = min(low, 0.9), 1.0
    if high - low < 1e-9 + 1e-3 * abs(high):
        low, high = low - 0.5 * (abs(low) or 2), high + 0.5 * (abs(high) or 2)
    if least >= 0:
        low = max(low, 0.0)
    raw = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    return math.floor(low / step + 1e-6) * step, math.ceil(high / step - 1e-6) * step, step


def _value_ticks(frame: Frame, step: float, percent: bool) -> list[tuple[float, str]]:
    low, high = frame.values
    shown_step = 100 * step if percent else step
    digits = next(d for d in range(12) if abs(round(shown_step, d) - shown_step) < 1e-3 * shown_step)
    values = [low + i * step for i in range(round((high - low) / step) + 1)]
    return [
        (frame.y(value), f"{100 * value:.{digits}f} %" if percent else f"{value:.{digits}f}")
        for value in values
    ]


def _time_ticks(frame: Frame) -> list[tuple[float, str]]:
    seconds = frame.times[1]
    every = next((t for t in (1, 2, 5, 10, 20, 30, 60, 120, 300) if seconds / t <= 7), 600)
    times = range(0, int(seconds) + 1, every)
    return [(frame.x(t), f"{t}{' s' if t + every > seconds else ''}") for t in times]


def _points(frame: Frame, times: Curve, values: Curve) -> list[str]:
    return [f"{frame.x(t):.1f} {frame.y(v):.1f}" for t, v in zip(times, values, strict=True)]


def _band(frame: Frame, line: Line, times: Curve) -> str:
    """The outline of a line's band; empty if it has none."""
    if line.low is None or line.high is None:
        return ""
    whole = np.flatnonzero(np.isfinite(line.low) & np.isfinite(line.high))
    if not len(whole):
        return ""
    there = _points(frame, times[whole], line.high[whole])
    back = _points(frame, times[whole], line.low[whole])[::-1]
    return f"M{'L'.join(there + back)}Z"


def _path(frame: Frame, line: Line, times: Curve) -> str:
    """Broken where there is no value; a value between two gaps is a dot."""
    pieces, run = [], list[int]()
    for i in range(len(line.values) + 1):
        if i < len(line.values) and np.isfinite(line.values[i]):
            run.append(i)
        elif run:
            points = _points(frame, times[run], line.values[run])
            pieces.append("M" + "L".join(points if len(points) > 1 else points * 2))
            run = []
    return "".join(pieces)


def _names(frame: Frame, lines: Sequence[Line]) -> list[tuple[str, float, float, str]]:
    """Each line's name where the line ends, moved apart where they would touch."""
    known = [(line, line.values[np.isfinite(line.values)]) for line in lines]
    ends = sorted(((frame.y(float(v[-1])), line) for line, v in known if len(v)), key=lambda end: end[0])
    places = spread([y for y, _ in ends], LABEL_HEIGHT, frame.top + 4, frame.bottom)
    found = zip(ends, places, strict=True)
    return [(line.style, y, place, _short(line.label)) for (y, line), place in found]


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places nearest to `wanted` (rising) that are `gap` or more apart and, if they fit, within low and high."""
    groups = list[tuple[float, int]]()  # mean place and size of names that touch, less the gaps before them
    for i, place in enumerate(wanted):
        mean, size = place - i * gap, 1
        while groups and groups[-1][0] > mean:
            before, others = groups.pop()
            mean, size = (before * others + mean * size) / (others + size), others + size
        groups.append((mean, size))
    most = max(low, high - (len(wanted) - 1) * gap)
    places = [min(max(mean, low), most) for mean, size in groups for _ in range(size)]
    return [place + i * gap for i, place in enumerate(places)]
