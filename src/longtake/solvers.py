"""Solvers: how far a pass moves every latent of a window, each at its own noise level; and what the heart is given.

A step is called as `euler` is: it is told the place of the latents in the film, takes and gives what is remembered of
each noisy one, and keeps nothing itself.

B batch, C channels, F latent frames, H W latent height and width
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor, int], Tensor]
Noise = Callable[[int], Tensor]
Memory = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensor, Tensor, Tensor, Memory, int], tuple[Tensor, Memory]]
Fresh = Callable[[int, Tensor], Tensor]


def euler(
    latents: Tensor, velocity: Tensor, sigmas: Tensor, steps: Tensor, memory: Memory, first: int
) -> tuple[Tensor, Memory]:
    """Move every latent from its own sigma to the next: x + (sigma_next - sigma) * velocity. It remembers nothing.

    latents, velocity: (B, C, F, H, W), the noisy part of the window. sigmas: (S+1,). steps: (F,), the steps that each
    latent has taken. first: the absolute index of the first latent. Computed in the precision of sigmas or better,
    returned in that of latents. In float32 one chunk is bit-equal to diffusers' FlowMatchEulerDiscreteScheduler.
    """
    gap = (sigmas[steps + 1] - sigmas[steps]).view(-1, 1, 1)
    return (latents + gap * velocity).to(latents.dtype), memory


def renoise(
    fresh: Fresh,
    latents: Tensor,
    velocity: Tensor,
    sigmas: Tensor,
    steps: Tensor,
    memory: Memory,
    first: int,
) -> tuple[Tensor, Memory]:
    """Noise the predicted data again, to the next sigma: (1 - sigma_next) * data + sigma_next * noise. It remembers
    nothing. Weights that are distilled by distribution matching or consistency are trained for it: CausVid (Yin et al.,
    arXiv 2412.07772), Self-Forcing, TurboDiffusion.

    fresh(first, rungs): pure noise (B, C, F, H, W) for the latents from the absolute index `first` on, at rungs (F,):
    the steps that each has taken after this one. The rest as for euler, precision too.
    """
    now, after = (sigmas[steps + ahead].view(-1, 1, 1) for ahead in (0, 1))
    data = latents - now * velocity
    noised = (1 - after) * data + after * fresh(first, steps + 1)
    return noised.to(latents.dtype), memory


def unipc2(
    latents: Tensor, velocity: Tensor, sigmas: Tensor, steps: Tensor, memory: Memory, first: int
) -> tuple[Tensor, Memory]:
    """UniPC of order 2 with B2(h) on the predicted data, as diffusers' UniPCMultistepScheduler takes it with its
    defaults; of order 1 at a latent's first and last step. Shapes and precision as for euler.

    It remembers, in the latents' dtype, where each latent was before its last step, the data predicted there, and that
    predicted a step earlier. Source: Zhao et al., "UniPC", arXiv 2302.04867.
    """
    before, last, earlier = memory
    end, taken = len(sigmas) - 1, steps.view(-1, 1, 1).to(sigmas.device)
    lambdas = torch.log1p(-sigmas) - sigmas.log()

    def level(table: Tensor, ahead: int) -> Tensor:
        return table[(steps + ahead).clamp(0, end)].view(-1, 1, 1)

    now, after, came = level(sigmas, 0), level(sigmas, 1), level(sigmas, -1)
    data = latents - now * velocity

    # Correct the step that led here, now that the data predicted here is known.
    h = level(lambdas, 0) - level(lambdas, -1)
    one = torch.expm1(-h)
    b0 = (one / -h - 1) / one
    b1 = 2 * ((one / -h - 1) / -h - 0.5) / one
    ratio = (level(lambdas, -2) - level(lambdas, -1)) / h
    second = taken > 1
    rho0 = torch.where(second, (b0 - b1) / (1 - ratio), 0)
    rho1 = torch.where(second, b0 - rho0, 0.5)
    bend = torch.where(second, rho0 * (earlier - last) / ratio, 0)
    moved = now / came * before - (1 - now) * one * (last + bend + rho1 * (data - last))
    x = torch.where(taken > 0, moved, latents)

    # Predict the next.
    h = level(lambdas, 1) - level(lambdas, 0)
    one = torch.expm1(-h)
    ratio = (level(lambdas, -1) - level(lambdas, 0)) / h
    bend = torch.where((taken > 0) & (taken < end - 1), (last - data) / ratio / 2, 0)
    ahead = after / now * x - (1 - after) * one * (data + bend)
    kept = latents.dtype
    return ahead.to(kept), (x.to(kept), data.to(kept), last)


class Solver(NamedTuple):
    """A step, and how many tensors it remembers of each latent."""

    step: Step
    memories: int


SOLVERS = {"euler": Solver(euler, 0), "unipc": Solver(unipc2, 3)}


def solver_of(name: str, fresh: Fresh) -> Solver:
    """A solver by its name: of SOLVERS, or "renoise", whose noise is `fresh`."""
    return Solver(partial(renoise, fresh), 0) if name == "renoise" else SOLVERS[name]
