"""How large the state of a half-made film is, from configurations alone: no weights are loaded, nothing is filmed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from longtake.models.base import num_bytes, stored
from longtake.models.codecs import new_decoder

if TYPE_CHECKING:
    from longtake.options import FilmPlan

PUSHED = 64  # latents, more than the decoders look back
FLOAT = 4  # the bytes of a number of a latent


@dataclass(frozen=True)
class StateSize:
    """The bytes of a state at most, solver Euler's: of the window, of what the decoder remembers, of what of that is
    kept in a file, and of the pictures of a second, the most that are made and in no whole second of the file yet."""

    window: int
    decoder: int
    kept: int
    pictures: int

    @property
    def in_file(self) -> int:
        return self.window + self.kept + self.pictures


def state_size(film: FilmPlan, vae: torch.nn.Module) -> StateSize:
    """The size of a film's states. vae: its model's, on the meta device, where tensors have a shape and no numbers."""
    channels, height, width = film.latent_shape
    length, settings = film.length, film.settings
    with torch.device("meta"):
        decoder = new_decoder(vae)
        for _ in range(min(PUSHED, length.given_latents + length.num_latent_frames)):
            decoder.push(torch.empty(1, channels, 1, height, width))
    state = decoder.state()
    return StateSize(
        film.cost.peak_window * channels * height * width * FLOAT,
        num_bytes(state),
        num_bytes(stored(state)),
        round(film.rate) * settings.width * settings.height * 3,
    )
