"""The Open-Sora adapter: its network, told the size and the frame rate of a film, as a VideoModel.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from longtake.models.adapter import Adapter
from longtake.models.open_sora.caption import clean_caption
from longtake.models.open_sora.transformer import velocity
from longtake.models.t5 import T5PromptEncoder
from longtake.models.text import Text

PIXELS = 8  # a latent's, on either side


class OpenSoraPromptEncoder(T5PromptEncoder):
    """A T5 that reads captions as Open-Sora cleans them."""

    @staticmethod
    def clean(prompt: str) -> str:
        return clean_caption(prompt)


class OpenSoraModel(Adapter):
    """An OpenSoraTransformer3DModel and its other parts as a VideoModel."""

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Adapter says. The size that the network is told is that of the latents' pictures."""
        height, width = (PIXELS * side for side in latents.shape[3:])
        rate = torch.full((1,), fps, device=latents.device)
        told = (text.zero_padded(), text.mask, rate, height, width)
        (sample,) = network(latents, timestep, *told, return_dict=False)
        return velocity(sample)

    @torch.no_grad()
    def encode_prompt(self, prompts: list[str], negative: bool = False) -> Text:
        """The prompts as text; an empty one as the network's learned empty caption, all of its L tokens. OptionError
        for a prompt that is too long."""
        text = super().encode_prompt(prompts, negative)
        empty = torch.tensor([not prompt for prompt in prompts], device=self.device)
        null = Text.of_zero_padded(self.transformer.null_caption.to(text.states)[None])
        return Text.where(empty, null.expand(len(text)), text)
