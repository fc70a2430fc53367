"""Films for tests of the heart, from arguments rather than from windows and ladders."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from longtake.ladder import Ladder
from longtake.progressive import Window, progressive_denoise
from longtake.solvers import SOLVERS, Solver

EULER = SOLVERS["euler"]


def chunks_of(
    velocity: Callable[[Tensor, Tensor, int], Tensor],
    noise: Callable[[int], Tensor],
    sigmas: Tensor,
    num_chunks: int,
    steps_per_chunk: int,
    context: Tensor | None = None,
    context_size: int = 0,
    *,
    solver: Solver = EULER,
) -> Iterator[Tensor]:
    """The chunks of a film that begins behind the last of `context`; noise(k) is asked when chunk k enters."""
    first = noise(0)
    ladder = Ladder(len(sigmas) - 1, steps_per_chunk, first.shape[2], num_chunks, context_size)
    start = (
        first[:, :, :0]
        if context is None
        else context.to(first)[:, :, max(0, context.shape[2] - context_size) :]
    )
    nothing = first[:, :, :0]
    window = Window(0, start, nothing, (nothing,) * solver.memories)
    film = progressive_denoise(
        window, ladder, sigmas, velocity, lambda k: noise(k) if k else first, solver.step
    )
    return (chunk for chunk, _ in film)


def nothing_of(shape: tuple[int, int, int], batch: int = 1) -> Tensor:
    """No latents (B, C, 0, H, W) of a shape (C, H, W)."""
    return torch.empty(batch, shape[0], 0, *shape[1:])
