"""The HunyuanVideo adapters, 1.0 and 1.5: diffusers' transformers with a timestep for each latent frame.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from longtake.models.adapter import Adapter
from longtake.models.joint.hunyuan_blocks import per_frame_timesteps
from longtake.models.joint.hunyuan_text import GLYPH_TOKENS
from longtake.models.joint.tokens import with_text
from longtake.models.text import Text

# What the distilled guidance is told, and 1000 times that is what the network is fed. Source: the authors' script,
# --embedded-cfg-scale.
EMBEDDED_GUIDANCE = 6.0


def first_velocity(
    network: Callable[..., tuple[Tensor]],
    latents: Tensor,
    timestep: Tensor,
    states: Tensor,
    mask: Tensor,
    pooled: Tensor,
) -> Tensor:
    """noise - data (B, C, F, H, W) by HunyuanVideo 1.0.

    timestep (B, F), 1000 noise to 0 clean. states (B, L, D) of Llama, mask (B, L), pooled (B, P) of CLIP.
    """
    (velocity,) = network(
        latents,
        with_text(timestep),
        states,
        mask,
        pooled[:, None],
        latents.new_full((len(latents), 1), 1000 * EMBEDDED_GUIDANCE),
        return_dict=False,
    )
    return velocity


def second_velocity(
    network: Any,
    latents: Tensor,
    timestep: Tensor,
    states: Tensor,
    mask: Tensor,
    glyphs: Tensor,
    glyphs_mask: Tensor,
) -> Tensor:
    """noise - data (B, C, F, H, W) by HunyuanVideo 1.5.

    timestep (B, F), 1000 noise to 0 clean. states (B, L, D) of Qwen with mask (B, L), glyphs of ByT5 with theirs. The
    network is shown no picture: as many channels of zeros as latents have, one that says so, and no token of one
    (stock's 729 are masked out).
    """
    batch, channels, *size = latents.shape
    (velocity,) = network(
        torch.cat([latents, latents.new_zeros(batch, channels + 1, *size)], dim=1),
        with_text(timestep),
        states,
        mask,
        encoder_hidden_states_2=glyphs,
        encoder_attention_mask_2=glyphs_mask,
        image_embeds=latents.new_zeros(batch, 0, network.config.image_embed_dim),
        return_dict=False,
    )
    return velocity


class HunyuanVideoModel(Adapter):
    """A HunyuanVideo transformer, which is given per-frame timesteps in place, and its other parts, as a VideoModel.

    Its guidance is distilled and always that of EMBEDDED_GUIDANCE; a guidance_scale above 1 is a true one beside it.
    """

    @staticmethod
    def prepared(transformer: Any) -> Any:
        return per_frame_timesteps(transformer)

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Adapter says; a HunyuanVideo is not told the frame rate."""
        assert text.pooled is not None
        return first_velocity(network, latents, timestep, text.states, text.mask, text.pooled)


class HunyuanVideo15Model(Adapter):
    """The same of HunyuanVideo 1.5, whose text is Qwen's states and, behind them, ByT5's."""

    @staticmethod
    def prepared(transformer: Any) -> Any:
        return per_frame_timesteps(transformer)

    @staticmethod
    def network_velocity(network: Any, latents: Tensor, timestep: Tensor, text: Text, fps: float) -> Tensor:
        """As Adapter says; a HunyuanVideo is not told the frame rate."""
        place = text.states.shape[1] - GLYPH_TOKENS
        glyphs = text.states[:, place:, : network.config.text_embed_2_dim]
        return second_velocity(
            network,
            latents,
            timestep,
            text.states[:, :place],
            text.mask[:, :place],
            glyphs,
            text.mask[:, place:],
        )
