"""Films that run into latents that are known: a picture, a clip, or their own beginning.

The known latents stand behind those that are made, where the film would go on, and enter the window as these do: from
the drain on the network sees them, clean. What it says of them is not asked.

B batch, C channels, F latent frames, H W latent height and width, E known latents
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from longtake.ladder import Ladder
from longtake.progressive import Window
from longtake.samplers import Sampler


@dataclass(frozen=True)
class Toward(Sampler):
    """The progressive method toward `end`, known latents (B, C, E, H, W), whole chunks.

    behind: whether they come behind the film's num_chunks, and are not made; they are the last of these otherwise, and
    come out as they are: their data are known at every level, and with these their velocity.
    """

    end_latents: Tensor | None = None
    behind: bool = False

    @classmethod
    def of(cls, how: Sampler, end: Tensor, behind: bool) -> Toward:
        """The same film, toward `end`."""
        given = {field.name: getattr(how, field.name) for field in fields(Sampler)}
        return cls(**given, end_latents=end, behind=behind)

    @property
    def known(self) -> Tensor:
        assert self.end_latents is not None
        return self.end_latents

    @property
    def end(self) -> int:
        return self.sampling.ladder(self.num_chunks).passes

    @property
    def ladder(self) -> Ladder:
        """That of the film, and of what comes behind it."""
        size = self.sampling.chunk_size
        return self.sampling.ladder(self.num_chunks + self.behind * self.known.shape[2] // size)

    def climb(self, window: Window, ladder: Ladder, start: int = 0) -> tuple[Window, Tensor | None]:
        network = self.velocity
        first_known = ladder.num_chunks * ladder.chunk_size - self.known.shape[2]

        def velocity(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
            made, count = max(0, first_known - first), latents.shape[2]
            if made >= count:
                return network(latents, sigma, first)
            place = first + made
            known = self.known[:, :, place - first_known : first + count - first_known].to(latents)
            away = (latents[:, :, made:] - known) / sigma[made:].view(-1, 1, 1)
            if not sigma[:made].any():  # nothing is left to be made
                return torch.cat([torch.zeros_like(latents[:, :, :made]), away], dim=2)
            seen = torch.cat([latents[:, :, :made], known], dim=2)
            levels = torch.cat([sigma[:made], torch.zeros_like(sigma[made:])])
            return torch.cat([network(seen, levels, first)[:, :, :made], away], dim=2)

        return Sampler.climb(replace(self, velocity=velocity), window, ladder, start)
