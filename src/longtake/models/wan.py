"""The Wan adapter: diffusers' WanTransformer3DModel with a timestep for each latent frame.

Stock Wan takes a timestep a clip, (B,), or a timestep a token, (B, tokens); the latter holds a modulation of
(tokens, 6, D) in every block. A window of unequal noise levels needs one a frame: `per_frame_timesteps` makes
the network take (B, F), hold (F, 6, D), and broadcast it over each frame's tokens. The weights, their names
and the results stay what they were.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D network or text width
"""

from __future__ import annotations

import html
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers import transformer_wan
from torch import Tensor, nn

from longtake.errors import OptionError
from longtake.models.base import Decoder, Encoder, ModelSpec
from longtake.models.codecs import new_decoder, new_encoder

TIMESTEPS = 1000


class WanTransformerBlock(transformer_wan.WanTransformerBlock):
    """Wan's block with one modulation a frame. It keeps the name by which diffusers finds a Wan's blocks."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        rotary_emb: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Tokens (B, F * P, D) or (B, F, P, D), P a frame, and temb (B, F, 6, D), to tokens (B, F, P, D).

        A modulation for the whole clip, (B, 6, D), counts as F = 1, one for each token as P = 1: both work as
        before.
        """
        if temb.ndim == 3:
            temb = temb.unsqueeze(1)
        x = hidden_states.reshape(*temb.shape[:2], -1, hidden_states.shape[-1])
        shift, scale, gate, ff_shift, ff_scale, ff_gate = (
            (self.scale_shift_table + temb.float()).unsqueeze(2).unbind(3)
        )

        y = (self.norm1(x.float()) * (1 + scale) + shift).type_as(x)
        x = (x.float() + self.attn1(y.flatten(1, 2), None, None, rotary_emb).view_as(x) * gate).type_as(x)
        y = self.norm2(x.float()).type_as(x)
        x = x + self.attn2(y.flatten(1, 2), encoder_hidden_states, None, None).view_as(x)
        y = (self.norm3(x.float()) * (1 + ff_scale) + ff_shift).type_as(x)
        return (x.float() + self.ffn(y).float() * ff_gate).type_as(x)


def per_frame_timesteps(transformer: WanTransformer3DModel) -> WanTransformer3DModel:
    """Make a Wan transformer, in place, take `timestep` (B, F), one for each latent frame; returns it.

    Call it before anything else hooks into the model; twice is as once. Gradients, gradient checkpointing,
    state dict and saving are untouched. Its result equals that of stock Wan with each frame's timestep
    repeated over its tokens, bit for bit but for the rounding of the timestep embedding: a product of F rows,
    not F * P.
    """
    if isinstance(transformer.blocks[0], WanTransformerBlock):
        return transformer
    assert transformer.config.patch_size[0] == 1, "a token must belong to one latent frame"
    for block in transformer.blocks:
        block.__class__ = WanTransformerBlock
    transformer.norm_out.register_forward_hook(_frames_last)
    transformer.proj_out.register_forward_pre_hook(_frames_first)
    return transformer


def _frames_last(module: nn.Module, args: tuple[Tensor, ...], tokens: Tensor) -> Tensor:
    """A view (P, B, F, D) of (B, F, P, D), to which the last shift and scale, (B, F, D), broadcast."""
    return tokens.permute(2, 0, 1, 3)


def _frames_first(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The tokens (B, F * P, D) of (P, B, F, D)."""
    return (args[0].permute(1, 2, 0, 3).flatten(1, 2),)


class WanModel:
    """A Wan transformer, a T5 text encoder with its tokenizer, and an autoencoder, as a VideoModel.

    The transformer is given per-frame timesteps in place. All parts must lie on one device.
    """

    def __init__(
        self, spec: ModelSpec, tokenizer: Any, text_encoder: Any, transformer: WanTransformer3DModel, vae: Any
    ) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self.text_encoder = text_encoder
        self.transformer = per_frame_timesteps(transformer)
        self.vae = vae

    @property
    def device(self) -> torch.device:
        return self.text_encoder.device

    @property
    def dtype(self) -> torch.dtype:
        return self.transformer.dtype

    @torch.no_grad()
    def encode_prompt(self, prompts: list[str]) -> Tensor:
        """The prompts as (B, L, D), L = spec.max_prompt_tokens, zero beyond their own tokens: as WanPipeline.

        Raises OptionError for a prompt of more tokens than that.
        """
        texts = [_clean(prompt) for prompt in prompts]
        for text in texts:
            self._check_length(text)
        tokens = self.tokenizer(
            texts, padding="max_length", max_length=self.spec.max_prompt_tokens, return_tensors="pt"
        ).to(self.device)
        states = self.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return states.masked_fill(tokens.attention_mask.unsqueeze(-1) == 0, 0)

    def unknown_words(self, prompt: str) -> list[str]:
        """The words that the tokenizer has no token for, in order, each once; the network never sees them."""
        text = _clean(prompt)
        tokens = self.tokenizer(text, return_offsets_mapping=True, verbose=False)
        unknown = [
            text[start:end]
            for token, (start, end) in zip(tokens.input_ids, tokens.offset_mapping, strict=True)
            if token == self.tokenizer.unk_token_id
        ]
        return list(dict.fromkeys(word for word in unknown if any(map(str.isalnum, word))))

    @torch.no_grad()
    def velocity(self, latents: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        """noise - data, shaped like latents (B, C, F, H, W) and of their dtype.

        sigma: (F,) or (B, F), 1 noise to 0 clean. text: (B, L, D). Timesteps are float32 whatever the weights
        are: bfloat16 would be off by up to 2 of 1000.
        """
        timestep = (sigma.float() * TIMESTEPS).expand(latents.shape[0], -1)
        (velocity,) = self.transformer(
            latents.to(self.dtype), timestep, text.to(self.dtype), return_dict=False
        )
        return velocity.to(latents.dtype)

    def decoder(self) -> Decoder:
        return new_decoder(self.vae)

    def encoder(self) -> Encoder:
        return new_encoder(self.vae)

    def _check_length(self, text: str) -> None:
        limit = self.spec.max_prompt_tokens
        length = len(self.tokenizer(text, verbose=False).input_ids)
        if length > limit:
            kept = self.tokenizer(text, truncation=True, max_length=limit, return_offsets_mapping=True)
            used = text[: max(end for _, end in kept.offset_mapping)]
            raise OptionError(
                f"the prompt is {length} tokens long, {self.spec.name} takes {limit}: only its first"
                f' {len(used)} of {len(text)} characters would be used, up to "…{used[-30:]}"; shorten it'
            )


def _clean(prompt: str) -> str:
    """The prompt as WanPipeline cleans it: HTML entities resolved, white space collapsed."""
    return " ".join(html.unescape(html.unescape(prompt)).split())
