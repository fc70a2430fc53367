"""Lands to fly over: periodic height fields and what they are made of.

N cells along a side of the tile, which repeats without a seam. Heights are in cells, sea level is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TILE = 1024
CLEARANCE = 24  # cells: how far around it a camera's ground looks


@dataclass(frozen=True, eq=False)
class Land:
    """A tile (N, N) of ground.

    height: in cells. ground: what a camera flies above, nowhere below the height, and smooth.
    surface (6, N, N): albedo in three colours, the two slopes, and how much of it mirrors, 0 earth to 1 water.
    """

    height: Tensor
    ground: Tensor
    surface: Tensor

    def horizon(self, azimuth: float, reach: int = 160) -> Tensor:
        """The tangent (N, N) of the elevation below which the sun at `azimuth` (radians) is hidden by ground."""
        dx, dy = math.cos(azimuth), math.sin(azimuth)
        tangent = torch.full_like(self.height, -1.0)
        distance = 1.5
        while distance < reach:
            moved = self.height.roll((-round(distance * dy), -round(distance * dx)), (0, 1))
            tangent = torch.maximum(tangent, (moved - self.height) / distance)
            distance *= 1.22
        return tangent


def grown(kind: str, seed: int) -> Land:
    """The land of a kind, a key of KINDS, that follows from a seed."""
    noise = Noise(seed)
    height, albedo = KINDS[kind](noise)
    shore = smooth(-height, -0.05, 0.25)  # water lies at sea level, whatever is below it
    # Crests as wide as the steps of a ray, which would miss some of them.
    height = _blurred(height.clamp_min(0), 1).clamp_min(0)
    slope_x, slope_y = (height.roll(-1, axis) - height.roll(1, axis) for axis in (1, 0))
    hollow = _blurred(height, 12) - height
    albedo = albedo * (1 - 0.05 * hollow.clamp(-2, 6))[..., None]
    surface = torch.cat(
        [albedo.clamp(0, 1).permute(2, 0, 1), slope_x[None] / 2, slope_y[None] / 2, shore[None]]
    )
    return Land(height, _envelope(height), surface.contiguous())


class Noise:
    """Periodic noise (N, N) of mean 0 and deviation 1, a new field each time it is asked for."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        frequency = torch.fft.fftfreq(TILE, 1 / TILE)
        self._y, self._x = frequency[:, None], frequency[None, : TILE // 2 + 1].abs()

    def __call__(
        self, steepness: float, low: float, high: float = 400.0, stretch: tuple[float, float] = (1.0, 1.0)
    ) -> Tensor:
        """Amplitudes fall with frequency to the power `steepness`, between `low` and `high` waves a tile.

        stretch: by how much the field is shorter along y and x.
        """
        radius = torch.hypot(self._y / stretch[0], self._x / stretch[1])
        amplitude = torch.where(radius > 0, radius.clamp_min(1) ** -steepness, 0)
        amplitude = amplitude * smooth(radius, low * 0.7, low) * (1 - smooth(radius, high * 0.8, high * 1.2))
        white = torch.fft.rfft2(torch.randn(TILE, TILE, generator=self._generator))
        field = torch.fft.irfft2(white * amplitude, s=(TILE, TILE))
        return (field - field.mean()) / field.std()

    def ridges(self, low: float, octaves: int = 5, gain: float = 0.5) -> Tensor:
        """Crests and valleys in [0, 1], rough on the crests and calm in the valleys (a ridged multifractal)."""
        total, weight, norm = torch.zeros(()), torch.ones(()), 0.0
        for octave in range(octaves):
            band = low * 2.0**octave
            crest = (1 - self(1.0, band, band * 2).abs() / 2).clamp(0, 1) ** 2
            total = total + gain**octave * weight * crest
            weight = (crest * 1.6).clamp(0, 1)
            norm += gain**octave
        return total / norm


def smooth(x: Tensor, low: float, high: float) -> Tensor:
    """0 below `low`, 1 above `high`, and a smooth step between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Colours (…, 3): `a`, and `share` (…) of `b` in place of it."""
    return a + (b - a) * share[..., None]


def colour(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue])


