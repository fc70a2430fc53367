"""Draws tracking shots with skia: sky, parallax ridges, roadside, ground and vehicle.

World units are 80 to the picture's height, so that a shot is the same film at any size. x grows to the right and
the camera travels to the right; layers further away scroll by a smaller fraction (`PARALLAX`) of the distance.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import skia
from numpy.typing import NDArray

from longtake.worlds.tracking_shot import vehicles
from longtake.worlds.tracking_shot.brush import Colour, fill, mix, stroke, vertical

if TYPE_CHECKING:
    from longtake.worlds.tracking_shot.shot import Shot

Floats = NDArray[np.float64]

UNITS = 80.0
_MASK = 2**64 - 1
GROUND, LANE = 57.0, 71.0  # y of the far edge of the ground, and of the wheels' contact line
UNITS_PER_FRAME = {"slow": 0.5, "steady": 1.0, "fast": 2.0}
PARALLAX = {"cloud": 0.05, "far": 0.125, "near": 0.25, "roadside": 1.0}

SKY: dict[str, tuple[Colour, Colour]] = {  # zenith, horizon
    "dawn": ((140, 170, 225), (255, 205, 185)),
    "noon": ((58, 130, 225), (180, 222, 250)),
    "sunset": ((105, 50, 110), (255, 135, 45)),
    "dusk": ((22, 30, 88), (130, 82, 150)),
    "night": ((5, 7, 24), (20, 30, 62)),
}
LIGHT: dict[str, Colour] = {  # what the light does to every surface
    "dawn": (0.98, 0.88, 0.86),
    "noon": (1.0, 1.0, 1.0),
    "sunset": (0.98, 0.72, 0.55),
    "dusk": (0.50, 0.48, 0.68),
    "night": (0.26, 0.30, 0.46),
}
# Height y, colour; the moon at night, the evening star's place at dusk.
SUN: dict[str, tuple[float, Colour]] = {
    "dawn": (34.0, (255, 235, 190)),
    "noon": (11.0, (255, 250, 220)),
    "sunset": (33.0, (255, 215, 90)),
    "dusk": (14.0, (215, 215, 235)),
    "night": (13.0, (240, 240, 225)),
}
LAND: dict[str, tuple[Colour, Colour, Colour]] = {  # far ridge, near ridge, verge
    "mountains": ((120, 138, 175), (86, 104, 128), (205, 215, 228)),
    "hills": ((120, 178, 120), (76, 148, 66), (98, 166, 70)),
    "desert": ((232, 192, 130), (214, 164, 96), (236, 202, 142)),
    "canyon": ((196, 110, 84), (164, 74, 52), (200, 128, 92)),
    "forest": ((60, 104, 92), (28, 72, 52), (70, 96, 58)),
    "city": ((128, 138, 158), (84, 90, 110), (150, 150, 148)),
}


def chance(seed: int, cell: int, salt: int) -> float:
    """A uniform number in [0, 1), a function of (seed, cell, salt) alone (an integer hash)."""
    x = (cell * 0x9E3779B97F4A7C15 + seed * 0x2545F491 + salt * 0x85EBCA6B) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return (x >> 40) / 2**24


def chances(seed: int, cells: Floats, salt: int) -> Floats:
    """`chance` at each of many whole-numbered cells, which may repeat."""
    distinct, place = np.unique(cells, return_inverse=True)
    return np.array([chance(seed, int(cell), salt) for cell in distinct])[place]


def waves(seed: int, salt: int, x: Floats, lengths: tuple[float, ...]) -> Floats:
    """A smooth endless profile in [0, 1]: sines of the given wavelengths with seeded phases and weights."""
    total, weight = np.zeros_like(x), 0.0
    for i, length in enumerate(lengths):
        w = 0.5 + chance(seed, i, salt)
        total += w * np.sin(2 * np.pi * (x / length + chance(seed, i, salt + 1)))
        weight += w
    return 0.5 + 0.5 * total / weight


def peaks(seed: int, salt: int, x: Floats, pitch: float) -> Floats:
    """An endless chain of pointed peaks in [0, 1], one in every `pitch` units."""
    cell = np.floor(x / pitch)
    best = np.zeros_like(x)
    for neighbour in (-1, 0, 1):
        c = cell + neighbour
        centre = (c + 0.25 + 0.5 * chances(seed, c, salt)) * pitch
        height = 0.5 + 0.5 * chances(seed, c, salt + 1)
        best = np.maximum(best, height - np.abs(x - centre) / pitch * 0.75)
    return best


def blocks(seed: int, salt: int, x: Floats, pitch: float) -> Floats:
    """An endless row of flat roofs in [0, 1], `pitch` units wide."""
    return 0.25 + 0.75 * chances(seed, np.floor(x / pitch), salt)


def ridge(landscape: str, layer: str, seed: int, x: Floats) -> Floats:
    """Height of a ridge above `GROUND`, in units, at world places x."""
    salt = 100 if layer == "far" else 200
    far = layer == "far"
    if landscape == "mountains":
        return 6 + (30 if far else 14) * peaks(seed, salt, x, 44 if far else 30)
    if landscape == "hills":
        return (10 if far else 3) + (14 if far else 11) * waves(seed, salt, x, (83, 47, 31))
    if landscape == "desert":
        crest = 1 - np.abs(np.sin(np.pi * (x / (90 if far else 61) + chance(seed, 0, salt))))
        return (7 if far else 2) + (13 if far else 9) * (0.7 * crest + 0.3 * waves(seed, salt, x, (120, 53)))
    if landscape == "canyon":
        wall = 0.5 + 0.5 * np.tanh(7 * (waves(seed, salt, x, (97, 59, 37)) - 0.5))
        return (9 if far else 3) + (22 if far else 12) * wall
    if landscape == "forest":
        tooth = 1 - 2 * np.abs(x / (5.0 if far else 8.0) % 1 - 0.5)
        return (15 if far else 8) + 8 * waves(seed, salt, x, (71, 43)) + (3.5 if far else 8) * tooth
    return (5 if far else 2) + (34 if far else 19) * blocks(seed, salt, x, 11 if far else 19)


class Painter:
    """Draws the frames of one shot at one size."""

    def __init__(self, shot: Shot, width: int, height: int) -> None:
        self.shot, self.scale = shot, height / UNITS
        self.width = width / self.scale
        self.surface = skia.Surface(width, height)
        self.light = LIGHT[shot.time]
        zenith, horizon = SKY[shot.time]
        grey = float(np.mean(horizon)) * 0.55 + float(np.mean(zenith)) * 0.35
        dull = {"clear": 0.0, "cloudy": 0.22, "rainy": 0.62, "foggy": 0.4}[shot.weather]
        self.zenith, self.horizon = (
            mix(c, (grey, grey * 1.02, grey * 1.06), dull) for c in (zenith, horizon)
        )
        if shot.weather == "rainy":
            self.light = mix(self.light, (0.0, 0.0, 0.0), 0.22)
        self.sun_x = self.width * (0.12 + 0.76 * chance(shot.seed, 0, 1))

    def film(self, first_frame: int, num_frames: int) -> NDArray[np.uint8]:
        """Frames as (F, H, W, 3) uint8."""
        frames = []
        for n in range(first_frame, first_frame + num_frames):
            self._frame(n)
            frames.append(self.surface.toarray(colorType=skia.kRGBA_8888_ColorType)[..., :3])
        return np.stack(frames)

    def lit(self, colour: Colour, haze: float = 0.0) -> Colour:
        """A surface's colour in this light, `haze` of the way to the horizon's colour."""
        lit = (colour[0] * self.light[0], colour[1] * self.light[1], colour[2] * self.light[2])
        return mix(lit, self.horizon, haze)

    def _frame(self, n: int) -> None:
        canvas = self.surface.getCanvas()
        canvas.save()
        canvas.scale(self.scale, self.scale)
        distance = n * UNITS_PER_FRAME[self.shot.speed]
        self._sky(canvas, n)
        self._ridge(canvas, "far", distance)
        self._fog(canvas, 20, GROUND, 0.75)
        self._ridge(canvas, "near", distance)
        self._fog(canvas, 30, GROUND, 0.5)
        self._ground(canvas, distance)
        self._roadside(canvas, distance)
        vehicles.draw(canvas, self.shot, self.width * 0.47, LANE, distance, self.light)
        self._rain(canvas, n)
        canvas.restore()

    def _sky(self, canvas: skia.Canvas, n: int) -> None:
        canvas.drawPaint(vertical(0, GROUND - 4, [(self.zenith, 1), (self.horizon, 1)]))
        shot, seed = self.shot, self.shot.seed
        y, colour = SUN[shot.time]
        if shot.time == "night" and shot.weather == "clear":
            for i in range(26):
                x, star_y, size = (chance(seed, i, s) for s in (2, 3, 4))
                canvas.drawCircle(x * self.width, star_y * 38, 0.3 + 0.5 * size, fill((235, 235, 255), 0.85))
        if shot.weather in ("clear", "cloudy"):
            for radius, alpha in ((15, 0.10), (10.5, 0.16), (7.5, 0.25)):
                canvas.drawCircle(self.sun_x, y, radius, fill(colour, alpha))
            canvas.drawCircle(self.sun_x, y, 5.2, fill(colour))
            if shot.time in ("night", "dusk"):
                canvas.drawCircle(self.sun_x + 2.4, y - 1.2, 4.3, fill(mix(self.zenith, colour, 0.3)))
        if shot.weather in ("cloudy", "rainy"):
            self._clouds(canvas, n)

    def _clouds(self, canvas: skia.Canvas, n: int) -> None:
        rainy, seed, pitch = self.shot.weather == "rainy", self.shot.seed, 34.0
        shade = (
            mix(self.horizon, (255, 255, 255), 0.45) if not rainy else mix(self.horizon, (30, 34, 44), 0.45)
        )
        moved = n * (0.06 + UNITS_PER_FRAME[self.shot.speed] * PARALLAX["cloud"])
        for cell in range(math.floor((moved - 30) / pitch), math.ceil((moved + self.width + 30) / pitch)):
            jitter, lift, size = (chance(seed, cell, s) for s in (5, 6, 7))
            x, y, r = (cell + jitter * 0.6) * pitch - moved, 6 + 14 * lift, 5 + 3.5 * size
            for dx, dy, k in ((-1.5, 0.35, 0.62), (-0.6, -0.1, 0.9), (0.5, -0.25, 1.0), (1.5, 0.3, 0.66)):
                canvas.drawOval(
                    skia.Rect.MakeXYWH(
                        x + dx * r - k * r * 1.25, y + dy * r - k * r * 0.7, k * r * 2.5, k * r * 1.4
                    ),
                    fill(shade, 0.9),
                )

    def _ridge(self, canvas: skia.Canvas, layer: str, distance: float) -> None:
        shot, offset = self.shot, distance * PARALLAX[layer]
        far = layer == "far"
        step = 0.5 if shot.landscape in ("city", "forest") else 1.0
        x = np.arange(-1, self.width + 2, step)
        if shot.landscape == "city":  # let roof edges move smoothly: sample where the blocks change
            pitch = 11 if far else 19
            edges = (
                np.arange(math.floor(offset / pitch), math.ceil((offset + self.width) / pitch) + 1) * pitch
                - offset
            )
            x = np.sort(np.concatenate([edges - 1e-6, edges + 1e-6]))
        top = GROUND - ridge(shot.landscape, layer, shot.seed, x + offset)
        colour = self.lit(LAND[shot.landscape][0 if far else 1], 0.38 if far else 0.12)
        base = self.lit(LAND[shot.landscape][0 if far else 1], 0.62 if far else 0.26)
        canvas.drawPath(_under(x, top, GROUND + 3), vertical(GROUND - 30, GROUND, [(colour, 1), (base, 1)]))
        if shot.landscape == "mountains":
            self._snow(canvas, x, top, far)
        if shot.landscape == "canyon":
            for band in (5.5, 11.0, 16.5):
                inside = np.maximum(top, GROUND - band)
                canvas.drawPath(
                    _between(x, inside, np.maximum(inside, GROUND - band + 2)),
                    fill(mix(colour, (255, 225, 190), 0.25), 0.55),
                )
        if shot.landscape == "city":
            self._windows(canvas, offset, far)

    def _snow(self, canvas: skia.Canvas, x: Floats, top: Floats, far: bool) -> None:
        line = GROUND - (17 if far else 11)
        ragged = line + 1.6 * np.sin(x * 1.1)
        canvas.drawPath(
            _between(x, np.minimum(top, ragged), ragged),
            fill(self.lit((248, 250, 255), 0.12 if far else 0.0)),
        )

    def _windows(self, canvas: skia.Canvas, offset: float, far: bool) -> None:
        if far:
            return
        lit_share = {"night": 0.6, "dusk": 0.5, "sunset": 0.25, "dawn": 0.2, "noon": 0.0}[self.shot.time]
        pitch, seed = 19, self.shot.seed
        for block in range(math.floor(offset / pitch), math.ceil((offset + self.width) / pitch) + 1):
            height = 2 + 19 * float(blocks(seed, 200, np.array([block * pitch + 1.0]), pitch)[0])
            for row in range(int((height - 3) // 5)):
                for column in range(3):
                    lamp = chance(seed, block * 64 + row * 4 + column, 8) < lit_share
                    paint = fill((255, 215, 120)) if lamp else fill(self.lit((52, 58, 78)))
                    canvas.drawRect(
                        skia.Rect.MakeXYWH(
                            block * pitch - offset + 3 + column * 5, GROUND - height + 3 + row * 5, 2.8, 2.8
                        ),
                        paint,
                    )

    def _fog(self, canvas: skia.Canvas, top: float, bottom: float, alpha: float) -> None:
        if self.shot.weather != "foggy":
            return
        white = mix(self.horizon, self.lit((232, 234, 238)), 0.6)
        canvas.drawRect(
            skia.Rect.MakeLTRB(-1, 0, self.width + 1, bottom + 3),
            vertical(top - 20, bottom, [(white, alpha * 0.45), (white, alpha)]),
        )

    def _ground(self, canvas: skia.Canvas, distance: float) -> None:
        shot, wide = self.shot, self.width
        verge = self.lit(LAND[shot.landscape][2])
        canvas.drawRect(
            skia.Rect.MakeLTRB(-1, GROUND, wide + 1, UNITS),
            vertical(GROUND, UNITS, [(mix(verge, self.horizon, 0.15), 1), (mix(verge, (0, 0, 0), 0.2), 1)]),
        )
        if shot.surface == "water":
            deep = mix(self.lit((40, 92, 140)), self.zenith, 0.35)
            canvas.drawRect(
                skia.Rect.MakeLTRB(-1, GROUND + 2, wide + 1, UNITS),
                vertical(GROUND, UNITS, [(mix(deep, self.horizon, 0.6), 1), (deep, 1)]),
            )
            for cell, x in _cells(distance, 13.0, wide):
                glint, row = chance(shot.seed, cell, 9), chance(shot.seed, cell, 10)
                y = GROUND + 6 + 15 * row
                canvas.drawLine(
                    x + 4 * glint,
                    y,
                    x + 4 * glint + 6,
                    y,
                    stroke(mix(self.horizon, (255, 255, 255), 0.35), 1.1, 0.55),
                )
        elif shot.surface == "rail":
            canvas.drawRect(skia.Rect.MakeLTRB(-1, 66, wide + 1, 76), fill(self.lit((126, 116, 108))))
            for _, x in _cells(distance, 8.0, wide):
                canvas.drawRect(skia.Rect.MakeXYWH(x, 69.5, 3.4, 4.6), fill(self.lit((84, 62, 48))))
            canvas.drawRect(skia.Rect.MakeLTRB(-1, 70.6, wide + 1, 72), fill(self.lit((190, 192, 200))))
        else:
            canvas.drawRect(skia.Rect.MakeLTRB(-1, 62, wide + 1, 78), fill(self.lit((84, 86, 94))))
            canvas.drawRect(skia.Rect.MakeLTRB(-1, 62, wide + 1, 63), fill(self.lit((214, 214, 210))))
            for _, x in _cells(distance, 16.0, wide):
                canvas.drawRect(skia.Rect.MakeXYWH(x, 74.2, 8, 1.5), fill(self.lit((244, 232, 170))))

    def _roadside(self, canvas: skia.Canvas, distance: float) -> None:
        for cell, x in _cells(distance * PARALLAX["roadside"], 24.0, self.width):
            kind, jitter, size = (chance(self.shot.seed, cell, s) for s in (11, 12, 13))
            if kind < 0.8:
                vehicles.roadside(
                    canvas, self.shot, x + 10 * jitter, GROUND + 3.0, 0.8 + 0.4 * size, kind < 0.16, self.lit
                )

    def _rain(self, canvas: skia.Canvas, n: int) -> None:
        if self.shot.weather != "rainy":
            return
        paint = stroke(mix(self.horizon, (255, 255, 255), 0.5), 0.7, 0.5)
        for i in range(30):
            x0, y0 = chance(self.shot.seed, i, 14), chance(self.shot.seed, i, 15)
            y = (y0 * 96 + n * 3.2) % 96 - 10
            x = (x0 * (self.width + 24) - n * 0.8) % (self.width + 24) - 6
            canvas.drawLine(x, y, x - 2.0, y + 8, paint)


def _cells(distance: float, pitch: float, width: float) -> list[tuple[int, float]]:
    """(index, x on screen) of every cell of a row of things that is in sight, `pitch` units apart."""
    first, last = math.floor((distance - 24) / pitch), math.ceil((distance + width + 24) / pitch)
    return [(cell, cell * pitch - distance) for cell in range(first, last)]


def _under(x: Floats, top: Floats, bottom: float) -> skia.Path:
    return _between(x, top, np.full_like(x, bottom))


def _between(x: Floats, top: Floats, bottom: Floats) -> skia.Path:
    points = [
        *zip(x.tolist(), top.tolist(), strict=True),
        *zip(x[::-1].tolist(), bottom[::-1].tolist(), strict=True),
    ]
    path = skia.Path()
    path.addPoly([skia.Point(px, py) for px, py in points], True)
    return path
