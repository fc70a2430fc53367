"""Progressive autoregressive denoising: the whole method, as one generator.

It knows nothing of networks, prompts, schedulers or pixels, and imports torch alone.
Source: Xie et al., "Progressive Autoregressive Video Diffusion Models" (PA-VDM), arXiv 2410.08151.
docs/algorithm.md explains it.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from collections.abc import Callable, Generator

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor, int], Tensor]
Solver = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]


def euler_step(latents: Tensor, velocity: Tensor, sigmas: Tensor, steps: Tensor, first: int) -> Tensor:
    """Move every latent from its own sigma to the next: x + (sigma_next - sigma) * velocity.

    latents, velocity: (B, C, F, H, W), the noisy part of the window. sigmas: (S+1,). steps: (F,), the steps
    that each latent has taken. first: absolute index of the first latent, for solvers with a history; unused.
    Computed in the precision of sigmas or better, returned in that of latents. In float32 one chunk is
    bit-equal to diffusers' FlowMatchEulerDiscreteScheduler.
    """
    gap = (sigmas[steps + 1] - sigmas[steps]).view(-1, 1, 1)
    return (latents + gap * velocity).to(latents.dtype)


@torch.no_grad()
def progressive_denoise(
    velocity: Velocity,
    noise: Callable[[int], Tensor],
    sigmas: Tensor,
    num_chunks: int,
    steps_per_chunk: int,
    context: Tensor | None = None,
    context_size: int = 0,
    *,
    solver: Solver = euler_step,
) -> Generator[Tensor, None, None]:
    """Denoise `num_chunks` chunks of latents, yielding each (B, C, chunk, H, W) as soon as it is clean.

    With S = len(sigmas) - 1 and M = steps_per_chunk: at pass t, chunk k has taken t - k * M of its S steps,
    and is in the window while that number lies in [0, S). Start-up and drain are this rule too. N chunks take
    (N - 1) * M + S passes.

    velocity(latents, sigma, first): the network. latents (B, C, F, H, W): the window, context included. sigma
        (F,): the noise level of each latent in it, 0 for context, in the dtype of sigmas. first: the absolute
        index of its first latent, negative in a given context. Returns noise - data, of the latents' shape.
    noise(k): chunk k as pure noise (B, C, chunk, H, W), asked once for each k, in order. Its dtype is kept.
    sigmas: (S+1,) float32, falling strictly from 1 to 0.
    steps_per_chunk: passes between two finished chunks, 1 to S; need not divide S.
    context: clean latents (B, C, any F, H, W) that come before the film. None starts from noise alone.
    context_size: at most so many finished latents stay, clean, at the head of the window.
    solver: called as euler_step; one of higher order is an object that keys its history by `first`.

    Raises ValueError, at the first `next`, for arguments outside these ranges.
    """
    _check(sigmas, num_chunks, steps_per_chunk, context, context_size)
    S, M = len(sigmas) - 1, steps_per_chunk
    noisy = noise(0)
    sigmas = sigmas.to(noisy.device)
    chunk_size = noisy.shape[2]
    clean = noisy[:, :, :0] if context is None else _last(context.to(noisy), context_size)

    for t in range((num_chunks - 1) * M + S):
        if t % M == 0 and 0 < t // M < num_chunks:
            noisy = torch.cat([noisy, noise(t // M)], dim=2)
        oldest, newest = max(0, (t - S) // M + 1), min(t // M, num_chunks - 1)
        steps = (t - M * torch.arange(oldest, newest + 1)).repeat_interleave(chunk_size)
        first, num_clean = oldest * chunk_size, clean.shape[2]

        sigma = torch.cat([sigmas.new_zeros(num_clean), sigmas[steps]])
        v = velocity(torch.cat([clean, noisy], dim=2), sigma, first - num_clean)
        noisy = solver(noisy, v[:, :, num_clean:], sigmas, steps, first)

        if t - oldest * M == S - 1:
            chunk, noisy = noisy[:, :, :chunk_size].clone(), noisy[:, :, chunk_size:]
            clean = _last(torch.cat([clean, chunk], dim=2), context_size)
            yield chunk


def _last(latents: Tensor, count: int) -> Tensor:
    return latents[:, :, max(0, latents.shape[2] - count) :]


def _check(
    sigmas: Tensor, num_chunks: int, steps_per_chunk: int, context: Tensor | None, context_size: int
) -> None:
    if sigmas.ndim != 1 or len(sigmas) < 2 or not (sigmas.diff() < 0).all():
        raise ValueError(f"sigmas must be one row of numbers that falls at every step, got {sigmas}")
    if abs(sigmas[0] - 1) > 1e-5 or sigmas[-1] != 0:
        raise ValueError(f"sigmas must fall from 1 to 0, got {sigmas[0]:g} to {sigmas[-1]:g}")
    if num_chunks < 1:
        raise ValueError(f"num_chunks must be at least 1, got {num_chunks}")
    if not 1 <= steps_per_chunk < len(sigmas):
        raise ValueError(f"steps_per_chunk must lie in 1 to S, here {len(sigmas) - 1}; got {steps_per_chunk}")
    least, given = (0, "no context") if context is None else (1, "a context")
    if context_size < least:
        raise ValueError(f"context_size must be at least {least} with {given}, got {context_size}")
