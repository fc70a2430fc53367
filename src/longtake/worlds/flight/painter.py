"""Pictures of a flight: rays over a height field, light, haze, water and sky; in torch, on any device.

Every column of a picture is a ray over the land, which is walked from near to far; a pixel shows the first ground that
rises above it (the voxel-space way). What is seen there is lit afterwards, pixel by pixel.

B frames, D depths along a ray, H W rows and columns of the picture, supersampled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.worlds.flight.land import TILE, Land, Noise, mix, smooth

NEAR, FAR = 3.0, 460.0  # cells
FIELD = math.tan(math.radians(37))  # half the width of the view at distance 1
FAR_DETAIL = 4  # cells that are averaged far away, so that nothing flickers there
RIPPLES = 256


@dataclass(frozen=True)
class Light:
    """What a time of day and a weather do to a picture: colours of the sky overhead and at the horizon, of the sun (or
    moon) and of the shade; the sun's elevation in radians; haze per cell; shares of clouds, of stars, of a clear sun."""

    zenith: Tensor
    horizon: Tensor
    sun: Tensor
    shade: Tensor
    elevation: float
    haze: float
    clouds: float
    stars: float
    disc: float


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


class Painter:
    """Draws one flight's lands under one sun. azimuth: of the sun, radians."""

    def __init__(
        self, azimuth: float, seed: int, width: int, height: int, device: torch.device | str = "cpu", depths: int = 168
    ) -> None:
        self._azimuth, self._device = azimuth, torch.device(device)
        self._width, self._height = width, height
        self._columns, self._rows = 2 * width, 2 * height
        noise = Noise(seed)
        self._clouds = (noise(1.55, 3, 200)).to(device)
        self._detail = noise(0.35, 60, 350).to(device)
        self._stars = (noise(0.0, 100, 400) > 3.9).float()
        self._stars = (F.avg_pool2d(self._stars[None, None], 3, 1, 1)[0, 0] * 5).clamp(0, 1).to(device)
        steps = torch.linspace(0, 1, depths)
        self._depth = (NEAR * (FAR / NEAR) ** (steps**0.92)).to(device)
        self._maps: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    @property
    def _scale(self) -> float:
        """Pixels that a cell takes at distance 1."""
        return self._columns / (2 * FIELD)

    @torch.no_grad()
    def draw(self, cameras: list[Camera], lights: list[Light], land: Land, other: Land | None = None, front: list[float] | None = None) -> Tensor:
        """Frames (B, height, width, 3) uint8. other: a land that begins `front` cells away from each camera."""
        view = self._view(cameras)
        height = self._heights(view, land)
        share = None
        if other is not None and front is not None:
            border = torch.tensor(front, device=self._device)[:, None, None]
            share = smooth(self._depth[None, :, None] - border, -40.0, 40.0)
            height = height + (self._heights(view, other) - height) * share
        depth, hit = self._hits(view, height)
        surface = self._surface(view, depth, land)
        if other is not None and front is not None:
            share = smooth(depth - torch.tensor(front, device=self._device)[:, None, None], -40.0, 40.0)
            surface = surface + (self._surface(view, depth, other) - surface) * share[:, None]
        picture = self._lit(view, lights, depth, hit, surface)
        picture = F.avg_pool2d(picture, 2)
        return (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)

    def _view(self, cameras: list[Camera]) -> _View:
        def column(name: str) -> Tensor:
            return torch.tensor([getattr(c, name) for c in cameras], dtype=torch.float64, device=self._device)

        across = ((torch.arange(self._columns, device=self._device) + 0.5) / self._columns * 2 - 1) * FIELD
        heading = column("heading")[:, None]
        middle = self._rows / 2 + column("pitch")[:, None] * self._scale
        columns = torch.arange(self._columns, device=self._device) - self._columns / 2
        return _View(
            x=column("x"),
            y=column("y"),
            altitude=column("altitude").float(),
            ray_x=(torch.cos(heading) - across * torch.sin(heading)),
            ray_y=(torch.sin(heading) + across * torch.cos(heading)),
            bearing=(heading + torch.atan(across)).float(),
            horizon=(middle + torch.tan(column("bank"))[:, None] * columns).float(),
            frame=column("frame").float(),
        )

    def _maps_of(self, land: Land) -> tuple[Tensor, Tensor, Tensor]:
        """A land's heights, its surface with the sun's horizon, and the same averaged for far away."""
        if id(land) not in self._maps:
            near = torch.cat([land.surface, land.horizon(self._azimuth)[None]])[None]
            far = F.avg_pool2d(near, FAR_DETAIL)
            self._maps[id(land)] = tuple(_wrapped(m.to(self._device)) for m in (land.height[None, None], near, far))  # type: ignore[assignment]
        return self._maps[id(land)]

    def _heights(self, view: _View, land: Land) -> Tensor:
        """Heights (B, D, W) along the rays."""
        x = view.x[:, None, None] + view.ray_x[:, None] * self._depth[:, None]
        y = view.y[:, None, None] + view.ray_y[:, None] * self._depth[:, None]
        return _sampled(self._maps_of(land)[0], x, y, TILE)[:, 0]

    def _hits(self, view: _View, height: Tensor) -> tuple[Tensor, Tensor]:
        """How far away the ground is that a pixel shows (B, H, W), and whether it shows any."""
        row = view.horizon[:, None] + (view.altitude[:, None, None] - height) / self._depth[:, None] * self._scale
        top = row.cummin(1).values
        rows = torch.arange(self._rows, device=self._device) + 0.5
        sorted_tops = -top.permute(0, 2, 1).contiguous()
        wanted = -rows.expand(len(row), self._columns, -1).contiguous()
        first = torch.searchsorted(sorted_tops, wanted).permute(0, 2, 1)
        hit = first < len(self._depth)
        last = first.clamp(1, len(self._depth) - 1)
        here, before = row.gather(1, last), row.gather(1, last - 1)
        share = ((before - rows[:, None]) / (before - here).clamp_min(1e-3)).clamp(0, 1)
        near, far = self._depth[last - 1], self._depth[last]
        return near + (far - near) * share, hit

    def _surface(self, view: _View, depth: Tensor, land: Land) -> Tensor:
        """What a land is like (B, 7, H, W) at a distance."""
        _, near, far = self._maps_of(land)
        x = view.x[:, None, None] + view.ray_x[:, None] * depth
        y = view.y[:, None, None] + view.ray_y[:, None] * depth
        blend = smooth(depth, 60.0, 150.0)[:, None]
        close = _sampled(near, x, y, TILE)
        away = _sampled(far, x / FAR_DETAIL - 0.5 + 0.5 / FAR_DETAIL, y / FAR_DETAIL - 0.5 + 0.5 / FAR_DETAIL, TILE // FAR_DETAIL)
        surface = close + (away - close) * blend
        grain = _sampled(_wrapped(self._detail[None, None]), x * 5, y * 5, TILE)[:, 0]
        grain = grain * 0.09 * (1 - smooth(depth, 15.0, 70.0)) * (1 - surface[:, 5])
        surface[:, :3] *= 1 + grain[:, None]
        surface[:, 3:5] += 1.2 * grain[:, None]
        return surface

    def _lit(self, view: _View, lights: list[Light], depth: Tensor, hit: Tensor, surface: Tensor) -> Tensor:
        """The picture (B, 3, H, W), not yet averaged."""
        light = _Lights(lights, self._device)
        rows = torch.arange(self._rows, device=self._device)[:, None] + 0.5
        above = (view.horizon[:, None] - rows) / self._scale  # tangent of the elevation, in every pixel
        sky = self._sky(view, light, above, view.bearing[:, None].expand(-1, self._rows, -1))

        elevation = light.elevation[:, None, None]
        slope_x, slope_y = surface[:, 3] * 1.15, surface[:, 4] * 1.15
        steep = torch.rsqrt(1 + slope_x**2 + slope_y**2)
        level = torch.cos(elevation)
        facing = (torch.sin(elevation) - level * (slope_x * math.cos(self._azimuth) + slope_y * math.sin(self._azimuth))) * steep
        sunny = smooth(torch.tan(elevation) - surface[:, 6], -0.04, 0.10)
        shone = (facing.clamp_min(0) * sunny)[:, None] * light.sun + light.shade * (0.45 + 0.55 * steep)[:, None]
        ground = surface[:, :3] * shone

        water = surface[:, 5]
        if bool((water > 0.01).any()):
            mirrored = self._mirrored(view, light, above, depth, sky, ground, hit)
            glance = (-above).clamp(0.0, 1.0)
            share = (0.10 + 0.80 * (1 - glance).clamp_min(0) ** 5) * water
            ground = ground + (mirrored - ground) * share[:, None]

        off = _angle(view.bearing - self._azimuth)[:, None, None]
        toward = torch.exp(-((off / 0.6) ** 2)) * light.disc[:, None, None, None]
        air = light.horizon + (light.sun * 0.75 - light.horizon).clamp_min(0) * 0.35 * toward
        thick = 1 - torch.exp(-((depth * light.haze[:, None, None]) ** 1.35))
        thick = torch.maximum(thick, smooth(depth, FAR * 0.72, FAR))[:, None]
        ground = ground + (air - ground) * thick
        return _toned(torch.where(hit[:, None], ground, sky))

    def _sky(self, view: _View, light: _Lights, above: Tensor, bearing: Tensor) -> Tensor:
        """The sky (B, 3, H, W) in directions: tangents of elevation, and bearings."""
        up = smooth(above, -0.02, 0.55)[:, None]
        sky = light.horizon + (light.zenith - light.horizon) * up.sqrt()
        off = _angle(bearing - self._azimuth)
        distance = torch.hypot(off, (torch.atan(above) - light.elevation[:, None, None]))
        glow = torch.exp(-distance / 0.22) * 0.55 + torch.exp(-distance / 0.05) * 0.35
        disc = smooth(-distance, -0.050, -0.036)
        shine = (light.disc[:, None, None] * (glow + disc))[:, None]
        stars = _sampled(_wrapped(self._stars[None, None]), bearing * 260, above * 260 + 300, TILE)
        sky = sky + stars * light.stars[:, None, None, None] * smooth(above, 0.02, 0.2)[:, None]
        sky = sky + light.sun.clamp_max(1.1) * shine
        if bool((light.clouds > 0.01).any()):
            reach = 40 / above.clamp_min(0.03)
            wind = view.frame[:, None, None] * 0.12
            x = view.x[:, None, None] * 0.5 + wind + torch.cos(bearing) * reach
            y = view.y[:, None, None] * 0.5 + torch.sin(bearing) * reach
            cloud = _sampled(_wrapped(self._clouds[None, None]), x, y, TILE)
            cover = light.clouds[:, None, None, None]
            dense = smooth(cloud + 2.2 * cover - 1.2, -0.25, 0.95) * smooth(above, 0.015, 0.14)[:, None] * (cover > 0.01)
            bright = light.horizon * 0.62 + light.sun * (0.30 + 0.35 * shine.clamp(0, 1))
            dark = light.horizon * 0.45 + light.zenith * 0.35
            sky = sky + (bright + (dark - bright) * smooth(cloud, 0.3, 2.2) * 0.8 - sky) * dense * 0.92
        return sky

    def _mirrored(self, view: _View, light: _Lights, above: Tensor, depth: Tensor, sky: Tensor, ground: Tensor, hit: Tensor) -> Tensor:
        """What calm water shows (B, 3, H, W): the picture turned over at the horizon, moved by ripples."""
        x = view.x[:, None, None] + view.ray_x[:, None] * depth
        y = view.y[:, None, None] + view.ray_y[:, None] * depth
        time = view.frame[:, None, None]
        one = _sampled(_wrapped(self._detail[None, None]), x * 2 + time * 0.16, y * 2 + time * 0.05, TILE)[:, 0]
        two = _sampled(_wrapped(self._detail[None, None]), x * 2 - time * 0.06 + 300, y * 2 - time * 0.14, TILE)[:, 0]
        calm = 1 / (1 + depth / 40)
        wave = (one + two) * 0.5 * calm
        rows = torch.arange(self._rows, device=self._device)[:, None] + 0.5
        turned = 2 * view.horizon[:, None] - rows + wave * 5
        inside = (turned >= 0) & (turned < self._rows)
        picked = turned.clamp(0, self._rows - 1).long()[:, None].expand(-1, 3, -1, -1)
        seen = torch.where(hit[:, None], ground, sky).gather(2, picked)
        plain = light.horizon + (light.zenith - light.horizon) * smooth(-above + 0.12 * wave, 0.0, 0.6)[:, None]
        off = _angle(view.bearing - self._azimuth)[:, None].expand(-1, self._rows, -1) + wave * 0.10
        tilt = torch.atan(-above) - light.elevation[:, None, None] + wave * 0.25
        glint = torch.exp(-((off / 0.10) ** 2) - (tilt / 0.35) ** 2) * smooth(wave, 0.0, 0.5)
        mirrored = torch.where(inside[:, None], seen * 0.9, plain)
        return mirrored + light.sun * (glint * light.disc[:, None, None])[:, None] * 1.6


class _Lights:
    """The lights of B frames: colours (B, 3, 1, 1), numbers (B,)."""

    def __init__(self, lights: list[Light], device: torch.device) -> None:
        for name in ("zenith", "horizon", "sun", "shade"):
            setattr(self, name, torch.stack([getattr(light, name) for light in lights]).to(device)[:, :, None, None])
        for name in ("elevation", "haze", "clouds", "stars", "disc"):
            setattr(self, name, torch.tensor([getattr(light, name) for light in lights], device=device))


@dataclass(frozen=True)
class _View:
    """B cameras: places (B,), rays (B, W), bearings (B, W), rows of the horizon (B, W)."""

    x: Tensor
    y: Tensor
    altitude: Tensor
    ray_x: Tensor
    ray_y: Tensor
    bearing: Tensor
    horizon: Tensor
    frame: Tensor


def _wrapped(maps: Tensor) -> Tensor:
    """Maps (1, C, n, n), with the first row and column again behind the last."""
    return F.pad(maps, (0, 1, 0, 1), mode="circular")


def _sampled(maps: Tensor, x: Tensor, y: Tensor, size: int) -> Tensor:
    """Values (B, C, …) of wrapped maps (1, C, n + 1, n + 1) at places (B, …) in cells, between cells linearly."""
    grid = torch.stack([(x % size) / size * 2 - 1, (y % size) / size * 2 - 1], -1).float()
    return F.grid_sample(maps, grid.reshape(1, len(x), -1, 2), mode="bilinear", align_corners=True)[0].transpose(0, 1).reshape(len(x), maps.shape[1], *x.shape[1:])


def _angle(difference: Tensor) -> Tensor:
    """Angles in radians, as those between -pi and pi."""
    return torch.remainder(difference + math.pi, 2 * math.pi) - math.pi


def _toned(picture: Tensor) -> Tensor:
    """Light as it is shown: bright parts lose no colour at once."""
    bright = picture.clamp_min(0)
    return bright * (1 + bright * 0.16) / (1 + bright * 0.32 * bright)


def sampled(field: Tensor, x: float, y: float) -> float:
    """A field (n, n) at a place in cells, between cells linearly."""
    n = field.shape[0]
    left, top = math.floor(x), math.floor(y)
    right_share, low_share = x - left, y - top
    corners = field[torch.tensor([top, top, top + 1, top + 1]) % n, torch.tensor([left, left + 1, left, left + 1]) % n].tolist()
    above = corners[0] + (corners[1] - corners[0]) * right_share
    below = corners[2] + (corners[3] - corners[2]) * right_share
    return above + (below - above) * low_share
