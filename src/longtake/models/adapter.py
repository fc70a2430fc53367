"""What all models have in common: all but what their network is told.

B batch, C channels, F latent frames, H W latent height and width
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from longtake.finite import require_finite
from longtake.models.base import Decoder, Encoder, ModelSpec
from longtake.models.card.kernels import refuse_caches
from longtake.models.codecs import new_decoder, new_encoder
from longtake.models.prediction import AS_VELOCITY
from longtake.models.text import PromptEncoder, Text

TIMESTEPS = 1000


class Adapter(ABC):
    """A network, a text encoder and an autoencoder as a VideoModel.

    A kind of network says by `prepared` and `network_velocity` how it is used; training uses it so too. `asks_mask`:
    how much of the text it is shown goes by the numbers of the mask.
    """

    asks_mask: ClassVar[bool] = False

    def __init__(self, spec: ModelSpec, text_encoder: PromptEncoder, transformer: Any, vae: Any) -> None:
        """Raises ModelError for a network that caches what it computes from step to step."""
        refuse_caches(transformer)
        self.spec = spec
        self.text_encoder = text_encoder
        self.transformer = self.prepared(transformer)
        self.vae = vae

    @staticmethod
    def prepared(transformer: Any) -> Any:
        """The network, made to take a timestep for each latent frame, in place."""
        return transformer

    @staticmethod
    def trimmed(transformer: Any) -> Any:
        """The network without the layers that films never run, in place: for filming, not for what is saved."""
        return transformer

    @staticmethod
    @abstractmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """noise - data (B, C, F, H, W) by one call of a prepared network, or of what wraps it; where spec.prediction
        says so, what AS_VELOCITY makes that of.

        latents (B, C, F, H, W), timestep (B, F) from 1000, noise, to 0, clean, float32. text: B rows, a text a latent
        frame only where spec.text_per_latent says so.
        """

    @property
    def networks(self) -> list[Any]:
        """What is called: the transformer, or those that it is made of, one after the other."""
        return [self.transformer]

    @property
    def device(self) -> torch.device:
        return self.vae.device

    @property
    def dtype(self) -> torch.dtype:
        return self.transformer.dtype

    @torch.no_grad()
    def encode_prompt(self, prompts: list[str], negative: bool = False) -> Text:
        """The prompts, or negative ones, as text, one a row. Raises OptionError for a prompt of more tokens than
        spec.max_prompt_tokens, NumberError for states that are not finite."""
        for prompt in prompts:
            self.text_encoder.check_length(prompt)
        encode = self.text_encoder.encode_negative if negative else self.text_encoder.encode
        text = encode([self.clean(prompt) for prompt in prompts]).to(self.device)
        for tensor in (text.zero_padded(), text.pooled):
            if tensor is not None:
                require_finite(tensor, "what the text encoder makes of the prompt")
        return text

    def clean(self, prompt: str) -> str:
        """The prompt as the text encoder is to see it."""
        return self.text_encoder.clean(prompt)

    def unknown_words(self, prompt: str) -> list[str]:
        """The words that the text encoder cannot tell from one another, in order, each once."""
        return self.text_encoder.unknown_words(prompt)

    @torch.no_grad()
    def velocity(self, latents: Tensor, sigma: Tensor, text: Text, fps: float | None = None) -> Tensor:
        """noise - data, shaped like latents (B, C, F, H, W) and of their dtype.

        sigma: (F,) or (B, F), 1 noise to 0 clean. text: B rows. fps: the film's frame rate, None the model's own.
        Timesteps are float32 whatever the weights are: bfloat16 would be off by up to 2 of 1000.
        """
        timestep = (sigma.float() * TIMESTEPS).expand(latents.shape[0], -1)
        predicted = self.network_velocity(
            self.transformer,
            latents.to(self.dtype),
            timestep,
            text.to(dtype=self.dtype),
            self.spec.defaults.fps if fps is None else fps,
        )
        level = timestep.to(latents.device) / TIMESTEPS
        return AS_VELOCITY[self.spec.prediction](predicted, latents, level).to(latents.dtype)

    def decoder(self) -> Decoder:
        return new_decoder(self.vae)

    def encoder(self) -> Encoder:
        return new_encoder(self.vae)


def blocks_see_frames(transformer: Any, blocks: Iterable[nn.Module], block_class: type[nn.Module]) -> None:
    """Turn blocks, in place, into those of a class whose tokens are (B, F, P, D) and whose modulation is one a frame;
    so is the last one of the network, between `norm_out` and `proj_out`."""
    for block in blocks:
        block.__class__ = block_class
    transformer.norm_out.register_forward_hook(_frames_last)
    transformer.proj_out.register_forward_pre_hook(_frames_first)


def _frames_last(module: nn.Module, args: tuple[Tensor, ...], tokens: Tensor) -> Tensor:
    """A view (P, B, F, D) of (B, F, P, D), to which the last shift and scale, (B, F, D), broadcast."""
    return tokens.permute(2, 0, 1, 3)


def _frames_first(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The tokens (B, F * P, D) of (P, B, F, D)."""
    return (args[0].permute(1, 2, 0, 3).flatten(1, 2),)
