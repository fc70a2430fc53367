"""The Motif-Video adapter: diffusers' MotifVideoTransformer3DModel with a timestep for each latent frame.

It is made to take (B, 1 + F), as joint.py says: the text's timestep goes to the text's tokens, a frame's to its own.
The last blocks see what those before made of the frames in place of text: both of their streams are frames.

B batch, C channels, F latent frames, H W latent height and width, P tokens a frame, L text tokens, D network width
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.transformers import transformer_motif_video
from torch import Tensor, nn

from longtake.models.adapter import Adapter
from longtake.models.joint.tokens import (
    AdaLayerNormContinuous,
    Timesteps,
    apart,
    fed,
    in_frames,
    modulated,
    modulation,
    with_text,
)
from longtake.models.text import Text


class MotifVideoTransformerBlock(transformer_motif_video.MotifVideoTransformerBlock):
    """Motif-Video's block of two streams. It keeps the name by which diffusers finds it."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        attention_mask: Tensor | None,
        image_rotary_emb: tuple[Tensor, Tensor],
        image_embed_seq_len: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, F * P, D) and text (B, L, D) to the same."""
        of_text, of_frames = apart(temb)
        x, text = in_frames(hidden_states, of_frames), encoder_hidden_states
        shift, scale, gate, *of_feeding = modulation(self.norm1, of_frames, 6)
        text_shift, text_scale, text_gate, *of_text_feeding = modulation(self.norm1_context, of_text, 6)
        y = modulated(self.norm1.norm(x), shift, scale).flatten(1, 2)
        z = modulated(self.norm1_context.norm(text), text_shift, text_scale)
        seen, said = self.attn(y, z, attention_mask, image_rotary_emb)
        x = x + in_frames(seen, of_frames) * gate
        if self.cross_attn is not None:
            told = self.cross_attn(seen, z, attention_mask, image_rotary_emb, image_embed_seq_len)
            x = x + in_frames(told, of_frames)
        x = fed(x, self.norm2, self.ff, *of_feeding)
        text = fed(text + said * text_gate, self.norm2_context, self.ff_context, *of_text_feeding)
        return x.flatten(1, 2), text


class MotifVideoSingleTransformerBlock(transformer_motif_video.MotifVideoSingleTransformerBlock):
    """Its block whose layers are the same for both streams. sees_frames: whether the second is frames too."""

    sees_frames = False

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        attention_mask: Tensor | None,
        image_rotary_emb: tuple[Tensor, Tensor],
        image_embed_seq_len: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, F * P, D) and text (B, L, D), or tokens again, to the same."""
        of_text, of_frames = apart(temb)
        x, other = in_frames(hidden_states, of_frames), encoder_hidden_states
        if self.sees_frames:
            of_text, other = of_frames, in_frames(other, of_frames)
        shift, scale, gate = modulation(self.norm, of_frames, 3)
        other_shift, other_scale, other_gate = modulation(self.norm, of_text, 3)
        y = modulated(self.norm.norm(x), shift, scale)
        z = modulated(self.norm.norm(other), other_shift, other_scale)
        keys = z.flatten(1, -2)
        seen, said = self.attn(y.flatten(1, 2), keys, attention_mask, image_rotary_emb)
        if self.cross_attn is not None:
            seen = seen + self.cross_attn(seen, keys, attention_mask, image_rotary_emb, image_embed_seq_len)
        x = x + self._merged(seen.view_as(y), y) * gate
        other = other + self._merged(said.view_as(z), z) * other_gate
        return x.flatten(1, 2), other.flatten(1, -2)

    def _merged(self, attended: Tensor, normed: Tensor) -> Tensor:
        merged: Tensor = self.proj_out(torch.cat([attended, self.act_mlp(self.proj_mlp(normed))], dim=-1))
        return merged


class MotifVideoModel(Adapter):
    """A Motif-Video transformer, which is given per-frame timesteps in place, and its other parts, as a VideoModel."""

    @staticmethod
    def prepared(transformer: Any) -> Any:
        """It takes `timestep` (B, 1 + F) then, as with_text gives it; twice is as once."""
        assert transformer.config.patch_size_t == 1, "a token must belong to one latent frame"
        for block in transformer.transformer_blocks:
            block.__class__ = MotifVideoTransformerBlock
        last = len(transformer.single_transformer_blocks) - transformer.num_decoder_layers
        for index, block in enumerate(transformer.single_transformer_blocks):
            block.__class__ = MotifVideoSingleTransformerBlock
            block.sees_frames = index >= last
        transformer.time_text_embed.time_proj.__class__ = Timesteps
        transformer.norm_out.__class__ = AdaLayerNormContinuous
        return transformer

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Adapter says. The network is shown no picture: as many channels of zeros as latents have, and one that
        says so. It is not told the frame rate."""
        batch, channels, *size = latents.shape
        nothing = latents.new_zeros(batch, channels + 1, *size)
        (velocity,) = network(
            torch.cat([latents, nothing], dim=1),
            with_text(timestep),
            text.zero_padded(),
            text.mask,
            return_dict=False,
        )
        return velocity
