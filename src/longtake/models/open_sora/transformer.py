"""Open-Sora v1.2's network, STDiT3: blocks over the places of a frame and blocks over time, in turn.

Written from a description of it, with a timestep for each latent frame as in PA-VDM (arXiv 2410.08151), which
adds no weights. A token is a patch of 1 × 2 × 2 latents.
Source: Zheng et al., "Open-Sora: Democratizing Efficient Video Production for All", arXiv 2412.20404.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, T text width, P tokens a
frame, D network width
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import FeedForward
from diffusers.models.embeddings import (
    PixArtAlphaTextProjection,
    TimestepEmbedding,
    apply_rotary_emb,
    get_1d_rotary_pos_embed,
    get_2d_sincos_pos_embed,
    get_timestep_embedding,
)
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from torch import Tensor, nn
from torch.nn import functional

PATCH = 2
SAMPLE_SIZE = 512  # pixels: the positions of every picture are those of a square of this side
FREQUENCIES = 256  # sines and cosines of a timestep or a frame rate
EPSILON = 1e-6

Rotation = tuple[Tensor, Tensor]


def velocity(sample: Tensor) -> Tensor:
    """noise - data, (B, C, F, H, W), from the network's output (B, 2C, F, H, W).

    The network was trained on data - noise; the second half of its channels means nothing.
    """
    return -sample.chunk(2, dim=1)[0]


def sinusoid(numbers: Tensor) -> Tensor:
    """128 cosines, then 128 sines of each number, (…) to (…, 256), float32."""
    return get_timestep_embedding(
        numbers.flatten(), FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0
    ).unflatten(0, numbers.shape)


def place_embedding(
    dim: int, rows: int, columns: int, height: float, width: float, device: torch.device | None = None
) -> Tensor:
    """A vector for each place in a frame of rows × columns tokens, (P, dim), row by row: its column first, sine
    before cosine. A picture announced as height × width pixels spans the positions of one of 512 × 512."""
    return get_2d_sincos_pos_embed(
        dim,
        (rows, columns),
        interpolation_scale=math.sqrt(height * width) / SAMPLE_SIZE,
        base_size=round(math.sqrt(rows * columns)),
        device=device,
        output_type="pt",
    )


def frame_rotation(head_dim: int, num_frames: int, device: torch.device | None = None) -> Rotation:
    """Cosine and sine, (F, head_dim) each, that rotate neighbouring pairs by their frame's place in the window."""
    return get_1d_rotary_pos_embed(head_dim, torch.arange(num_frames, device=device), use_real=True)


class Attention(nn.Module):
    """Tokens look at each other or, without norm of queries and keys, at a caption. Layers are named as
    diffusers names them, so that a LoRA finds them."""

    def __init__(self, dim: int, num_heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim) for _ in range(3))
        self.norm_q, self.norm_k = (
            nn.RMSNorm(dim // num_heads, eps=EPSILON) if qk_norm else nn.Identity() for _ in range(2)
        )
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])

    def forward(
        self,
        hidden_states: Tensor,
        context: Tensor,
        mask: Tensor | None = None,
        rotary_emb: Rotation | None = None,
    ) -> Tensor:
        """Queries from (N, tokens, D), keys and values from (N, other tokens, D), to (N, tokens, D).

        mask: (N, 1, 1, other tokens), False where no one looks.
        """
        q, k, v = (
            layer(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for layer, x in ((self.to_q, hidden_states), (self.to_k, context), (self.to_v, context))
        )
        q, k = self.norm_q(q), self.norm_k(k)
        if rotary_emb is not None:
            q, k = apply_rotary_emb(q, rotary_emb), apply_rotary_emb(k, rotary_emb)
        y = functional.scaled_dot_product_attention(q, k, v, mask)
        return self.to_out[0](y.transpose(1, 2).flatten(2))


class OpenSoraTransformerBlock(nn.Module):
    """Attention among the tokens of a frame or, given a rotation, among those of a place; then to the caption;
    then a perceptron. Spatial and temporal blocks differ in nothing else."""

    def __init__(self, dim: int, num_heads: int, ff_dim: int) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.randn(6, dim) / dim**0.5)
        self.attn1 = Attention(dim, num_heads, qk_norm=True)
        self.attn2 = Attention(dim, num_heads, qk_norm=False)
        self.ff = FeedForward(dim, inner_dim=ff_dim, activation_fn="gelu-approximate")

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        mask: Tensor | None = None,
        rotary_emb: Rotation | None = None,
    ) -> Tensor:
        """Tokens (B, F, P, D) to the same. temb: (B, F, 6, D), or F = 1 if all frames have one timestep."""
        x = hidden_states
        shift, scale, gate, ff_shift, ff_scale, ff_gate = (
            (self.scale_shift_table + temb).type_as(x).unsqueeze(3).unbind(2)
        )
        x = x + gate * self._self_attention(_modulated(x, shift, scale), rotary_emb)
        x = x + self.attn2(x.flatten(1, 2), encoder_hidden_states, mask).view_as(x)
        return x + ff_gate * self.ff(_modulated(x, ff_shift, ff_scale))

    def _self_attention(self, x: Tensor, rotary_emb: Rotation | None) -> Tensor:
        if rotary_emb is not None:
            x = x.transpose(1, 2)
        rows = x.flatten(0, 1)
        y = self.attn1(rows, rows, rotary_emb=rotary_emb).view(x.shape)
        return y if rotary_emb is None else y.transpose(1, 2)


