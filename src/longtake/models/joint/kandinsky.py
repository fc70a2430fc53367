"""The Kandinsky 5 adapter: diffusers' Kandinsky5Transformer3DModel with a timestep for each latent frame.

It is made to take (B, 1 + F), as joint.py says: the text's timestep goes to the blocks that read the text, a frame's to
the frame's tokens, which look the text up. Weights, their names and the results at equal timesteps stay what they were.

B batch, C channels, F latent frames, H W latent height and width, P tokens a frame, L text tokens, D network width
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import Kandinsky5T2VPipeline
from diffusers.models.transformers import transformer_kandinsky
from torch import Tensor, nn

from longtake.models.adapter import Adapter
from longtake.models.joint.tokens import apart, in_frames, modulated, with_text
from longtake.models.text import Text

PIXELS = 8  # of a latent, on either side


class Kandinsky5TimeEmbeddings(transformer_kandinsky.Kandinsky5TimeEmbeddings):
    """The embedding of timesteps of any shape."""

    def forward(self, time: Tensor) -> Tensor:
        embedded: Tensor = super().forward(time.flatten())
        return embedded.unflatten(0, time.shape)


class Kandinsky5TransformerDecoderBlock(transformer_kandinsky.Kandinsky5TransformerDecoderBlock):
    """Kandinsky's block with one modulation a frame. It keeps the name by which diffusers finds it."""

    def forward(
        self,
        visual_embed: Tensor,
        text_embed: Tensor,
        time_embed: Tensor,
        rope: Tensor,
        sparse_params: dict[str, Any] | None,
    ) -> Tensor:
        """Tokens (B, F * P, D) to the same, with text (B, L, D)."""
        of_frames = apart(time_embed)[1]
        of_itself, of_text, of_feeding = self.visual_modulation(of_frames).float().chunk(3, dim=-1)
        x = in_frames(visual_embed, of_frames)
        shift, scale, gate = of_itself.chunk(3, dim=-1)
        y = modulated(self.self_attention_norm(x.float()), shift, scale).type_as(x).flatten(1, 2)
        seen = in_frames(self.self_attention(y, rotary_emb=rope, sparse_params=sparse_params), of_frames)
        x = (x.float() + gate * seen.float()).type_as(x)
        shift, scale, gate = of_text.chunk(3, dim=-1)
        y = modulated(self.cross_attention_norm(x.float()), shift, scale).type_as(x).flatten(1, 2)
        said = in_frames(self.cross_attention(y, encoder_hidden_states=text_embed), of_frames)
        x = (x.float() + gate * said.float()).type_as(x)
        shift, scale, gate = of_feeding.chunk(3, dim=-1)
        y = modulated(self.feed_forward_norm(x.float()), shift, scale).type_as(x)
        return (x.float() + gate * self.feed_forward(y).float()).type_as(x).flatten(1, 2)


class Kandinsky5TransformerEncoderBlock(transformer_kandinsky.Kandinsky5TransformerEncoderBlock):
    """The block that reads the text, with the text's timestep."""

    def forward(self, x: Tensor, time_embed: Tensor, rope: Tensor) -> Tensor:
        read: Tensor = super().forward(x, time_embed[:, 0] if time_embed.ndim == 3 else time_embed, rope)
        return read


class Kandinsky5OutLayer(transformer_kandinsky.Kandinsky5OutLayer):
    """The last layer, which modulates each frame by its own timestep."""

    def forward(self, visual_embed: Tensor, text_embed: Tensor, time_embed: Tensor) -> Tensor:
        """Tokens (B, F, H / 2, W / 2, D) to latents (B, F, H, W, C)."""
        of_frames = apart(time_embed)[1].unsqueeze(2)
        shift, scale = self.modulation(of_frames).float().chunk(2, dim=-1)
        x = self.out_layer(modulated(self.norm(visual_embed.float()), shift, scale).type_as(visual_embed))
        _, high, wide = self.patch_size
        x = x.unflatten(-1, (-1, high, wide))  # (B, F, H / 2, W / 2, C, 2, 2)
        return x.permute(0, 1, 2, 5, 3, 6, 4).flatten(4, 5).flatten(2, 3)


def per_frame_timesteps(transformer: Any) -> Any:
    """Make a Kandinsky 5 transformer, in place, take `timestep` (B, 1 + F), as with_text gives it; returns it.

    `pooled_projections` are (B, 1, P) then. Call it before anything else hooks into the model; twice is as once.
    Gradients, gradient checkpointing, state dict and saving are untouched.
    """
    assert transformer.config.patch_size[0] == 1, "a token must belong to one latent frame"
    transformer.time_embeddings.__class__ = Kandinsky5TimeEmbeddings
    transformer.out_layer.__class__ = Kandinsky5OutLayer
    for block in transformer.text_transformer_blocks:
        block.__class__ = Kandinsky5TransformerEncoderBlock
    for block in transformer.visual_transformer_blocks:
        block.__class__ = Kandinsky5TransformerDecoderBlock
    return transformer


def velocity(
    network: nn.Module, latents: Tensor, timestep: Tensor, states: Tensor, mask: Tensor, pooled: Tensor
) -> Tensor:
    """noise - data (B, C, F, H, W).

    timestep (B, F), 1000 noise to 0 clean. states (B, L, D) of Qwen, of which the network is shown those of mask
    (B, L), the first ones: it knows no mask, so rows go through one by one. pooled (B, P) of CLIP.
    """
    rows = range(len(latents))
    return torch.cat(
        [_row(network, *(x[i : i + 1] for x in (latents, timestep, states, mask, pooled))) for i in rows]
    )


def _row(
    network: Any, latents: Tensor, timestep: Tensor, states: Tensor, mask: Tensor, pooled: Tensor
) -> Tensor:
    config, told = network.config, states[:, : int(mask.sum())]
    x = latents.permute(0, 2, 3, 4, 1)
    if config.visual_cond:  # no picture is shown: zeros, and one that says so
        x = torch.cat([x, x.new_zeros(*x.shape[:-1], x.shape[-1] + 1)], dim=-1)
    _, frames, height, width, _ = x.shape
    sides = frames, height // config.patch_size[1], width // config.patch_size[2]
    made = network(
        x,
        told,
        with_text(timestep),
        pooled[:, None],
        [torch.arange(side, device=x.device) for side in sides],
        torch.arange(told.shape[1], device=x.device),
        scale_factor=Kandinsky5T2VPipeline._get_scale_factor(None, height * PIXELS, width * PIXELS),
        sparse_params=None,
        return_dict=False,
    )
    velocity: Tensor = made.permute(0, 4, 1, 2, 3)
    return velocity


class KandinskyModel(Adapter):
    """A Kandinsky 5 transformer, which is given per-frame timesteps in place, and its other parts, as a VideoModel."""

    asks_mask = True

    @staticmethod
    def prepared(transformer: Any) -> Any:
        return per_frame_timesteps(transformer)

    @staticmethod
    def network_velocity(
        network: nn.Module, latents: Tensor, timestep: Tensor, text: Text, fps: float
    ) -> Tensor:
        """As Adapter says; a Kandinsky is not told the frame rate."""
        assert text.pooled is not None
        return velocity(network, latents, timestep, text.states, text.mask, text.pooled)