Grown = tuple[Tensor, Tensor]


def _mountains(noise: Noise) -> Grown:
    base, crest, fine = noise(2.2, 3, 10), noise.ridges(4, 5, 0.36), noise(0.8, 50)
    height = 9 * base + 88 * crest**1.2 + 0.5 * fine
    height = height - height.quantile(0.01)
    slope = _steepness(height)
    level = height / 70 + 0.03 * fine
    rock = mix(colour(0.38, 0.35, 0.34), colour(0.54, 0.50, 0.47), smooth(fine, -1, 1.5))
    snow = smooth(level, 0.26, 0.42) * (1 - 0.75 * smooth(slope, 1.3, 2.0))
    albedo = mix(colour(0.17, 0.27, 0.11), rock, smooth(level + 0.15 * slope, 0.22, 0.42))
    return height + 1, mix(albedo, colour(0.95, 0.96, 1.0), snow)


def _hills(noise: Noise) -> Grown:
    height = 15 * noise(2.6, 5, 60) + 0.3 * noise(1.0, 60)
    meadow = mix(colour(0.25, 0.44, 0.13), colour(0.50, 0.56, 0.20), smooth(noise(1.6, 12, 120), -0.9, 0.6))
    trees = smooth(noise(0.9, 40, 160) + 0.8 * noise(1.6, 8, 30), 1.7, 2.1)
    height = height - height.min() + 1 + 1.2 * trees
    return height, mix(meadow, colour(0.09, 0.20, 0.07), trees)


def _dunes(noise: Noise) -> Grown:
    wave = noise(1.9, 6, 40, (1.0, 2.2)) + 0.25 * noise(2.0, 3, 8)
    crest = (1 - (wave**2 + 0.04).sqrt() / 1.9).clamp(0, 1) ** 1.6
    ripple = noise(0.2, 130, 260, (0.5, 1.6))
    height = 24 * crest + 6 * noise(2.4, 3, 10) + 0.10 * ripple
    sand = mix(colour(0.76, 0.52, 0.28), colour(0.93, 0.74, 0.45), smooth(crest + 0.03 * ripple, 0.1, 0.8))
    return height - height.min() + 1, sand


def _canyon(noise: Noise) -> Grown:
    fine = noise(0.8, 50)
    bed = noise(2.3, 4, 40) + 0.025 * fine
    steps = bed * 2.2
    terrace = (torch.floor(steps) + smooth(steps % 1, 0.55, 0.98)) / 2.2
    height = 24 * terrace.clamp(-1.5, 1.6) + 0.25 * fine
    height = height - height.min() + 1
    layers = torch.sin(height * 0.62) * 0.5 + 0.5 * torch.sin(height * 0.23 + 1)
    rock = mix(colour(0.62, 0.26, 0.13), colour(0.88, 0.56, 0.33), smooth(layers, -0.8, 0.9))
    return height, mix(rock, colour(0.42, 0.40, 0.18), smooth(-bed, 0.9, 1.4))


def _islands(noise: Noise) -> Grown:
    level = noise(2.3, 6, 60) + 0.03 * noise(0.8, 60) - 0.75
    fine = noise(0.5, 60)
    height = 25 * level.clamp_min(0) ** 1.15 + 6 * level.clamp_max(0)
    sea = mix(colour(0.02, 0.13, 0.28), colour(0.05, 0.52, 0.55), smooth(level, -0.45, -0.02))
    beach = mix(sea, colour(0.92, 0.84, 0.62), smooth(level, -0.03, 0.02))
    green = mix(colour(0.10, 0.30, 0.08), colour(0.26, 0.44, 0.14), smooth(fine, -1, 1))
    albedo = mix(beach, green, smooth(level + 0.02 * fine, 0.08, 0.14))
    return height, mix(albedo, colour(0.42, 0.39, 0.34), 0.8 * smooth(_steepness(height), 1.6, 2.6))


