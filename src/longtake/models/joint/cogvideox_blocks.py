"""CogVideoX' layers with a timestep for each latent frame, in place of diffusers' own.

B batch, F latent frames, P tokens a frame, L text tokens, D network width
"""

from __future__ import annotations

from typing import Any

from diffusers.models import normalization
from diffusers.models.transformers import cogvideox_transformer_3d
from torch import Tensor

from longtake.models.joint.tokens import Timesteps, apart, in_frames, modulated, modulation


class CogVideoXBlock(cogvideox_transformer_3d.CogVideoXBlock):
    """CogVideoX' block with one modulation a frame. It keeps the name by which diffusers finds it."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, F * P, D) and text (B, L, D) to the same; F counts pairs of latents where two share a token."""
        _, of_frames = apart(temb)
        x, text = in_frames(hidden_states, of_frames), encoder_hidden_states
        y, z, gate, text_gate = normed(self.norm1, x, text, temb)
        seen, said = self.attn1(
            y.flatten(1, 2), z, image_rotary_emb=image_rotary_emb, **(attention_kwargs or {})
        )
        x, text = x + in_frames(seen, of_frames) * gate, text + said * text_gate
        y, z, gate, text_gate = normed(self.norm2, x, text, temb)
        return (x + self.ff(y) * gate).flatten(1, 2), text + self.ff(z) * text_gate


def normed(norm: Any, x: Tensor, text: Tensor, temb: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens (B, F, P, D) and text (B, L, D) modulated, and their gates (B, F, 1, D) and (B, 1, D)."""
    of_text, of_frames = apart(temb)
    shift, scale, gate, *_ = modulation(norm, of_frames, 6)
    *_, text_shift, text_scale, text_gate = modulation(norm, of_text, 6)
    y = modulated(norm.norm(x), shift, scale)
    return y, modulated(norm.norm(text), text_shift, text_scale), gate, text_gate


class AdaLayerNorm(normalization.AdaLayerNorm):
    """The last norm, which modulates the frames' tokens alone."""

    def forward(self, x: Tensor, timestep: Tensor | None = None, temb: Tensor | None = None) -> Tensor:
        assert temb is not None
        _, of_frames = apart(temb)
        shift, scale = modulation(self, of_frames, 2)
        return modulated(self.norm(in_frames(x, of_frames)), shift, scale).flatten(1, 2)


def per_frame_timesteps(transformer: Any) -> Any:
    """Make a CogVideoX transformer, in place, take `timestep` (B, 1 + F), as with_text gives it; returns it.

    Where two latents share a token, F counts their pairs. Call it before anything else hooks into the model; twice is
    as once. Gradients, gradient checkpointing, state dict and saving are untouched.
    """
    for block in transformer.transformer_blocks:
        block.__class__ = CogVideoXBlock
    transformer.norm_out.__class__ = AdaLayerNorm
    transformer.time_proj.__class__ = Timesteps
    return transformer
