"""Networks that are fed one of the discrete timesteps they were trained with, and not a noise level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def nearest_timestep(sigma: Tensor, levels: Sequence[float]) -> Tensor:
    """The timesteps whose noise levels are nearest to flow sigmas of any shape: whole numbers from 0, in float32.

    levels: the flow sigma of each timestep, rising, such as schedules.cogvideox_levels(3.0).
    """
    table = torch.tensor(levels, dtype=torch.float64, device=sigma.device)
    return torch.bucketize(sigma.double(), (table[1:] + table[:-1]) / 2).float()
