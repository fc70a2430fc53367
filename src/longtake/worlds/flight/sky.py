"""The sky of a flight: sun, stars and clouds that the wind moves.

B frames, H W rows and columns of the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.worlds.flight.land import Noise, smooth
from longtake.worlds.flight.light import Light
from longtake.worlds.flight.view import View, angle, looked_up, on_tile, wrapped

SKY_HEIGHT = 40  # of the clouds, in cells of their map
WIND = 0.12  # such cells a frame
LEAST_CLOUDS = 0.01


class Sky:
    """A flight's sky. azimuth: of the sun, in radians."""

    def __init__(self, azimuth: float, noise: Noise, device: torch.device) -> None:
        self._azimuth = azimuth
        self._clouds = wrapped(noise(1.55, 3, 200)[None].to(device))
        points = (noise(0.0, 100, 400) - 3.4).clamp_min(0)
        self._stars = wrapped((F.avg_pool2d(points[None], 3, 1, 1) * 12).clamp(0, 1).to(device))

    def __call__(self, view: View, light: Light) -> Tensor:
        """What is seen (B, 3, H, W) where there is no ground."""
        above, bearing = view.above, view.bearing.expand_as(view.above)
        sky = torch.lerp(light.horizon, light.zenith, smooth(above, -0.02, 0.55).sqrt()[:, None])
        stars = looked_up(self._stars, bearing * 260, above * 260 + 300)[:, 0]
        sky = sky + (stars * light.stars * smooth(above, 0.02, 0.2))[:, None]
        shine = (light.disc * self._sun(view, light))[:, None]
        sky = sky + light.sun.clamp_max(1.1) * shine
        if bool((light.clouds > LEAST_CLOUDS).any()):
            sky = self._clouded(sky, shine, view, light)
        return sky

    def off(self, view: View) -> Tensor:
        """How far from the sun the columns (B, 1, W) look, in radians."""
        return angle(view.bearing - self._azimuth)

    def _sun(self, view: View, light: Light) -> Tensor:
        """The sun and what shines around it (B, H, W)."""
        distance = torch.hypot(self.off(view), torch.atan(view.above) - light.elevation)
        glow = torch.exp(-distance / 0.22) * 0.55 + torch.exp(-distance / 0.05) * 0.35
        return glow + smooth(-distance, -0.050, -0.036)

    def _clouded(self, sky: Tensor, shine: Tensor, view: View, light: Light) -> Tensor:
        reach = SKY_HEIGHT / view.above.clamp_min(0.03)
        x = on_tile(view.x * 0.5 + view.frame * WIND) + torch.cos(view.bearing) * reach
        y = on_tile(view.y * 0.5) + torch.sin(view.bearing) * reach
        cloud = looked_up(self._clouds, x, y)
        cover = light.clouds[:, None]
        dense = smooth(cloud + 2.2 * cover - 1.2, -0.25, 0.95) * smooth(view.above, 0.015, 0.14)[:, None]
        bright = light.horizon * 0.62 + light.sun * (0.30 + 0.35 * shine.clamp(0, 1))
        dark = light.horizon * 0.45 + light.zenith * 0.35
        colour = torch.lerp(bright, dark, smooth(cloud, 0.3, 2.2) * 0.8)
        return torch.lerp(sky, colour, dense * (cover > LEAST_CLOUDS) * 0.92)
