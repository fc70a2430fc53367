"""The SANA-Video adapter: diffusers' SanaVideoTransformer3DModel with a timestep for each latent frame.

Its attention between tokens is linear: sums over all of a window's tokens, whose products with a token's query turn
with its place by the difference alone, and which are divided by sums that know no places. So a window means the same
wherever in a film it lies. Each block mixes a frame with its neighbours by a convolution besides, which finds zeros at
both ends of a window, as at both ends of a clip.

B batch, C channels, F latent frames, H W latent height and width, P tokens a frame, L text tokens, D network or text
width
"""

from __future__ import annotations

from typing import Any

from diffusers.models.transformers import transformer_sana_video
from torch import Tensor, nn

from longtake.models.adapter import Adapter
from longtake.models.text import Text

HIDDEN = -10000.0  # what diffusers adds to the attention to a token that is none


class SanaVideoTransformerBlock(transformer_sana_video.SanaVideoTransformerBlock):
    """SANA-Video's block with one modulation a frame, and one text a frame where it is given so. It keeps the name by
    which diffusers finds its blocks."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor,
        timestep: Tensor,
        frames: int,
        height: int,
        width: int,
        rotary_emb: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Tokens (B, F * P, D) to the same, by a modulation (B, F, 6 * D); of (B, 1, 6 * D) it is the whole clip's.

        encoder_attention_mask (B, 1, L) goes with text (B, L, D) of the whole clip; of (B, F, L) each frame sees its
        own of text (B, F * L, D).
        """
        table = self.scale_shift_table + timestep.unflatten(2, (6, -1))
        shift, scale, gate, ff_shift, ff_scale, ff_gate = table.unsqueeze(2).unbind(3)
        x = hidden_states.unflatten(1, (timestep.shape[1], -1))
        y = (self.norm1(x) * (1 + scale) + shift).to(x.dtype)
        x = x + gate * self.attn1(y.flatten(1, 2), rotary_emb=rotary_emb).view_as(x)

        texts = encoder_attention_mask.shape[1]
        asked = self.attn2(
            x.flatten(1, 2).unflatten(1, (texts, -1)).flatten(0, 1),
            encoder_hidden_states=encoder_hidden_states.unflatten(1, (texts, -1)).flatten(0, 1),
            attention_mask=encoder_attention_mask.flatten(0, 1).unsqueeze(1),
        )
        x = x + asked.view_as(x)

        y = self.norm2(x) * (1 + ff_scale) + ff_shift
        y = self.ff(y.flatten(1, 2).unflatten(1, (frames, height, width))).view_as(x)
        return (x + ff_gate * y).flatten(1, 2)


class SanaModulatedNorm(transformer_sana_video.SanaModulatedNorm):
    """The last norm with one modulation a frame."""

    def forward(self, hidden_states: Tensor, temb: Tensor, scale_shift_table: Tensor) -> Tensor:
        """Tokens (B, F * P, D) to the same, by the embedding of each frame's timestep, (B, F, D)."""
        x = self.norm(hidden_states).unflatten(1, (temb.shape[1], -1))
        shift, scale = (scale_shift_table + temb.unsqueeze(2)).unsqueeze(2).unbind(3)
        return (x * (1 + scale) + shift).flatten(1, 2)


def per_frame_timesteps(transformer: Any) -> Any:
    """Make a SANA-Video transformer, in place, take `timestep` (B, F), one for each latent frame; returns it.

    Call it before anything else hooks into the model; twice is as once. Gradients, gradient checkpointing, state dict
    and saving are untouched. With one timestep a clip its result is that of the stock network, and so it is, to the
    rounding of the modulation, with each frame's repeated over its tokens. It must be told which tokens the text has.
    """
    assert transformer.config.patch_size[0] == 1, "a token must belong to one latent frame"
    for block in transformer.transformer_blocks:
        block.__class__ = SanaVideoTransformerBlock
    transformer.norm_out.__class__ = SanaModulatedNorm
    return transformer


class SanaVideoModel(Adapter):
    """A SANA-Video transformer, which is given per-frame timesteps in place, and its other parts, as a VideoModel."""

    @staticmethod
    def prepared(transformer: Any) -> Any:
        return per_frame_timesteps(transformer)

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Adapter says; a SANA-Video is not told the frame rate."""
        hidden = (~text.mask).to(latents.dtype) * HIDDEN
        velocity: Tensor = network(
            latents,
            text.zero_padded(),
            timestep,
            encoder_attention_mask=hidden if text.per_latent else hidden.unsqueeze(1),
            return_dict=False,
        )[0]
        return velocity