def _forest(noise: Noise) -> Grown:
    crowns = noise(0.3, 90, 190)
    clearing = smooth(noise(1.8, 8, 40), 1.3, 1.6)
    height = 13 * noise(2.5, 4, 40)
    height = height - height.min() + 1 + 2.6 * (crowns.clamp(-1, 2) + 1) * (1 - clearing)
    needles = mix(colour(0.03, 0.10, 0.05), colour(0.14, 0.28, 0.10), smooth(crowns, -1, 1.6))
    needles = mix(needles, colour(0.20, 0.26, 0.08), smooth(noise(1.4, 10, 60), 0.5, 1.5) * 0.6)
    return height, mix(needles, colour(0.42, 0.50, 0.20), clearing)


def _frozen(noise: Noise) -> Grown:
    height = 4.5 * noise(2.1, 5, 60) + 0.5 * noise(0.9, 50)
    drift = noise(1.0, 30, 160, (0.6, 1.6))
    ice = smooth(-noise(1.8, 6, 40), 0.4, 0.8)
    rocks = smooth(noise(0.5, 60, 200) + 0.5 * noise(1.5, 8, 30), 2.1, 2.6)
    height = (height - height.min()) * (1 - 0.7 * ice) + 1 + 1.5 * rocks
    snow = mix(colour(0.86, 0.90, 0.96), colour(0.97, 0.98, 1.0), smooth(drift, -1, 1))
    return height, mix(mix(snow, colour(0.48, 0.66, 0.80), 0.85 * ice), colour(0.26, 0.25, 0.26), rocks)


def _lakes(noise: Noise) -> Grown:
    base, crest, fine = noise(2.3, 5, 30), noise.ridges(6, 4, 0.36), noise(0.7, 60)
    level = 0.8 * base + 0.5 * (crest - crest.mean()) / crest.std() + 0.015 * fine + 0.05
    height = 22 * level.clamp_min(0) ** 1.2 + 6 * level.clamp_max(0)
    woods = mix(colour(0.05, 0.15, 0.07), colour(0.16, 0.30, 0.10), smooth(fine, -1, 1.4))
    grass = mix(colour(0.02, 0.08, 0.13), colour(0.38, 0.42, 0.20), smooth(level, -0.02, 0.03))
    albedo = mix(grass, woods, smooth(level + 0.05 * fine, 0.12, 0.22))
    rock = mix(albedo, colour(0.50, 0.49, 0.50), smooth(level + 0.08 * fine, 1.0, 1.3))
    return height, mix(rock, colour(0.93, 0.95, 1.0), smooth(level + 0.1 * fine, 1.6, 1.9))


KINDS: dict[str, Callable[[Noise], Grown]] = {
    "mountains": _mountains,
    "hills": _hills,
    "dunes": _dunes,
    "canyon": _canyon,
    "islands": _islands,
    "forest": _forest,
    "frozen": _frozen,
    "lakes": _lakes,
}


def _steepness(height: Tensor) -> Tensor:
    dx, dy = ((height.roll(-1, axis) - height.roll(1, axis)) / 2 for axis in (1, 0))
    return torch.hypot(dx, dy)


def _around(height: Tensor, radius: int) -> Tensor:
    return F.pad(height[None, None], (radius,) * 4, mode="circular")


def _blurred(height: Tensor, radius: int) -> Tensor:
    rows = F.avg_pool2d(_around(height, radius), (2 * radius + 1, 1), 1)
    return F.avg_pool2d(rows, (1, 2 * radius + 1), 1)[0, 0]


def _envelope(height: Tensor) -> Tensor:
    """The mean, over CLEARANCE cells around, of the highest ground within as many: above all heights, and smooth."""
    highest = height
    for axis in (0, 1):
        width = 1
        while width < 2 * CLEARANCE + 1:
            step = min(width, 2 * CLEARANCE + 1 - width)
            highest = torch.maximum(highest, highest.roll(-step, axis))
            width += step
    return _blurred(highest.roll((CLEARANCE, CLEARANCE), (0, 1)), CLEARANCE)
