"""HunyuanVideo's layers, 1.0's and 1.5's, with a timestep for each latent frame, in place of diffusers' own.

Both networks are made to take (B, 1 + F), as joint.py says: the text's timestep goes to the text's tokens, in blocks of
two streams and of one, and to the text's own refiner; a frame's to the frame's tokens.

B batch, F latent frames, P tokens a frame, L text tokens, D network width
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.transformers import transformer_hunyuan_video, transformer_hunyuan_video15
from torch import Tensor, nn

from longtake.models.joint.tokens import (
    AdaLayerNormContinuous,
    Timesteps,
    apart,
    fed,
    in_frames,
    modulated,
    modulation,
)


class HunyuanVideoTransformerBlock(transformer_hunyuan_video.HunyuanVideoTransformerBlock):
    """HunyuanVideo's block of two streams, which meet in attention alone. It keeps the name by which diffusers finds
    it."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        attention_mask: Tensor | None,
        freqs_cis: tuple[Tensor, Tensor],
        *rest: Any,
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, F * P, D) and text (B, L, D) to the same. What stock gives besides is of a given picture."""
        of_text, of_frames = apart(temb)
        x, text = in_frames(hidden_states, of_frames), encoder_hidden_states
        shift, scale, gate, *of_feeding = modulation(self.norm1, of_frames, 6)
        text_shift, text_scale, text_gate, *of_text_feeding = modulation(self.norm1_context, of_text, 6)
        seen, said = self.attn(
            modulated(self.norm1.norm(x), shift, scale).flatten(1, 2),
            modulated(self.norm1_context.norm(text), text_shift, text_scale),
            attention_mask,
            image_rotary_emb=freqs_cis,
        )
        x = fed(x + in_frames(seen, of_frames) * gate, self.norm2, self.ff, *of_feeding)
        text = fed(text + said * text_gate, self.norm2_context, self.ff_context, *of_text_feeding)
        return x.flatten(1, 2), text


class HunyuanVideo15TransformerBlock(transformer_hunyuan_video15.HunyuanVideo15TransformerBlock):
    """That of HunyuanVideo 1.5, which has no other."""

    forward = HunyuanVideoTransformerBlock.forward


class HunyuanVideoSingleTransformerBlock(transformer_hunyuan_video.HunyuanVideoSingleTransformerBlock):
    """HunyuanVideo's block whose layers are the same for both streams."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        attention_mask: Tensor | None,
        image_rotary_emb: tuple[Tensor, Tensor],
        *rest: Any,
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, F * P, D) and text (B, L, D) to the same."""
        of_text, of_frames = apart(temb)
        x, text = in_frames(hidden_states, of_frames), encoder_hidden_states
        shift, scale, gate = modulation(self.norm, of_frames, 3)
        text_shift, text_scale, text_gate = modulation(self.norm, of_text, 3)
        y = modulated(self.norm.norm(x), shift, scale)
        z = modulated(self.norm.norm(text), text_shift, text_scale)
        seen, said = self.attn(y.flatten(1, 2), z, attention_mask, image_rotary_emb=image_rotary_emb)
        x = x + self._merged(in_frames(seen, of_frames), y) * gate
        return x.flatten(1, 2), text + self._merged(said, z) * text_gate

    def _merged(self, attended: Tensor, normed: Tensor) -> Tensor:
        merged: Tensor = self.proj_out(torch.cat([attended, self.act_mlp(self.proj_mlp(normed))], dim=-1))
        return merged


class HunyuanVideo15TimeEmbedding(transformer_hunyuan_video15.HunyuanVideo15TimeEmbedding):
    """The embedding of timesteps of any shape, float32 whatever the weights are; stock's are of the weights' type."""

    def forward(self, timestep: Tensor, timestep_r: Tensor | None = None) -> Tensor:
        assert timestep_r is None, "networks that are told a second timestep are refused"
        embedded: Tensor = self.timestep_embedder(
            self.time_proj(timestep).to(self.timestep_embedder.linear_1.bias.dtype)
        )
        return embedded


def per_frame_timesteps(transformer: Any) -> Any:
    """Make a HunyuanVideo's transformer, in place, take `timestep` (B, 1 + F), as with_text gives it; returns it.

    Of 1.0, `pooled_projections` are (B, 1, D) and `guidance` is (B, 1) then. Call it before anything else hooks into
    the model; twice is as once. Gradients, gradient checkpointing, state dict and saving are untouched.
    """
    if isinstance(transformer.norm_out, AdaLayerNormContinuous):
        return transformer
    assert transformer.config.patch_size_t == 1, "a token must belong to one latent frame"
    is_first = hasattr(transformer, "time_text_embed")
    block = HunyuanVideoTransformerBlock if is_first else HunyuanVideo15TransformerBlock
    for layer in transformer.transformer_blocks:
        layer.__class__ = block
    for layer in getattr(transformer, "single_transformer_blocks", ()):
        layer.__class__ = HunyuanVideoSingleTransformerBlock
    if is_first:
        transformer.time_text_embed.time_proj.__class__ = Timesteps
    else:
        transformer.time_embed.__class__ = HunyuanVideo15TimeEmbedding
        transformer.time_embed.time_proj.__class__ = Timesteps
    transformer.norm_out.__class__ = AdaLayerNormContinuous
    transformer.context_embedder.register_forward_pre_hook(_of_text)
    return transformer


def _of_text(module: nn.Module, args: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """What the text's refiner is called with: states, timesteps, mask; of (B, 1 + F) timesteps the text's, (B,)."""
    states, timestep, mask = args
    return states, timestep[:, 0] if timestep.ndim == 2 else timestep, mask
