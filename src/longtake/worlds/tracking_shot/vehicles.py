"""Draws the vehicles and the roadside things of tracking shots, in world units (paint.py)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import skia

from longtake.worlds.tracking_shot.brush import DARK, Brush, Colour

if TYPE_CHECKING:
    from longtake.worlds.tracking_shot.shot import Shot

BODY: dict[str, Colour] = {
    "red": (222, 36, 36),
    "yellow": (248, 206, 30),
    "green": (34, 168, 72),
    "blue": (36, 92, 226),
    "purple": (150, 56, 200),
    "white": (246, 246, 246),
}
GLASS: Colour = (176, 214, 236)


def _shade(colour: Colour, k: float) -> Colour:
    return (colour[0] * k, colour[1] * k, colour[2] * k)


def _car(b: Brush, c: Colour) -> None:
    b.shape([(-13, 9), (-8.5, 16.5), (5, 16.5), (11.5, 9)], _shade(c, 0.86))
    b.shape([(-10.8, 9.6), (-7.4, 15), (-1.4, 15), (-1.4, 9.6)], GLASS)
    b.shape([(0.4, 9.6), (0.4, 15), (4.2, 15), (8.8, 9.6)], GLASS)
    b.box(-19, 2.4, 19, 10, c, 2.4)
    b.box(16.4, 6, 19, 8.4, (255, 246, 190))
    b.wheel(-11, 4.2)
    b.wheel(11.5, 4.2)


def _bus(b: Brush, c: Colour) -> None:
    b.box(-23, 2.6, 23, 22, c, 2.2)
    b.box(-23, 6.4, 23, 8.4, _shade(c, 0.7), 0)
    for left in (-20.5, -12.3, -4.1, 4.1):
        b.box(left, 11.5, left + 6.4, 18.8, GLASS)
    b.box(13, 4, 20.8, 18.8, GLASS)
    b.wheel(-13.5, 4.2)
    b.wheel(9, 4.2)


def _truck(b: Brush, c: Colour) -> None:
    b.box(-24, 5, 9, 25, _shade(c, 0.94), 0.8)
    b.box(-24, 5, 9, 7.6, _shade(c, 0.62), 0)
    b.shape([(10.5, 3), (10.5, 18), (17, 18), (22.5, 11), (22.5, 3)], c)
    b.shape([(12.2, 10.6), (12.2, 16.4), (16.4, 16.4), (20.6, 10.6)], GLASS)
    b.box(-24, 3, 22, 5, DARK, 0)
    for x in (-18, -9, 16):
        b.wheel(x, 4.2)


def _tractor(b: Brush, c: Colour) -> None:
    b.box(-9, 15, 3.5, 25, GLASS, 0.8)
    b.box(-10.5, 24, 5, 26.4, c, 0.8)
    b.box(2, 15, 3.8, 25, DARK, 0)
    b.box(-12, 6, 17, 15.5, c, 1.6)
    b.box(11, 15, 12.8, 22, DARK, 0)
    b.wheel(-6.5, 8.2)
    b.wheel(12.5, 4.8)


def _train(b: Brush, c: Colour) -> None:
    for left in (-64, -27):
        b.box(left, 3.5, left + 34, 21, c, 1.4)
        for i in range(4):
            b.box(left + 3 + 7.6 * i, 11, left + 8 + 7.6 * i, 17.6, GLASS)
        b.box(left, 6.4, left + 34, 8, _shade(c, 0.66), 0)
        b.wheel(left + 7, 3)
        b.wheel(left + 27, 3)
    b.box(-30, 6, -27, 8, DARK, 0)
    b.shape([(10, 3.5), (10, 21), (30, 21), (39, 12), (40, 3.5)], c)
    b.box(7, 6, 10, 8, DARK, 0)
    b.shape([(27, 12.4), (27, 18.4), (30.6, 18.4), (36, 12.4)], GLASS)
    b.box(13, 11, 23, 17.6, GLASS)
    b.box(10, 6.4, 40, 8, _shade(c, 0.66), 0)
    b.wheel(17, 3)
    b.wheel(33, 3)


def _sailboat(b: Brush, c: Colour) -> None:
    b.box(-0.9, 6, 0.7, 46, (120, 86, 58), 0)
    b.shape([(-2, 10), (-2, 45), (-18, 10)], c)
    b.shape([(1.8, 10), (1.8, 40), (14, 10)], _shade(c, 0.86))
    b.shape([(-19, 7.6), (21, 7.6), (15, -0.5), (-15, -0.5)], (238, 236, 230))
    b.shape([(-19, 7.6), (21, 7.6), (19.6, 5.4), (-18, 5.4)], c)


_VEHICLES: dict[str, Callable[[Brush, Colour], None]] = {
    "car": _car,
    "bus": _bus,
    "truck": _truck,
    "tractor": _tractor,
    "train": _train,
    "sailboat": _sailboat,
}


def draw(canvas: skia.Canvas, shot: Shot, x: float, lane: float, distance: float, light: Colour) -> None:
    """Draw the shot's vehicle with its shadow; it bobs gently with the distance it has gone."""
    day = [0.45 + 0.55 * c for c in light]  # headlamps and eyes: a vehicle stays readable at night
    bob = {"road": 0.35, "rail": 0.15, "water": 0.9}[shot.surface] * math.sin(distance * 0.11)
    half = {"car": 18, "bus": 22, "truck": 23, "tractor": 15, "train": 62, "sailboat": 17}[shot.vehicle]
    shadow = skia.Paint(AntiAlias=True, Color=skia.ColorSetARGB(80, 8, 10, 20))
    canvas.drawOval(skia.Rect.MakeLTRB(x - half - 2, lane - 0.6, x + half + 2, lane + 2.6), shadow)
    brush = Brush(canvas, x, lane + bob, lambda c: (c[0] * day[0], c[1] * day[1], c[2] * day[2]))
    _VEHICLES[shot.vehicle](brush, BODY[shot.colour])


