"""The batch of a training step: a function of the options and the step, cut into pieces for processes.

B batch, C channels, F latent frames, H W latent height and width
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from longtake.models.base import ModelDefaults
from longtake.models.text import Text
from longtake.training.loss import Shares, Velocity, Window, draw_places, draw_window, levels, roughen_context
from longtake.training.options import KINDS, RunOptions

OWN_CONTEXT_SIGMA = 0.5  # the most noise that the model is given to make its own context from


class Footage(Protocol):
    """What is trained on; `sampling`: what the result is to be filmed with, at the film's own size and rate."""

    sampling: ModelDefaults

    @property
    def null_text(self) -> Text:
        """The empty prompt, one row, float32."""
        ...

    def batch(
        self, window: Window, batch: int, generator: torch.Generator, caption_drop: float
    ) -> tuple[Tensor, Text]:
        """Latents (B, C, F, H, W) for the window and their text, float32, drawn with the generator."""
        ...


@dataclass(frozen=True)
class Batch:
    """Clean latents (B, C, F, H, W) with their text, places on the ladder and their levels (B, F), and noise
    (B, C, F, H, W).

    own: None, or the levels (B,) from which the model is to make its context itself.
    """

    window: Window
    latents: Tensor
    text: Text
    place: Tensor
    sigma: Tensor
    noise: Tensor
    own: Tensor | None

    @property
    def num_noisy(self) -> int:
        """The latent frames that count for the loss."""
        return int((self.sigma > 0).sum())

    def pieces(self, count: int) -> list[Batch]:
        """The batch in `count` pieces of nearly the same size."""
        cut = {name: tensor.tensor_split(count) for name, tensor in self._tensors().items()}
        return [self._with({name: parts[i] for name, parts in cut.items()}) for i in range(count)]

    def to(self, device: torch.device) -> Batch:
        return self._with({name: tensor.to(device) for name, tensor in self._tensors().items()})

    def _tensors(self) -> dict[str, Tensor | Text]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor | Text)}

    def _with(self, tensors: dict[str, Any]) -> Batch:
        return replace(self, **tensors)


def window_of(generator: torch.Generator, options: RunOptions, sampling: ModelDefaults) -> Window:
    """Draw the window of a step. sampling: the settings of the result."""
    shares = Shares(**{kind: getattr(options, kind) for kind in KINDS})
    windows = options.windows(sampling)
    seen = windows[0]
    if len(windows) > 1:  # where there is no choice nothing is drawn, and runs of before go on
        seen = windows[int(torch.randint(len(windows), (), generator=generator))]
    return draw_window(generator, seen, shares, options.jitter, options.context_share)


def draw_batch(film: Footage, options: RunOptions, sigmas: Tensor, step: int) -> Batch:
    """The batch of a step, the same in every process. sigmas: the sampler's table (S+1,)."""
    generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
    window = window_of(generator, options, film.sampling)
    place = draw_places(window, options.batch_size, len(sigmas) - 1, generator)
    latents, text = film.batch(window, options.batch_size, generator, options.caption_drop)
    noise = torch.randn(latents.shape, generator=generator)
    own = None
    if window.context and torch.rand((), generator=generator) < options.own_context:
        own = OWN_CONTEXT_SIGMA * torch.rand(options.batch_size, generator=generator)
    else:
        latents = roughen_context(latents, window.context, options.context_noise, generator)
    return Batch(window, latents, text, place, levels(place, sigmas), noise, own)


@torch.no_grad()
def with_own_context(model: Velocity, batch: Batch) -> Batch:
    """The batch, its context replaced by what the model makes of it, noised, in one pass."""
    if batch.own is None:
        return batch
    context = batch.window.context
    level = batch.own.view(-1, 1, 1, 1, 1)
    head, tail = batch.latents[:, :, :context], batch.latents[:, :, context:]
    noisy = (1 - level) * head + level * batch.noise[:, :, :context]
    velocity = model(noisy, batch.own[:, None].expand(-1, context), batch.text.of_latents(context))
    return replace(batch, latents=torch.cat([noisy - level * velocity.float(), tail], dim=2))
