"""What tracking shots are drawn with: colours of 0 to 255 a channel, skia's paints, and a brush."""

from __future__ import annotations

from collections.abc import Callable

import skia

Colour = tuple[float, float, float]

DARK: Colour = (34, 34, 40)


def mix(a: Colour, b: Colour, amount: float) -> Colour:
    """`a` at 0, `b` at 1."""
    return (a[0] + (b[0] - a[0]) * amount, a[1] + (b[1] - a[1]) * amount, a[2] + (b[2] - a[2]) * amount)


def argb(colour: Colour, alpha: float = 1.0) -> int:
    """A skia colour from 0…255 channels and an alpha in [0, 1]."""
    r, g, b = (int(min(255, max(0, round(c)))) for c in colour)
    return skia.ColorSetARGB(round(255 * alpha), r, g, b)


def fill(colour: Colour, alpha: float = 1.0) -> skia.Paint:
    """An anti-aliased fill."""
    return skia.Paint(AntiAlias=True, Color=argb(colour, alpha))


def stroke(colour: Colour, width: float, alpha: float = 1.0) -> skia.Paint:
    """An anti-aliased line of round ends."""
    return skia.Paint(
        AntiAlias=True,
        Color=argb(colour, alpha),
        Style=skia.Paint.kStroke_Style,
        StrokeWidth=width,
        StrokeCap=skia.Paint.kRound_Cap,
    )


def vertical(top: float, bottom: float, stops: list[tuple[Colour, float]]) -> skia.Paint:
    """A fill that runs evenly through (colour, alpha) stops from y = top to y = bottom."""
    shader = skia.GradientShader.MakeLinear(
        [skia.Point(0, top), skia.Point(0, bottom)], [argb(c, a) for c, a in stops]
    )
    return skia.Paint(AntiAlias=True, Shader=shader)


class Brush:
    """Fills shapes in units of `size` from a place: x to its right, y above. lit: what the light makes of a colour."""

    def __init__(
        self, canvas: skia.Canvas, x: float, y: float, lit: Callable[[Colour], Colour], size: float = 1.0
    ) -> None:
        self.canvas, self.x, self.y, self.lit, self.size = canvas, x, y, lit, size

    def box(
        self, left: float, low: float, right: float, high: float, colour: Colour, radius: float = 0.8
    ) -> None:
        rect = skia.Rect.MakeLTRB(*self._at(left, high), *self._at(right, low))
        self.canvas.drawRoundRect(rect, radius, radius, fill(self.lit(colour)))

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        path = skia.Path()
        path.addPoly([skia.Point(*self._at(*point)) for point in points], True)
        self.canvas.drawPath(path, fill(self.lit(colour)))

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.canvas.drawCircle(*self._at(x, y), radius * self.size, fill(self.lit(colour)))

    def wheel(self, x: float, radius: float) -> None:
        self.disc(x, radius - 0.6, radius, DARK)
        self.disc(x, radius - 0.6, radius * 0.45, (190, 192, 198))

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self.x + x * self.size, self.y - y * self.size
