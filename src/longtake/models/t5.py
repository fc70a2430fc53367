"""What models that read prompts with a T5 have in common: all but what their network is told.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from longtake.errors import OptionError
from longtake.finite import require_finite
from longtake.models.base import Decoder, Encoder, ModelSpec
from longtake.models.codecs import new_decoder, new_encoder
from longtake.models.prediction import AS_VELOCITY

TIMESTEPS = 1000


class T5VideoModel(ABC):
    """A network, a T5 or UMT5 with its tokenizer, and an autoencoder, all on one device, as a VideoModel.

    A kind of network says by `prepared` and `network_velocity` how it is used; training uses it so too.
    """

    def __init__(
        self, spec: ModelSpec, tokenizer: Any, text_encoder: Any, transformer: Any, vae: Any
    ) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self.text_encoder = text_encoder
        self.transformer = self.prepared(transformer)
        self.vae = vae

    @staticmethod
    def prepared(transformer: Any) -> Any:
        """The network, made to take a timestep for each latent frame, in place."""
        return transformer

    @staticmethod
    @abstractmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Tensor, fps: float
    ) -> Tensor:
        """noise - data (B, C, F, H, W) by one call of a prepared network, or of what wraps it.

        latents (B, C, F, H, W), timestep (B, F) from 1000, noise, to 0, clean. text (B, L, D), where a row of
        zeros is no token, or (B, F, L, D) where spec.text_per_latent says so.
        """

    @staticmethod
    def clean(prompt: str) -> str:
        """The prompt as the tokenizer is to see it: HTML entities resolved, white space collapsed."""
        return " ".join(html.unescape(html.unescape(prompt)).split())

    @property
    def device(self) -> torch.device:
        return self.text_encoder.device

    @property
    def dtype(self) -> torch.dtype:
        return self.transformer.dtype

    @torch.no_grad()
    def encode_prompt(self, prompts: list[str]) -> Tensor:
        """The prompts as (B, L, D), L = spec.max_prompt_tokens, zero beyond their own tokens.

        Raises OptionError for a prompt of more tokens than that, NumberError for states that are not finite.
        """
        texts = [self.clean(prompt) for prompt in prompts]
        for text in texts:
            check_length(text, self.tokenizer, self.spec)
        tokens = self.tokenizer(
            texts, padding="max_length", max_length=self.spec.max_prompt_tokens, return_tensors="pt"
        ).to(self.device)
        states = self.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        states = states.masked_fill(tokens.attention_mask.unsqueeze(-1) == 0, 0)
        return require_finite(states, "what the text encoder makes of the prompt")

    def unknown_words(self, prompt: str) -> list[str]:
        """The words that the tokenizer has no token for, in order, each once; the network never sees them."""
        text = self.clean(prompt)
        tokens = self.tokenizer(text, return_offsets_mapping=True, verbose=False)
        unknown = [
            text[start:end]
            for token, (start, end) in zip(tokens.input_ids, tokens.offset_mapping, strict=True)
            if token == self.tokenizer.unk_token_id
        ]
        return list(dict.fromkeys(word for word in unknown if any(map(str.isalnum, word))))

    @torch.no_grad()
    def velocity(self, latents: Tensor, sigma: Tensor, text: Tensor, fps: float | None = None) -> Tensor:
        """noise - data, shaped like latents (B, C, F, H, W) and of their dtype.

        sigma: (F,) or (B, F), 1 noise to 0 clean. text: (B, L, D). fps: the film's frame rate, None the model's
        own. Timesteps are float32 whatever the weights are: bfloat16 would be off by up to 2 of 1000.
        """
        timestep = (sigma.float() * TIMESTEPS).expand(latents.shape[0], -1)
        predicted = self.network_velocity(
            self.transformer,
            latents.to(self.dtype),
            timestep,
            text.to(self.dtype),
            self.spec.defaults.fps if fps is None else fps,
        )
        level = timestep.to(latents.device) / TIMESTEPS
        return AS_VELOCITY[self.spec.prediction](predicted, latents, level).to(latents.dtype)

    def decoder(self) -> Decoder:
        return new_decoder(self.vae)

    def encoder(self) -> Encoder:
        return new_encoder(self.vae)


def check_length(text: str, tokenizer: Any, spec: ModelSpec) -> None:
    """OptionError for a text, cleaned as a prompt is, of more tokens than a model takes."""
    limit = spec.max_prompt_tokens
    length = len(tokenizer(text, verbose=False).input_ids)
    if length > limit:
        kept = tokenizer(text, truncation=True, max_length=limit, return_offsets_mapping=True)
        used = text[: max(end for _, end in kept.offset_mapping)]
        raise OptionError(
            f"the prompt is {length} tokens long, {spec.name} takes {limit}: only its first"
            f' {len(used)} of {len(text)} characters would be used, up to "…{used[-30:]}"; shorten it'
        )
