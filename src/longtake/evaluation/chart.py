"""Lines with bands against time, as SVG that takes its colours from the page around it.

A line of the class `m3` is drawn in the page's variable `--m3`, so that one stylesheet serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]

TICKS = 5
LONGEST_LABEL = 18  # letters
LABEL_HEIGHT = 15.0  # between the baselines of two labels


@dataclass(frozen=True)
class Line:
    """A named curve: values at the times of its chart, NaN where there is none, and the band around it, if any."""

    label: str
    style: str
    values: Curve
    low: Curve | None = None
    high: Curve | None = None


@dataclass(frozen=True)
class Frame:
    """Where a chart is drawn: its size, the margins within it, and the ranges that its axes show."""

    width: int
    height: int
    right: int
    times: tuple[float, float]
    values: tuple[float, float]
    left: int = 46
    top: int = 10
    bottom: int = 26

    def x(self, time: float) -> float:
        first, last = self.times
        return self.left + (time - first) / (last - first) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        low, high = self.values
        return self.top + (high - value) / (high - low) * (self.height - self.top - self.bottom)


def line_chart(
    lines: Sequence[Line],
    times: Curve,
    *,
    width: int = 300,
    height: int = 170,
    labels: int = 0,
    percent: bool = False,
    title: str = "",
) -> str:
    """An SVG of lines over `times`, in seconds; a shorter line ends earlier. With `labels` pixels to the right, each
    line has its name there."""
    lines = [_as_long(line, len(times)) for line in lines]
    shown = np.concatenate([np.concatenate([_or_empty(part) for part in _parts(line)]) for line in lines])
    low, high, step = nice_range(shown[np.isfinite(shown)], percent)
    frame = Frame(width, height, labels or 8, (0.0, float(times[-1] + times[0])), (low, high))
    body = [_grid(frame, step, percent)]
    body += [_band(frame, line, times) for line in lines if line.low is not None]
    body += [_path(frame, line, times) for line in lines]
    if labels:
        body.append(_labels(frame, lines))
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{"".join(body)}</svg>'
    )


def _as_long(line: Line, count: int) -> Line:
    """With NaN behind its end."""
    values, low, high = (
        None if part is None else np.pad(part, (0, count - len(part)), constant_values=np.nan)
        for part in _parts(line)
    )
    assert values is not None
    return Line(line.label, line.style, values, low, high)


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


def _parts(line: Line) -> list[Curve | None]:
    return [line.values, line.low, line.high]


def _or_empty(part: Curve | None) -> Curve:
    return np.empty(0) if part is None else part


def _grid(frame: Frame, step: float, percent: bool) -> str:
    low, high = frame.values
    left, right, bottom = frame.left, frame.width - frame.right, frame.height - frame.bottom
    shown_step = 100 * step if percent else step
    digits = next(d for d in range(12) if abs(round(shown_step, d) - shown_step) < 1e-3 * shown_step)
    pieces = []
    for i in range(round((high - low) / step) + 1):
        value = low + i * step
        y = frame.y(value)
        text = f"{100 * value:.{digits}f} %" if percent else f"{value:.{digits}f}"
        pieces.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        pieces.append(f'<text class="tick" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    seconds = frame.times[1]
    every = next((t for t in (1, 2, 5, 10, 20, 30, 60, 120, 300) if seconds / t <= 7), 600)
    for t in range(0, int(seconds) + 1, every):
        unit = " s" if t + every > seconds else ""
        pieces.append(
            f'<text class="tick" x="{frame.x(t):.1f}" y="{bottom + 17}" text-anchor="middle">{t}{unit}</text>'
        )
    return "".join(pieces)


def _points(frame: Frame, times: Curve, values: Curve) -> list[str]:
    return [f"{frame.x(t):.1f} {frame.y(v):.1f}" for t, v in zip(times, values, strict=True)]


def _band(frame: Frame, line: Line, times: Curve) -> str:
    assert line.low is not None and line.high is not None
    whole = np.isfinite(line.low) & np.isfinite(line.high)
    if not whole.any():
        return ""
    there = _points(frame, times[whole], line.high[whole])
    back = _points(frame, times[whole], line.low[whole])[::-1]
    return f'<path class="band {line.style}" d="M{"L".join(there + back)}Z"/>'


def _path(frame: Frame, line: Line, times: Curve) -> str:
    """Broken where there is no value; a value between two gaps is a dot."""
    pieces, run = [], list[int]()
    for i in range(len(times) + 1):
        if i < len(times) and np.isfinite(line.values[i]):
            run.append(i)
        elif run:
            points = _points(frame, times[run], line.values[run])
            pieces.append("M" + "L".join(points if len(points) > 1 else points * 2))
            run = []
    tip = f"<title>{escape(line.label)}</title>"
    return f'<path class="line {line.style}" d="{"".join(pieces)}">{tip}</path>'


def _labels(frame: Frame, lines: Sequence[Line]) -> str:
    """Each line's name where the line ends, moved apart where they would touch."""
    ends = []
    for line in lines:
        values = line.values[np.isfinite(line.values)]
        if len(values):
            ends.append((frame.y(float(values[-1])), line))
    ends.sort(key=lambda end: end[0])
    places = spread([y for y, _ in ends], LABEL_HEIGHT, frame.top + 4, frame.height - frame.bottom)
    x = frame.width - frame.right
    pieces = []
    for (y, line), place in zip(ends, places, strict=True):
        pieces.append(
            f'<path class="lead {line.style}" d="M{x - 4} {y:.1f}L{x + 10} {place:.1f}"/>'
            f'<text class="name {line.style}" x="{x + 14}" y="{place + 4:.1f}">{escape(_short(line.label))}</text>'
        )
    return "".join(pieces)


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places nearest to `wanted` (rising) that are `gap` or more apart and, if they fit, within low and high."""
    groups: list[
        tuple[float, int]
    ] = []  # the mean place and the size of names that touch, less the gaps before them
    for i, place in enumerate(wanted):
        mean, size = place - i * gap, 1
        while groups and groups[-1][0] > mean:
            before, others = groups.pop()
            mean, size = (before * others + mean * size) / (others + size), others + size
        groups.append((mean, size))
    most = max(low, high - (len(wanted) - 1) * gap)
    places = [min(max(mean, low), most) for mean, size in groups for _ in range(size)]
    return [place + i * gap for i, place in enumerate(places)]
