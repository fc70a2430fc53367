"""Noise levels, and noise by place: a function of the film's seed, the latent frame's index and its rung alone.

So a film does not depend on the batch it is made in, on previews or on interruptions.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from longtake.errors import OptionError
from longtake.models.base import ModelDefaults
from longtake.schedules import SCHEDULES, levels_of


def latent_noise(seed: int, index: int, shape: tuple[int, int, int], rung: int = 0) -> Tensor:
    """Standard normal noise (C, H, W), float32 on the CPU, for latent `index` (0 or more) of the film `seed`.

    rung: the steps that the latent has taken when it is noised again; 0 for what it is made of. Drawn from Philox, a
    counter-based generator (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3"): the seed is its key, index
    and rung the two highest words of its counter, so that each pair of them has 2^128 blocks to itself. Raises
    OptionError for a seed outside 0 to 2^64 - 1.
    """
    if not 0 <= seed < 2**64:
        raise OptionError(f"seed must lie in 0 to 2^64 - 1, got {seed}")
    assert index >= 0 and rung >= 0, "latents before the film are given, not drawn"
    stream = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, rung, index]))
    return torch.from_numpy(stream.standard_normal(shape, dtype=np.float32))


def chunk_noise(seeds: Sequence[int], first: int, chunk_size: int, shape: tuple[int, int, int]) -> Tensor:
    """The noise (B, C, chunk_size, H, W) of latents first, first + 1, …; a film a seed. shape: (C, H, W)."""
    indices = range(first, first + chunk_size)
    return torch.stack(
        [torch.stack([latent_noise(seed, i, shape) for i in indices], dim=1) for seed in seeds]
    )


def sigma_table(num_inference_steps: int, shift: float, schedule: str = "flow") -> Tensor:
    """The noise levels (S+1,), float32, down to 0, of a key of SCHEDULES: "flow" has even u, from 1, warped to
    shift * u / (1 + (shift - 1) * u).

    That is taken from diffusers' FlowMatchEulerDiscreteScheduler. Shift 1 leaves them even; larger ones stay noisy
    longer. Raises OptionError unless num_inference_steps is 1 or more and shift positive.
    """
    if num_inference_steps < 1:
        raise OptionError(f"num_inference_steps must be at least 1, got {num_inference_steps}")
    if not 0 < shift < float("inf"):
        raise OptionError(f"shift must be a positive number, got {shift}")
    if schedule != "flow":
        return torch.tensor([*SCHEDULES[schedule].levels(num_inference_steps, shift), 0.0])
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / num_inference_steps, num_inference_steps))
    return scheduler.sigmas


def film_table(settings: ModelDefaults, schedule: str) -> Tensor:
    """The noise levels (S+1,), float32, down to 0, of films by these settings: their own or those of the schedule."""
    if settings.sigmas is None:
        return sigma_table(settings.num_inference_steps, settings.shift, schedule)
    return torch.tensor([*levels_of(settings, schedule), 0.0])


def tail(sigmas: Tensor, strength: float, num_steps: int) -> Tensor:
    """The end of a table, (num_steps + 1,): from noise level `strength` on to the table's own levels below it.

    num_steps: those that schedules.steps_from counts.
    """
    return torch.cat([sigmas.new_tensor([strength]), sigmas[len(sigmas) - num_steps :]])


def check_table(sigmas: Tensor, first: float = 1) -> None:
    """OptionError unless noise levels (S+1,) fall strictly from `first` to 0."""
    if sigmas.ndim != 1 or len(sigmas) < 2 or not (sigmas.diff() < 0).all():
        raise OptionError(f"sigmas must be one row of numbers that falls at every step, got {sigmas}")
    if abs(sigmas[0] - first) > 1e-5 or sigmas[-1] != 0:
        raise OptionError(f"sigmas must fall from {first:g} to 0, got {sigmas[0]:g} to {sigmas[-1]:g}")
