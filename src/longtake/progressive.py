"""Progressive autoregressive denoising: a window, one pass over it, and the film as a stream of finished chunks.

It knows nothing of networks, prompts, schedules or pixels; the rule that it follows is Ladder's.
Source: Xie et al., "Progressive Autoregressive Video Diffusion Models" (PA-VDM), arXiv 2410.08151.

B batch, C channels, F latent frames, H W latent height and width
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from longtake.ladder import Ladder
from longtake.solvers import Memory, Noise, Step, Velocity, euler


@dataclass(frozen=True)
class Window:
    """All that a film remembers between two passes: kept, it is the film stopped; advanced twice, films that branch.

    t: passes made. clean: context (B, C, F, H, W), sigma 0. noisy: whole chunks (B, C, F, H, W), the oldest first.
    memory: what the solver keeps of every noisy latent, (B, C, F, H, W) each. Before the first pass nothing is noisy: a
    film from noise alone begins as Window(0, nothing, nothing), tensors of no latents.
    """

    t: int
    clean: Tensor
    noisy: Tensor
    memory: Memory = ()


@torch.no_grad()
def advance(
    window: Window, ladder: Ladder, sigmas: Tensor, velocity: Velocity, noise: Noise, solver: Step = euler
) -> tuple[Window, Tensor | None]:
    """One pass: the window after it, and the chunk (B, C, chunk, H, W) that it has made clean, if it has made one.

    sigmas: (S+1,), falling strictly from the level at which chunks enter, 1 or less, to 0, on the latents' device.
    velocity(latents, sigma, first): the network. latents (B, C, F, H, W): the window, context included. sigma (F,): the
        noise level of each latent in it, 0 for context. first: the absolute index of its first latent, negative in a
        given context. Returns noise - data, of the latents' shape.
    noise(k): chunk k at level sigmas[0], pure noise where that is 1, (B, C, chunk, H, W), asked before the pass at
        which it enters. Its dtype is kept.
    """
    t, size, clean, film = window.t, ladder.chunk_size, window.clean, (window.noisy, *window.memory)
    if (k := ladder.enters(t)) is not None:
        entering = noise(k)
        film = tuple(torch.cat([x, entering], dim=2) for x in film)

    steps, num_clean = torch.tensor(ladder.steps(t)), clean.shape[2]
    sigma = torch.cat([sigmas.new_zeros(num_clean), sigmas[steps]])
    first = ladder.chunks(t).start * size
    v = velocity(torch.cat([clean, film[0]], dim=2), sigma, first - num_clean)
    noisy, memory = solver(film[0], v[:, :, num_clean:], sigmas, steps, film[1:], first)

    if not ladder.leaves(t):
        return Window(t + 1, clean, noisy, memory), None
    chunk = noisy[:, :, :size].clone()
    clean = torch.cat([clean, chunk], dim=2)
    clean = clean[:, :, max(0, clean.shape[2] - ladder.context_size) :]
    return Window(t + 1, clean, noisy[:, :, size:], tuple(x[:, :, size:] for x in memory)), chunk


def progressive_denoise(
    window: Window, ladder: Ladder, sigmas: Tensor, velocity: Velocity, noise: Noise, solver: Step = euler
) -> Iterator[tuple[Tensor, Window]]:
    """Every chunk (B, C, chunk, H, W) as soon as it is clean, with the window from which the film goes on."""
    while window.t < ladder.passes:
        window, chunk = advance(window, ladder, sigmas, velocity, noise, solver)
        if chunk is not None:
            yield chunk, window
