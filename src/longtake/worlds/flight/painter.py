"""Pictures of a flight: rays over a height field, light, haze and water; in torch, on any device.

Every column of a picture is a ray over the land, which is walked from near to far; a pixel shows the first ground that
rises above it (the voxel-space way). What is seen there is lit afterwards, pixel by pixel.

B frames, D depths along a ray, H W rows and columns of the picture, of which a pixel takes two by two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.worlds.flight.land import Land, Noise, smooth
from longtake.worlds.flight.light import Light, stacked
from longtake.worlds.flight.sky import Sky
from longtake.worlds.flight.view import Camera, View, looked_up, on_tile, view_of, wrapped

NEAR, FAR = 3.0, 460.0  # cells
DEPTHS = 256
FAR_DETAIL = 4  # cells that are averaged far away, so that nothing flickers there
LEVELS = 5  # of averages of the height
FINEST = 32.0  # cells from which on heights are averaged, over twice as many cells at twice the distance
SOFT = 40.0  # cells on either side of a border in which one land becomes another
RIPPLES = ((0.16, 0.05), (-0.06, -0.14))  # cells a frame that two trains of waves go east and south
LEAST_WATER = 0.01


class _Maps(NamedTuple):
    """A land as it is looked up. heights: averaged over 1, 2, 4 … cells. near: its surface and the sun's horizon. far:
    the same, averaged."""

    heights: list[Tensor]
    near: Tensor
    far: Tensor


class Painter:
    """Draws one flight's lands under one sun. azimuth: of the sun, radians."""

    def __init__(self, azimuth: float, seed: int, width: int, height: int, device: torch.device) -> None:
        self._azimuth, self._device = azimuth, device
        self._columns, self._rows = 2 * width, 2 * height
        noise = Noise(seed)
        self._sky = Sky(azimuth, noise, device)
        self._grain = wrapped(noise(0.35, 60, 350)[None].to(device))
        steps = torch.linspace(0, 1, DEPTHS, device=device)
        self._depth = NEAR * (FAR / NEAR) ** (steps**0.92)
        starts = FINEST * 2.0 ** torch.arange(1, LEVELS - 1, device=device)
        self._steps = [0, *torch.searchsorted(self._depth, starts).tolist(), DEPTHS]
        self._maps: dict[Land, _Maps] = {}

    @torch.no_grad()
    def draw(
        self,
        cameras: Sequence[Camera],
        lights: Sequence[Light],
        lands: Sequence[Land],
        fronts: Sequence[float],
    ) -> Tensor:
        """Frames (B, H / 2, W / 2, 3) uint8. lands: one, or also a second, which begins `fronts` cells away."""
        view = view_of(cameras, self._columns, self._rows, self._device)
        front = torch.tensor(fronts, device=self._device)[:, None, None]
        maps = [self._maps_of(land) for land in lands]
        along = self._depth[:, None]
        height = _crossed([self._heights(view, each) for each in maps], along - front)
        depth, hit = self._hits(view, height)
        surface = _crossed([self._surface(view, depth, each) for each in maps], (depth - front)[:, None])
        picture = F.avg_pool2d(self._lit(view, stacked(lights, self._device), depth, hit, surface), 2)
        return (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)

    def _maps_of(self, land: Land) -> _Maps:
        if land not in self._maps:
            near = torch.cat([land.surface, land.horizon(self._azimuth)[None]]).to(self._device)
            far = F.avg_pool2d(near, FAR_DETAIL)
            height = land.height[None].to(self._device)
            heights = [wrapped(F.avg_pool2d(height, 2**level)) for level in range(LEVELS)]
            self._maps[land] = _Maps(heights, wrapped(near), wrapped(far))
        return self._maps[land]

    def _heights(self, view: View, maps: _Maps) -> Tensor:
        """Heights (B, D, W) along the rays, averaged over about as many cells as a step takes: none misses a crest."""
        pieces = []
        for level, (start, end) in enumerate(pairwise(self._steps)):
            depth = self._depth[start:end, None]
            fine, coarse = (
                _averaged(m, 2 ** (level + i), *view.at(depth))
                for i, m in enumerate(maps.heights[level : level + 2])
            )
            share = (torch.log2(depth / FINEST) - level).clamp(0, 1)
            pieces.append(torch.lerp(fine, coarse, share)[:, 0])
        return torch.cat(pieces, 1)

    def _hits(self, view: View, height: Tensor) -> tuple[Tensor, Tensor]:
        """How far away the ground is that a pixel shows (B, H, W), and whether it shows any."""
        row = view.horizon + (view.altitude - height) / self._depth[:, None] * view.scale
        top = row.cummin(1).values
        wanted = -view.rows[:, 0].expand(len(row), self._columns, -1).contiguous()
        first = torch.searchsorted(-top.permute(0, 2, 1).contiguous(), wanted).permute(0, 2, 1)
        last = first.clamp(1, DEPTHS - 1)
        here, before = row.gather(1, last), row.gather(1, last - 1)
        share = ((before - view.rows) / (before - here).clamp_min(1e-3)).clamp(0, 1)
        return torch.lerp(self._depth[last - 1], self._depth[last], share), first < DEPTHS

    def _surface(self, view: View, depth: Tensor, maps: _Maps) -> Tensor:
        """What a land is like (B, 7, H, W) at a distance."""
        x, y = view.at(depth)
        close = _averaged(maps.near, 1, x, y)
        inside = (
            0.5 - 0.5 / FAR_DETAIL
        )  # from the middle of the first cell to that of the first of the coarse ones
        away = looked_up(maps.far, x / FAR_DETAIL - inside, y / FAR_DETAIL - inside)
        surface = torch.lerp(close, away, smooth(depth, 60.0, 150.0)[:, None])
        grain = looked_up(self._grain, x * 5, y * 5)[:, 0]
        grain = grain * 0.09 * (1 - smooth(depth, 15.0, 70.0)) * (1 - surface[:, 5])
        surface[:, :3] *= 1 + grain[:, None]
        surface[:, 3:5] += 1.2 * grain[:, None]
        return surface

    def _lit(self, view: View, light: Light, depth: Tensor, hit: Tensor, surface: Tensor) -> Tensor:
        """The picture (B, 3, H, W) of what is seen in every pixel."""
        sky, ground = self._sky(view, light), self._shone(light, surface)
        water = surface[:, 5]
        if bool((water > LEAST_WATER).any()):
            mirrored = self._mirrored(view, light, depth, torch.where(hit[:, None], ground, sky))
            share = 0.10 + 0.80 * (1 - (-view.above).clamp(0, 1)) ** 5
            ground = torch.lerp(ground, mirrored, (share * water * (water > LEAST_WATER))[:, None])
        toward = torch.exp(-((self._sky.off(view) / 0.6) ** 2)) * light.disc
        air = light.horizon + (light.sun * 0.75 - light.horizon).clamp_min(0) * 0.35 * toward[:, None]
        thick = 1 - torch.exp(-((depth * light.haze) ** 1.35))
        thick = torch.maximum(thick, smooth(depth, FAR * 0.72, FAR))
        return _toned(torch.where(hit[:, None], torch.lerp(ground, air, thick[:, None]), sky))

    def _shone(self, light: Light, surface: Tensor) -> Tensor:
        """Ground (B, 3, H, W) in sun and shade."""
        slope_x, slope_y = surface[:, 3] * 1.15, surface[:, 4] * 1.15
        steep = torch.rsqrt(1 + slope_x**2 + slope_y**2)
        uphill = slope_x * math.cos(self._azimuth) + slope_y * math.sin(self._azimuth)
        facing = (torch.sin(light.elevation) - torch.cos(light.elevation) * uphill) * steep
        sunny = smooth(torch.tan(light.elevation) - surface[:, 6], -0.04, 0.10)
        shone = (facing.clamp_min(0) * sunny)[:, None] * light.sun + light.shade * (0.45 + 0.55 * steep)[
            :, None
        ]
        return surface[:, :3] * shone

    def _mirrored(self, view: View, light: Light, depth: Tensor, seen: Tensor) -> Tensor:
        """What calm water shows (B, 3, H, W): the picture `seen` turned over at the horizon, moved by ripples."""
        x, y = view.at(depth)
        waves = [
            looked_up(self._grain, x * 2 + on_tile(view.frame * east), y * 2 + on_tile(view.frame * south))
            for east, south in RIPPLES
        ]
        wave = torch.cat(waves, 1).mean(1) / (1 + depth / 40)
        turned = 2 * view.horizon - view.rows + wave * 5
        inside = (turned >= 0) & (turned < self._rows)
        picked = turned.clamp(0, self._rows - 1).long()[:, None].expand(-1, 3, -1, -1)
        plain = torch.lerp(light.horizon, light.zenith, smooth(-view.above + 0.12 * wave, 0.0, 0.6)[:, None])
        off = self._sky.off(view) + wave * 0.10
        tilt = torch.atan(-view.above) - light.elevation + wave * 0.25
        glint = torch.exp(-((off / 0.10) ** 2) - (tilt / 0.35) ** 2) * smooth(wave, 0.0, 0.5)
        mirrored = torch.where(inside[:, None], seen.gather(2, picked) * 0.9, plain)
        return mirrored + light.sun * (glint * light.disc)[:, None] * 1.6


def _averaged(maps: Tensor, cells: int, x: Tensor, y: Tensor) -> Tensor:
    """Values of maps that are averaged over so many cells along a side."""
    inside = 0.5 - 0.5 / cells  # from the middle of the first cell to that of the first average
    return looked_up(maps, x / cells - inside, y / cells - inside)


def _crossed(values: list[Tensor], beyond: Tensor) -> Tensor:
    """Values of one land, or of two of which the second begins where `beyond`, in cells, is 0."""
    return values[0] if len(values) == 1 else torch.lerp(values[0], values[1], smooth(beyond, -SOFT, SOFT))


def _toned(picture: Tensor) -> Tensor:
    """Light as it is shown: bright parts lose no colour at once."""
    bright = picture.clamp_min(0)
    return bright * (1 + bright * 0.16) / (1 + bright * 0.32 * bright)
