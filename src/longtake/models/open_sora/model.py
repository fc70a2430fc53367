"""The Open-Sora adapter: its network, told the size and the frame rate of a film, as a VideoModel.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from longtake.models.open_sora.caption import clean_caption
from longtake.models.open_sora.transformer import velocity
from longtake.models.t5 import T5VideoModel

PIXELS = 8  # a latent's, on either side


class OpenSoraModel(T5VideoModel):
    """An OpenSoraTransformer3DModel and its other parts as a VideoModel."""

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Tensor, fps: float
    ) -> Tensor:
        """As T5VideoModel says. The size that the network is told is that of the latents' pictures."""
        height, width = (PIXELS * side for side in latents.shape[3:])
        rate = torch.full((1,), fps, device=latents.device)
        (sample,) = network(latents, timestep, text, text.any(dim=-1), rate, height, width, return_dict=False)
        return velocity(sample)

    @staticmethod
    def clean(prompt: str) -> str:
        return clean_caption(prompt)

    @torch.no_grad()
    def encode_prompt(self, prompts: list[str]) -> Tensor:
        """The prompts as (B, L, D), zero beyond their own tokens; an empty one as the network's learned empty
        caption, all of its L tokens. OptionError for a prompt that is too long."""
        states = super().encode_prompt(prompts)
        empty = torch.tensor([not prompt for prompt in prompts], device=self.device)
        return torch.where(empty[:, None, None], self.transformer.null_caption.to(states), states)