def roadside(
    canvas: skia.Canvas,
    shot: Shot,
    x: float,
    foot: float,
    size: float,
    sign: bool,
    lit: Callable[[Colour], Colour],
) -> None:
    """Draw one thing at the verge: a sign, or what grows or stands in the landscape."""

    b = Brush(canvas, x, foot, lit, size)
    if sign:
        b.box(-0.6, 0, 0.6, 10, (150, 150, 156), 0)
        b.box(-4, 9, 4, 15, (250, 250, 245), 0)
        b.box(-3, 10, 3, 14, (40, 110, 190), 0)
    elif shot.landscape in ("mountains", "forest"):
        b.box(-0.8, 0, 0.8, 3, (92, 66, 46), 0)
        for low, high, half in ((2, 10, 5.0), (6.5, 14, 4.0), (11, 18, 2.8)):
            b.shape([(-half, low), (0, high), (half, low)], (30, 86, 58))
    elif shot.landscape == "hills":
        b.box(-0.9, 0, 0.9, 7, (104, 74, 50), 0)
        b.disc(0, 10, 5.4, (46, 122, 44))
    elif shot.landscape == "desert":
        for left, low, right, high in (
            (-1.3, 0, 1.3, 15),
            (-5, 5, -1, 7),
            (-5, 5, -3.2, 11),
            (1, 7, 5, 9),
            (3.2, 7, 5, 13),
        ):
            b.box(left, low, right, high, (62, 128, 66), 0)
    elif shot.landscape == "canyon":
        b.shape([(-7, 0), (-5, 5), (-1, 7.5), (4, 6), (7, 0)], (150, 66, 46))
    else:
        b.box(-0.6, 0, 0.6, 19, (70, 74, 82), 0)
        b.box(-0.6, 18, 5, 19.2, (70, 74, 82), 0)
        b.disc(5, 17.6, 1.7, (255, 236, 170))
