"""Cameras, their rays, and maps that are looked up where rays go.

B frames, W columns and H rows of a picture, N cells along a side of a map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.worlds.flight.land import TILE

FIELD = math.tan(math.radians(37))  # half the width of the view at distance 1


@dataclass(frozen=True)
class Camera:
    """Where the camera is in a frame: place in cells, heading and pitch and bank in radians, the frame's number."""

    x: float
    y: float
    altitude: float
    heading: float
    pitch: float
    bank: float
    frame: int


@dataclass(frozen=True)
class View:
    """What B cameras look at: places and frames (B, 1, 1), in float64 since flights have no end; how far a ray goes
    along x and y for a cell of distance (B, 1, W), bearings (B, 1, W), tangents of the elevation of every pixel
    (B, H, W), rows of the horizon (B, 1, W) and of pixels (H, 1). scale: pixels that a cell takes at distance 1."""

    x: Tensor
    y: Tensor
    altitude: Tensor
    ray_x: Tensor
    ray_y: Tensor
    bearing: Tensor
    above: Tensor
    horizon: Tensor
    frame: Tensor
    rows: Tensor
    scale: float

    def at(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """x and y, in some copy of the tile, of what lies at distances along the rays (B, …, W)."""
        return on_tile(self.x) + self.ray_x * depth, on_tile(self.y) + self.ray_y * depth


def view_of(cameras: Sequence[Camera], columns: int, rows: int, device: torch.device) -> View:
    """The view in a picture of so many columns and rows."""

    def each(name: str) -> Tensor:
        values = [getattr(camera, name) for camera in cameras]
        return torch.tensor(values, dtype=torch.float64, device=device)[:, None, None]

    scale = columns / (2 * FIELD)
    middle = torch.arange(columns, device=device) + 0.5 - columns / 2
    across = middle / scale
    heading = angle(each("heading")).float()
    horizon = (rows / 2 + each("pitch") * scale + torch.tan(each("bank")) * middle).float()
    numbers = (torch.arange(rows, device=device) + 0.5)[:, None]
    return View(
        x=each("x"),
        y=each("y"),
        altitude=each("altitude").float(),
        ray_x=torch.cos(heading) - across * torch.sin(heading),
        ray_y=torch.sin(heading) + across * torch.cos(heading),
        bearing=heading + torch.atan(across),
        above=(horizon - numbers) / scale,
        horizon=horizon,
        frame=each("frame"),
        rows=numbers,
        scale=scale,
    )


def wrapped(maps: Tensor) -> Tensor:
    """Maps (C, N, N), with the first row and column again behind the last: (1, C, N + 1, N + 1)."""
    return F.pad(maps[None], (0, 1, 0, 1), mode="circular")


def looked_up(maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values (B, C, …) of wrapped maps at places (B, …) in cells, between cells linearly."""
    size = maps.shape[-1] - 1
    grid = torch.stack([x, y], -1) * (1 / size)
    grid = (grid - grid.floor()) * 2 - 1
    values = F.grid_sample(maps, grid.reshape(1, len(x), -1, 2), mode="bilinear", align_corners=True)
    return values[0].transpose(0, 1).reshape(len(x), maps.shape[1], *x.shape[1:])


def sampled(field: Tensor, x: float, y: float) -> float:
    """The same for a field (N, N) at one place."""
    n = field.shape[0]
    left, top = math.floor(x), math.floor(y)
    rows, columns = [top % n, (top + 1) % n], [left % n, (left + 1) % n]
    (a, b), (c, d) = field[rows][:, columns].tolist()
    across, down = x - left, y - top
    return (a + (b - a) * across) * (1 - down) + (c + (d - c) * across) * down


def on_tile(place: Tensor) -> Tensor:
    """Places in float64, however far, as those in [0, TILE] in float32."""
    return (place % TILE).float()


def angle(difference: Tensor) -> Tensor:
    """Angles in radians, as those between -pi and pi."""
    return torch.remainder(difference + math.pi, 2 * math.pi) - math.pi
