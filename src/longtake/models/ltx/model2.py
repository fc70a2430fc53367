"""The LTX-2 adapter: diffusers' LTX2VideoTransformer3DModel with a timestep for each latent frame, and no sound.

LTX-2 makes pictures and sound in two streams that attend to one another. Here the sound is left out: its layers do not
run, and pictures attend to none, as in the model's own passes without the other modality (`isolate_modalities`).

Networks that are told their text by noise level (LTX-2.3 and later modulate keys and values of the prompt) are told
each frame's by its own, so each frame attends to its own text.

B batch, C channels, F latent frames, H W latent height and width, P tokens a frame, L text tokens, D network or text
width, G texts a row: 1, or F
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.transformers import transformer_ltx2
from torch import Tensor, nn

from longtake.models.adapter import Adapter
from longtake.models.ltx.model import (
    FRAMES,
    PIXELS,
    as_latents,
    as_tokens,
    asking,
    bias,
    in_frames,
    modulation,
    per_frame_timesteps,
)
from longtake.models.text import Text

# The layers of a block that make the sound, or let one stream hear or see the other.
SOUND = ("audio_attn1", "audio_attn2", "audio_to_video_attn", "video_to_audio_attn", "audio_ff")


class LTX2VideoTransformerBlock(transformer_ltx2.LTX2VideoTransformerBlock):
    """The pictures' half of LTX-2's block, with one modulation a frame, and one text a frame where it is given so. It
    keeps the name by which diffusers finds an LTX-2's blocks."""

    def forward(
        self,
        hidden_states: Tensor,
        audio_hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        audio_encoder_hidden_states: Tensor,
        temb: Tensor,
        temb_audio: Tensor,
        temb_ca_scale_shift: Tensor,
        temb_ca_audio_scale_shift: Tensor,
        temb_ca_gate: Tensor,
        temb_ca_audio_gate: Tensor,
        temb_prompt: Tensor | None = None,
        temb_prompt_audio: Tensor | None = None,
        video_rotary_emb: tuple[Tensor, Tensor] | None = None,
        audio_rotary_emb: tuple[Tensor, Tensor] | None = None,
        ca_video_rotary_emb: tuple[Tensor, Tensor] | None = None,
        ca_audio_rotary_emb: tuple[Tensor, Tensor] | None = None,
        encoder_attention_mask: Tensor | None = None,
        *rest: Any,
        **unused: Any,
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, F * P, D) or (B, F, P, D), P a frame, and temb (B, F, n * D), to tokens (B, F, P, D); the sound as
        it was. Text states (B, G * L, D), their bias (B, G, L); temb_prompt (B, F, 2 * D)."""
        x, text, bias = in_frames(hidden_states, temb), encoder_hidden_states, encoder_attention_mask
        shift, scale, gate, ff_shift, ff_scale, ff_gate, *of_text = modulation(self.scale_shift_table, temb)
        y = self.norm1(x) * (1 + scale) + shift
        x = x + self.attn1(y.flatten(1, 2), None, query_rotary_emb=video_rotary_emb).view_as(x) * gate
        y = self.norm2(x)
        if of_text:
            y = y * (1 + of_text[1]) + of_text[0]
        if self.cross_attn_adaln:
            text, bias = self.told_by_level(text, bias, temb_prompt)
        seen = self.attn2(*asking(y, text, bias)).view_as(x)
        x = x + (seen * of_text[2] if of_text else seen)
        y = self.norm3(x) * (1 + ff_scale) + ff_shift
        return x + self.ff(y) * ff_gate, audio_hidden_states

    def told_by_level(
        self, text: Tensor, bias: Tensor | None, temb: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Text (B, G * L, D), told by each frame's level, temb (B, F, 2 * D): (B, F * L, D), its bias (B, F, L)."""
        if temb is None:
            shift, scale = self.prompt_scale_shift_table.to(text.dtype)
            return text * (1 + scale) + shift, bias
        shift, scale = modulation(self.prompt_scale_shift_table, temb)
        texts = text.unflatten(1, (1 if bias is None else bias.shape[1], -1)) * (1 + scale) + shift
        if bias is not None:
            bias = bias.expand(-1, texts.shape[1], -1)
        elif texts.shape[1] > 1:
            bias = texts.new_zeros(texts.shape[:3])
        return texts.flatten(1, 2), bias


def per_frame_pictures(transformer: Any) -> Any:
    """Make an LTX-2 transformer, in place, take `timestep` (B, F), one for each latent frame, and no sound; returns it.

    As `ltx.per_frame_timesteps`. Its second result is none of a sound.
    """
    if isinstance(transformer.transformer_blocks[0], LTX2VideoTransformerBlock):
        return transformer
    transformer.register_forward_pre_hook(_without_sound, with_kwargs=True)
    return per_frame_timesteps(transformer, LTX2VideoTransformerBlock)


def _without_sound(module: Any, args: tuple[Any, ...], told: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What is told of a sound where there is none: one token, which nothing looks at."""
    tokens, text, timestep = (told[name] for name in ("hidden_states", "encoder_hidden_states", "timestep"))
    return args, {
        **told,
        "audio_hidden_states": tokens.new_zeros(len(tokens), 1, module.config.audio_in_channels),
        "audio_encoder_hidden_states": text[:, :1],
        "audio_timestep": timestep.view(len(tokens), -1)[:, :1],
        "sigma": timestep,
        "audio_sigma": timestep.view(len(tokens), -1)[:, :1],
        "audio_num_frames": 1,
        "isolate_modalities": True,
        "use_cross_timestep": True,
    }


def coordinates(latents: Tensor, fps: float) -> Tensor:
    """Where each token of latents (B, C, F, H, W) begins and ends, (B, 3, F * H * W, 2): in seconds from the first, and
    in pixels."""
    batch, _, *size = latents.shape
    steps = (FRAMES, PIXELS, PIXELS)
    sides = [
        torch.arange(n, device=latents.device, dtype=torch.float32) * step
        for n, step in zip(size, steps, strict=True)
    ]
    first = torch.stack(torch.meshgrid(*sides, indexing="ij")).flatten(1)
    places = torch.stack([first, first + first.new_tensor(steps)[:, None]], dim=-1)
    places[0] /= fps
    return places.expand(batch, -1, -1, -1)


class LTX2Model(Adapter):
    """An LTX-2 transformer, which is given per-frame timesteps in place and no sound, and its other parts, as a
    VideoModel."""

    @staticmethod
    def prepared(transformer: Any) -> Any:
        return per_frame_pictures(transformer)

    @staticmethod
    def trimmed(transformer: Any) -> Any:
        """Without the layers of the sound, nearly a third of all weights."""
        for block in transformer.transformer_blocks:
            for layer in SOUND:
                setattr(block, layer, None)
        return transformer

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Adapter says."""
        tokens, _ = network(
            hidden_states=as_tokens(latents),
            encoder_hidden_states=text.states.flatten(1, -2),
            timestep=timestep,
            encoder_attention_mask=bias(text.mask, latents.dtype),
            video_coords=coordinates(latents, fps),
            return_dict=False,
        )
        return as_latents(tokens, latents)
