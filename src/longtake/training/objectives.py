"""What a run of the trainer learns: the batch of a step, and how far the network's velocity is from its target.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from longtake.models.adapter import TIMESTEPS
from longtake.models.load import adapter, read_spec
from longtake.models.places import Model
from longtake.models.prediction import AS_VELOCITY
from longtake.models.text import Text
from longtake.noise import film_table
from longtake.training.batches import Batch, Footage, draw_batch, with_own_context
from longtake.training.loss import Velocity, frame_errors, least_sigma, self_guided
from longtake.training.options import TrainOptions


class Objective(Protocol):
    """What a run learns. Each process calls the network equally often for its piece of a batch, as sharding needs."""

    @property
    def claims(self) -> Mapping[str, Any]:
        """What it follows from besides the run's options, its film and weights, as JSON values."""
        ...

    def draw(self, step: int) -> Batch:
        """The batch of a step, on the CPU, the same in every process."""
        ...

    def errors(self, velocity: Velocity, piece: Batch) -> tuple[Tensor, Tensor]:
        """The mean squared error in each latent frame of a piece of the batch (B, F), whose gradient is the network's,
        and which of them count."""
        ...


class Denoising:
    """Film: the velocity from data to noise, as guidance makes it, on windows that sampling passes through."""

    def __init__(self, model: Model, film: Footage, options: TrainOptions, device: torch.device) -> None:
        self.film, self.options = film, options
        self.claims: Mapping[str, Any] = {}
        self.null_text = film.null_text.to(device)
        spec = read_spec(model)
        self.sigmas = film_table(film.sampling, spec.schedule)
        self.least = least_sigma(spec.prediction, self.sigmas)

    def draw(self, step: int) -> Batch:
        return draw_batch(self.film, self.options, self.sigmas, step)

    def errors(self, velocity: Velocity, piece: Batch) -> tuple[Tensor, Tensor]:
        piece = with_own_context(velocity, piece)
        if self.options.guidance > 1:
            velocity = self_guided(velocity, piece.text.emptied(self.null_text), self.options.guidance)
        return frame_errors(velocity, piece.latents, piece.text, piece.sigma, piece.noise, self.least)


def velocity_of(
    network: Any, class_name: str, prediction: str, fps: float, device: torch.device, bf16: bool
) -> Velocity:
    """A network, whose class is or wraps `class_name`, as the loss calls it, whatever it predicts; timesteps stay
    float32."""
    call, as_velocity = adapter(class_name).network_velocity, AS_VELOCITY[prediction]

    def velocity(latents: Tensor, sigma: Tensor, text: Text) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            predicted = call(network, latents, sigma * TIMESTEPS, text, fps)
        return as_velocity(predicted, latents, sigma)

    return velocity