class FinalLayer(nn.Module):
    """Tokens (B, F, P, D) to the values of their patches; the timestep, (B, F or 1, D), shifts and scales them."""

    def __init__(self, dim: int, values: int) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.randn(2, dim) / dim**0.5)
        self.linear = nn.Linear(dim, values)

    def forward(self, hidden_states: Tensor, temb: Tensor) -> Tensor:
        shift, scale = (
            (self.scale_shift_table + temb.unsqueeze(2)).type_as(hidden_states).unsqueeze(3).unbind(2)
        )
        return self.linear(_modulated(hidden_states, shift, scale))


class OpenSoraTransformer3DModel(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """STDiT3 as a diffusers model; the defaults are STDiT3-XL/2, the 1.2 billion parameters of Open-Sora v1.2.

    `num_layers` counts pairs of a spatial and a temporal block. `null_caption` (L, T) is the learned caption of
    the empty prompt: raw, to be passed as encoder_hidden_states as any other. Timesteps are embedded in float32
    whatever the weights are.
    """

    config_name = "config.json"
    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["OpenSoraTransformerBlock"]
    _repeated_blocks: ClassVar[list[str]] = ["OpenSoraTransformerBlock"]
    _keep_in_fp32_modules: ClassVar[list[str]] = [
        "time_embedding",
        "fps_embedding",
        "time_proj",
        "scale_shift_table",
    ]

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        num_layers: int = 28,
        num_attention_heads: int = 16,
        attention_head_dim: int = 72,
        mlp_ratio: float = 4.0,
        caption_channels: int = 4096,
        max_caption_tokens: int = 300,
    ) -> None:
        super().__init__()
        dim = num_attention_heads * attention_head_dim
        patch = (1, PATCH, PATCH)
        self.patch_embedding = nn.Conv3d(in_channels, dim, patch, stride=patch)
        self.time_embedding = TimestepEmbedding(FREQUENCIES, dim)
        self.fps_embedding = TimestepEmbedding(FREQUENCIES, dim)
        self.time_proj = nn.Linear(dim, 6 * dim)
        self.caption_projection = PixArtAlphaTextProjection(caption_channels, dim)
        self.register_buffer("null_caption", torch.randn(max_caption_tokens, caption_channels))
        self.spatial_blocks, self.temporal_blocks = (
            nn.ModuleList(
                OpenSoraTransformerBlock(dim, num_attention_heads, round(mlp_ratio * dim))
                for _ in range(num_layers)
            )
            for _ in range(2)
        )
        self.final_layer = FinalLayer(dim, PATCH**2 * 2 * in_channels)
        self.gradient_checkpointing = False

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor | None,
        fps: Tensor,
        height: Tensor | float,
        width: Tensor | float,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """The sample (B, 2C, F, H, W), float32, of which `velocity` makes noise - data.

        hidden_states: latents (B, C, F, H, W), H and W of any parity. timestep: (B,), or one a frame (B, F),
            from 1000, noise, to 0, clean.
        encoder_hidden_states: captions (B, L, T) or (B, 1, L, T). encoder_attention_mask: (B, L), 0 for tokens
            that count as absent; fewer rows repeat in order; None uses all tokens.
        fps: (B,) or (1,). height, width: the announced size of the picture in pixels, one for all samples; of
            tensors (B,), the first value.
        """
        B, _, F, H, W = hidden_states.shape
        x = self.patch_embedding(functional.pad(hidden_states, (0, W % PATCH, 0, H % PATCH)))
        h, w = x.shape[3:]
        height, width = (float(torch.as_tensor(side).flatten()[0]) for side in (height, width))
        places = place_embedding(x.shape[1], h, w, height, width, x.device)
        x = x.flatten(3).permute(0, 2, 3, 1).contiguous() + places.type_as(x)

        temb = _embedded(timestep.view(B, -1), self.time_embedding)
        temb = temb + _embedded(fps.view(-1, 1), self.fps_embedding)
        modulation = self.time_proj(functional.silu(temb)).unflatten(2, (6, -1))
        captions = self.caption_projection(encoder_hidden_states.flatten(1, -2))
        mask = None
        if encoder_attention_mask is not None:
            tiles = B // encoder_attention_mask.shape[0]
            mask = encoder_attention_mask.bool().repeat(tiles, 1)[:, None, None]

        rotation = frame_rotation(self.config.attention_head_dim, F, x.device)
        for spatial, temporal in zip(self.spatial_blocks, self.temporal_blocks, strict=True):
            x = self._run(spatial, x, captions, modulation, mask)
            x = self._run(temporal, x, captions, modulation, mask, rotation)

        x = self.final_layer(x, temb).view(B, F, h, w, PATCH, PATCH, -1).permute(0, 6, 1, 2, 4, 3, 5)
        sample = x.flatten(5, 6).flatten(3, 4)[..., :H, :W].float()
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    def _run(self, block: nn.Module, *arguments: Any) -> Tensor:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, *arguments)
        return block(*arguments)


def _embedded(numbers: Tensor, embedding: TimestepEmbedding) -> Tensor:
    return embedding(sinusoid(numbers).to(embedding.linear_1.weight.dtype))


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], eps=EPSILON) * (1 + scale) + shift
