"""Times of day and weathers, as light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from longtake.worlds.flight.land import colour
from longtake.worlds.flight.scene import Scene

COLOURS = ("zenith", "horizon", "sun", "shade")


@dataclass(frozen=True)
class Light:
    """What a time of day and a weather do to a picture. Of one moment: colours (3,) and numbers (), or of B moments:
    colours (B, 3, 1, 1) and numbers (B, 1, 1).

    zenith, horizon: the sky's colours. sun: of the sun, or the moon. shade: what reaches a place that it does not
    shine on. elevation: of the sun, in radians. haze: the part of light that is lost on a cell. clouds, stars, disc:
    how much of the sky's clouds, of its stars and of the sun itself is seen, 0 to 1.
    """

    zenith: Tensor
    horizon: Tensor
    sun: Tensor
    shade: Tensor
    elevation: Tensor
    haze: Tensor
    clouds: Tensor
    stars: Tensor
    disc: Tensor

    def named(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def mixed(parts: Sequence[tuple[Scene, float]]) -> Light:
    """The light of a mixture of scenes; their shares sum to 1."""
    lights = [(light_of(scene.time, scene.weather).named(), share) for scene, share in parts]
    return Light(**{name: torch.stack([one[name] * w for one, w in lights]).sum(0) for name in lights[0][0]})


def stacked(lights: Sequence[Light], device: torch.device) -> Light:
    """The lights of B moments as one."""
    both = {name: torch.stack([one.named()[name] for one in lights]).to(device) for name in lights[0].named()}
    return Light(
        **{
            name: value[:, :, None, None] if name in COLOURS else value[:, None, None]
            for name, value in both.items()
        }
    )


def light_of(time: str, weather: str) -> Light:
    """The light of a time of day in a weather, values of the attributes of a scene."""
    return _WEATHERS[weather](TIMES[time])


def _light(
    zenith: Tensor,
    horizon: Tensor,
    sun: Tensor,
    shade: Tensor,
    elevation: float,
    sight: float,
    stars: float,
    disc: float,
) -> Light:
    """Under a clear sky. sight: cells from which 1 / e of the light is left."""
    numbers = (elevation, 1 / sight, 0.0, stars, disc)
    return Light(zenith, horizon, sun, shade, *map(torch.tensor, numbers))


TIMES = {
    "dawn": _light(
        colour(0.36, 0.50, 0.80),
        colour(1.0, 0.80, 0.72),
        colour(1.30, 0.92, 0.66),
        colour(0.38, 0.41, 0.54),
        elevation=0.22,
        sight=310,
        stars=0,
        disc=0.9,
    ),
    "noon": _light(
        colour(0.16, 0.38, 0.80),
        colour(0.70, 0.84, 0.97),
        colour(1.10, 1.04, 0.95),
        colour(0.40, 0.45, 0.55),
        elevation=0.85,
        sight=350,
        stars=0,
        disc=0.8,
    ),
    "sunset": _light(
        colour(0.26, 0.27, 0.55),
        colour(1.0, 0.58, 0.30),
        colour(1.50, 0.75, 0.32),
        colour(0.38, 0.30, 0.38),
        elevation=0.14,
        sight=330,
        stars=0,
        disc=1.0,
    ),
    "dusk": _light(
        colour(0.07, 0.09, 0.28),
        colour(0.46, 0.32, 0.52),
        colour(0.55, 0.45, 0.75),
        colour(0.25, 0.25, 0.41),
        elevation=0.30,
        sight=310,
        stars=0.35,
        disc=0.2,
    ),
    "night": _light(
        colour(0.03, 0.05, 0.16),
        colour(0.15, 0.22, 0.42),
        colour(0.66, 0.80, 1.10),
        colour(0.16, 0.21, 0.37),
        elevation=0.55,
        sight=330,
        stars=0.9,
        disc=0.9,
    ),
}


def _cloudy(plain: Light) -> Light:
    grey = plain.horizon.mean().expand(3)
    return replace(
        plain,
        zenith=torch.lerp(plain.zenith, grey * 0.8, 0.35),
        horizon=torch.lerp(plain.horizon, grey, 0.25),
        sun=plain.sun * 0.5,
        shade=torch.lerp(plain.shade, plain.shade.mean().expand(3), 0.4) * 1.2,
        clouds=torch.tensor(0.62),
        stars=plain.stars * 0.3,
        disc=plain.disc * 0.45,
    )


def _foggy(plain: Light) -> Light:
    grey = plain.horizon.mean().expand(3)
    mist = torch.lerp(plain.horizon, grey * 1.05, 0.45)
    return replace(
        plain,
        zenith=torch.lerp(plain.zenith, mist, 0.75),
        horizon=mist,
        sun=plain.sun * 0.5,
        shade=plain.shade * 1.2,
        haze=torch.tensor(1 / 150),
        stars=torch.tensor(0.0),
        disc=plain.disc * 0.12,
    )


_WEATHERS = {"clear": lambda plain: plain, "cloudy": _cloudy, "foggy": _foggy}
