"""What a sampler is: the progressive method, of which the others are made; and what they do with latents.

B batch, C channels, F latent frames, H W latent height and width
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from longtake.errors import OptionError
from longtake.ladder import Ladder
from longtake.plan import Sampling
from longtake.progressive import Window, advance
from longtake.solvers import Fresh, Solver, Velocity, solver_of

Noise = Callable[[int, int], Tensor]
Reencode = Callable[[Tensor], Tensor]

# Where a finished latent is noised again, its noise is that of the place so far ahead, which no film reaches. The
# noise that it was made of will not do: the two are alike, and would add up where they should mix.
AGAIN = 2**40


@dataclass(frozen=True)
class Sampler:
    """A film of `num_chunks` chunks, of sampling.chunk_size latents each, by the progressive method: the heart.

    A clip for a chunk makes it replacement ("RN" in PA-VDM, arXiv 2410.08151, §4), and half a window behind the other
    half, chunk by chunk.

    velocity: as for `advance`; `first` is negative for latents that come before the film.
    noise(first, count): the latents first, first + 1, … (B, C, count, H, W) as they enter, a function of the index: of
        level sigmas[0], pure noise where that is 1.
    sigmas: (S+1,) float32, falling strictly from 1 or less to 0, on the latents' device, S being
        sampling.num_inference_steps.
    fresh(first, rungs): pure noise of these places for what is noised again, as for `renoise`; rung 0 is the noise that
        a latent is made of.
    reencode: what a chunk goes through, frames and back, before it becomes context, if sampling says so.
    """

    sampling: Sampling
    velocity: Velocity
    noise: Noise
    sigmas: Tensor
    num_chunks: int
    fresh: Fresh
    reencode: Reencode | None = None

    @property
    def solver(self) -> Solver:
        return solver_of(self.sampling.solver, self.fresh)

    @property
    def ladder(self) -> Ladder:
        return self.sampling.ladder(self.num_chunks)

    @property
    def end(self) -> int:
        """The window's t when the film is whole."""
        return self.ladder.passes

    @property
    def open_until(self) -> int:
        """The last t at which the window is that of a longer film too: it drains from there on, or is whole."""
        return self.num_chunks * self.sampling.steps_per_chunk

    def begin(self, context: Tensor | None = None) -> Window:
        """The window before the first pass. context: clean latents (B, C, any F, H, W) that come before the film.
        OptionError for a context that nothing would see."""
        latents, size = self.noise(0, self.sampling.chunk_size), self.sampling.context_size
        if context is None:
            context = latents[:, :, :0]
        elif size == 0:
            raise OptionError("context_size must be at least 1 with a context, got 0")
        return behind(last(context.to(latents), size), self.solver.memories)

    def advance(self, window: Window) -> tuple[Window, Tensor | None]:
        """The window a pass later, and the chunk (B, C, chunk_size, H, W) that is finished with it, if one is."""
        return self.climb(window, self.ladder)

    def climb(self, window: Window, ladder: Ladder, start: int = 0) -> tuple[Window, Tensor | None]:
        """A pass of the heart over a ladder whose first chunk is chunk `start` of the film."""
        size, step = self.sampling.chunk_size, self.solver.step
        return advance(
            window,
            ladder,
            self.sigmas,
            lambda latents, sigma, first: self.velocity(latents, sigma, start * size + first),
            lambda k: self.noise((start + k) * size, size),
            lambda x, v, sigmas, steps, memory, first: step(
                x, v, sigmas, steps, memory, start * size + first
            ),
        )

    def again(self, first: int, count: int) -> Tensor:
        """The pure noise (B, C, count, H, W) with which latents first, first + 1, … are noised once they are made."""
        return self.fresh(AGAIN + first, torch.zeros(count, dtype=torch.long))


def noised(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Latents (B, C, F, H, W) brought to levels sigma (F,)."""
    level = sigma.view(-1, 1, 1)
    return ((1 - level) * clean + level * noise).to(clean.dtype)


def behind(context: Tensor, memories: int = 0) -> Window:
    """The window, before its first pass, of a film behind clean latents (B, C, F, H, W)."""
    nothing = context[:, :, :0]
    return Window(0, context, nothing, (nothing,) * memories)


def last(latents: Tensor, count: int) -> Tensor:
    """The last of latents (B, C, F, H, W), so many or all."""
    return latents[:, :, max(0, latents.shape[2] - count) :]
