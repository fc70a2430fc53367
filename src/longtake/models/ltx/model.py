"""The LTX-Video adapter: diffusers' LTXVideoTransformer3DModel with a timestep for each latent frame.

Stock LTX takes a timestep a clip, (B,), or a token, (B, tokens), and holds the modulation of every token,
(tokens, 6, D). Here it takes (B, F), holds (F, 6, D), and broadcasts it over each frame's tokens, as the Wan adapter
does; a text a frame works as it does there.

Time is told in seconds: latent f of a window lies 8 f / fps behind its first one. Attention sees differences alone, so
a window may begin anywhere. The first latent of a film, which is one frame, is placed as any other.

B batch, C channels, F latent frames, H W latent height and width, P tokens a frame, L text tokens, D network or text
width, G texts a row: 1, or F
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.transformers import transformer_ltx
from torch import Tensor, nn

from longtake.models.adapter import Adapter, blocks_see_frames
from longtake.models.text import Text

FRAMES, PIXELS = 8, 32  # of a latent
UNSEEN = -10000.0  # diffusers' bias of tokens that are not attended to


class LTXVideoTransformerBlock(transformer_ltx.LTXVideoTransformerBlock):
    """LTX's block with one modulation a frame, and one text a frame where it is given so. It keeps the name by which
    diffusers finds an LTX's blocks."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        encoder_attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Tokens (B, F * P, D) or (B, F, P, D), P a frame, and temb (B, F, 6 * D), to tokens (B, F, P, D).

        A modulation for the whole clip counts as F = 1, one for each token as P = 1: both work as before. Text states
        (B, G * L, D), their bias (B, G, L).
        """
        x = in_frames(hidden_states, temb)
        shift, scale, gate, ff_shift, ff_scale, ff_gate = modulation(self.scale_shift_table, temb)
        y = self.norm1(x) * (1 + scale) + shift
        x = x + self.attn1(y.flatten(1, 2), None, image_rotary_emb=image_rotary_emb).view_as(x) * gate
        x = x + self.attn2(*asking(x, encoder_hidden_states, encoder_attention_mask)).view_as(x)
        y = self.norm2(x) * (1 + ff_scale) + ff_shift
        return x + self.ff(y) * ff_gate


def in_frames(tokens: Tensor, temb: Tensor) -> Tensor:
    """Tokens (B, F * P, D) as (B, F, P, D), with as many frames as there are modulations (B, F, …)."""
    return tokens.unflatten(1, (temb.shape[1], -1)) if tokens.ndim == 3 else tokens


def modulation(table: Tensor, temb: Tensor) -> tuple[Tensor, ...]:
    """The rows of a layer's table (n, D), moved by temb (B, F, n * D): n tensors (B, F, 1, D)."""
    return (table + temb.unflatten(2, (len(table), -1))).unsqueeze(3).unbind(2)


def asking(x: Tensor, text: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """What attends to text: tokens (B, F, P, D) by frames where each has its own, else all at once; the text
    (B, G * L, D) and its bias (B, G, L) alike."""
    if bias is None or bias.shape[1] == 1:
        return x.flatten(1, 2), text, bias
    return x.flatten(0, 1), text.unflatten(1, (x.shape[1], -1)).flatten(0, 1), bias.flatten(0, 1).unsqueeze(1)


def per_frame_timesteps(transformer: Any, block_class: type[nn.Module] = LTXVideoTransformerBlock) -> Any:
    """Make an LTX transformer, in place, take `timestep` (B, F), one for each latent frame; returns it.

    Call it before anything else hooks into the model; twice is as once. Gradients, gradient checkpointing, state dict
    and saving are untouched. Its result equals that of stock LTX with each frame's timestep repeated over its tokens,
    but for the rounding of the timestep embedding. block_class: what its blocks become, for relatives of LTX.
    """
    if isinstance(transformer.transformer_blocks[0], block_class):
        return transformer
    blocks_see_frames(transformer, transformer.transformer_blocks, block_class)
    return transformer


def bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What a mask (B, L) or (B, F, L) adds to attention, (B, G, L)."""
    return (~mask.reshape(len(mask), -1, mask.shape[-1])).to(dtype) * UNSEEN


def as_tokens(latents: Tensor) -> Tensor:
    """Latents (B, C, F, H, W) as tokens (B, F * H * W, C)."""
    return latents.flatten(2).transpose(1, 2)


def as_latents(tokens: Tensor, latents: Tensor) -> Tensor:
    """Tokens (B, F * H * W, C) as latents of another's size."""
    return tokens.transpose(1, 2).unflatten(2, latents.shape[2:])


class LTXModel(Adapter):
    """An LTX-Video transformer, which is given per-frame timesteps in place, and its other parts, as a VideoModel."""

    @staticmethod
    def prepared(transformer: Any) -> Any:
        return per_frame_timesteps(transformer)

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Adapter says."""
        _, _, frames, height, width = latents.shape
        (tokens,) = network(
            as_tokens(latents),
            text.states.flatten(1, -2),
            timestep,
            bias(text.mask, latents.dtype),
            frames,
            height,
            width,
            rope_interpolation_scale=(FRAMES / fps, PIXELS, PIXELS),
            return_dict=False,
        )
        return as_latents(tokens, latents)
