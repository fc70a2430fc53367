"""A model whose answer is known: the exact velocity of a data set that holds one film.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class OneFilm:
    """The heart's velocity for the data set {film}; film(i) is its latent i, (C, H, W), for any integer i.

    From x = (1 - sigma) * film + sigma * noise it follows that noise - film = (x - film) / sigma. At sigma 0
    that says nothing about the noise, and the velocity is 0. Any solver whose last step is Euler's ends at
    the film.
    """

    film: Callable[[int], Tensor]

    def __call__(self, latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        film = torch.stack([self.film(first + i) for i in range(latents.shape[2])], dim=1).to(latents)
        level = sigma.view(-1, 1, 1)
        return torch.where(level > 0, (latents - film) / level.where(level > 0, 1), 0)
