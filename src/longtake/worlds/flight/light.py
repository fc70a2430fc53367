"""Times of day and weathers, as light."""

from __future__ import annotations

from dataclasses import replace

import torch

from longtake.worlds.flight.land import colour
from longtake.worlds.flight.painter import Light

TIMES = {
    "dawn": Light(colour(0.36, 0.50, 0.80), colour(1.0, 0.80, 0.72), colour(1.30, 0.92, 0.66), colour(0.38, 0.41, 0.54), 0.22, 1 / 310, 0, 0, 0.9),
    "noon": Light(colour(0.16, 0.38, 0.80), colour(0.70, 0.84, 0.97), colour(1.10, 1.04, 0.95), colour(0.40, 0.45, 0.55), 0.85, 1 / 350, 0, 0, 0.8),
    "sunset": Light(colour(0.26, 0.27, 0.55), colour(1.0, 0.58, 0.30), colour(1.50, 0.75, 0.32), colour(0.38, 0.30, 0.38), 0.14, 1 / 330, 0, 0, 1.0),
    "dusk": Light(colour(0.07, 0.09, 0.28), colour(0.46, 0.32, 0.52), colour(0.55, 0.45, 0.75), colour(0.25, 0.25, 0.41), 0.30, 1 / 310, 0, 0.35, 0.2),
    "night": Light(colour(0.02, 0.03, 0.11), colour(0.11, 0.16, 0.32), colour(0.50, 0.60, 0.85), colour(0.11, 0.15, 0.28), 0.55, 1 / 330, 0, 0.9, 0.9),
}


def light(time: str, weather: str) -> Light:
    """The light of a time of day in a weather."""
    plain = TIMES[time]
    grey = plain.horizon.mean() * torch.ones(3)
    if weather == "cloudy":
        return replace(
            plain,
            zenith=plain.zenith + (grey * 0.8 - plain.zenith) * 0.35,
            horizon=plain.horizon + (grey - plain.horizon) * 0.25,
            sun=plain.sun * 0.72,
            shade=plain.shade * 1.05,
            clouds=0.62,
            stars=plain.stars * 0.3,
            disc=plain.disc * 0.45,
        )
    if weather == "foggy":
        mist = plain.horizon + (grey * 1.05 - plain.horizon) * 0.45
        return replace(
            plain,
            zenith=plain.zenith + (mist - plain.zenith) * 0.75,
            horizon=mist,
            sun=plain.sun * 0.5,
            shade=plain.shade * 1.2,
            haze=1 / 115,
            stars=0.0,
            disc=plain.disc * 0.12,
        )
    return plain
