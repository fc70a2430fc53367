"""The Wan adapter: diffusers' WanTransformer3DModel with a timestep for each latent frame.

Stock Wan takes a timestep a clip, (B,), or a timestep a token, (B, tokens); the latter holds a modulation of
(tokens, 6, D) in every block. A window of unequal noise levels needs one a frame: `per_frame_timesteps` makes
the network take (B, F), hold (F, 6, D), and broadcast it over each frame's tokens. The weights, their names
and the results stay what they were.

A text a frame works the same way: each frame's tokens attend to their own.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D network or text width
"""

from __future__ import annotations

from diffusers import WanTransformer3DModel
from diffusers.models.transformers import transformer_wan
from torch import Tensor, nn

from longtake.models.adapter import Adapter, blocks_see_frames
from longtake.models.text import Text


class WanTransformerBlock(transformer_wan.WanTransformerBlock):
    """Wan's block with one modulation a frame, and one text a frame where it is given so. It keeps the name by which
    diffusers finds a Wan's blocks."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        rotary_emb: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Tokens (B, F * P, D) or (B, F, P, D), P a frame, and temb (B, F, 6, D), to tokens (B, F, P, D).

        A modulation for the whole clip, (B, 6, D), counts as F = 1, one for each token as P = 1: both work as
        before. Text states (B, L, D) are those of the whole clip; of (B, F, L, D) each frame sees its own.
        """
        if temb.ndim == 3:
            temb = temb.unsqueeze(1)
        if hidden_states.ndim == 3:
            hidden_states = hidden_states.unflatten(1, (temb.shape[1], -1)).contiguous()
        return self.modulated(hidden_states, encoder_hidden_states, temb, rotary_emb, attention_mask)

    def modulated(
        self,
        x: Tensor,
        text: Tensor,
        temb: Tensor,
        rotary_emb: tuple[Tensor, Tensor],
        attention_mask: Tensor | None,
    ) -> Tensor:
        """The block on tokens (B, F, P, D) and temb (B, F, 6, D): of one rank always, as a compiler likes it."""
        shift, scale, gate, ff_shift, ff_scale, ff_gate = (
            (self.scale_shift_table + temb.float()).unsqueeze(2).unbind(3)
        )

        y = (self.norm1(x.float()) * (1 + scale) + shift).type_as(x)
        x = (
            x.float() + self.attn1(y.flatten(1, 2), None, attention_mask, rotary_emb).view_as(x) * gate
        ).type_as(x)
        y = self.norm2(x.float()).type_as(x)
        asking = y.flatten(0, 1) if text.ndim == 4 else y.flatten(1, 2)
        x = x + self.attn2(asking, text.flatten(0, -3), None, None).view_as(x)
        y = (self.norm3(x.float()) * (1 + ff_scale) + ff_shift).type_as(x)
        return (x.float() + self.ffn(y).float() * ff_gate).type_as(x)


def per_frame_timesteps(
    transformer: WanTransformer3DModel, block_class: type[nn.Module] = WanTransformerBlock
) -> WanTransformer3DModel:
    """Make a Wan transformer, in place, take `timestep` (B, F), one for each latent frame; returns it.

    Call it before anything else hooks into the model; twice is as once. Gradients, gradient checkpointing,
    state dict and saving are untouched. Its result equals that of stock Wan with each frame's timestep
    repeated over its tokens, bit for bit but for the rounding of the timestep embedding: a product of F rows,
    not F * P. block_class: what its blocks become, for relatives of Wan.
    """
    if isinstance(transformer.blocks[0], block_class):
        return transformer
    assert transformer.config.patch_size[0] == 1, "a token must belong to one latent frame"
    blocks_see_frames(transformer, transformer.blocks, block_class)
    return transformer


class WanModel(Adapter):
    """A Wan transformer, which is given per-frame timesteps in place, and its other parts, as a VideoModel."""

    @staticmethod
    def prepared(transformer: WanTransformer3DModel) -> WanTransformer3DModel:
        return per_frame_timesteps(transformer)

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Adapter says. A Wan attends to all of a text's tokens, zeros where there are none; it is not told the
        frame rate."""
        (velocity,) = network(latents, timestep, text.zero_padded(), return_dict=False)
        return velocity
