"""Networks and autoencoders of models with joint attention, too small to be good for anything: random weights, the
real classes.

B batch, F latent frames, L text tokens, D text width
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLHunyuanVideo,
    AutoencoderKLHunyuanVideo15,
    CogVideoXTransformer3DModel,
    HunyuanVideo15Transformer3DModel,
    HunyuanVideoTransformer3DModel,
    Kandinsky5Transformer3DModel,
)
from torch import Tensor

from longtake.models.joint import cogvideox, cogvideox_blocks, hunyuan, hunyuan_blocks, kandinsky
from longtake.models.joint.discrete import nearest_timestep
from longtake.schedules import cogvideox_levels

# The scheduler of every CogVideoX, but for its snr_shift_scale.
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "set_alpha_to_one": True,
    "clip_sample": False,
    "timestep_spacing": "trailing",
}
CHANNELS, TEXT_TOKENS, TEXT_WIDTH = 4, 5, 16
ROTARY: dict[str, Any] = {"use_rotary_positional_embeddings": True}
JOINED: dict[str, Any] = {**ROTARY, "patch_size_t": 2, "patch_bias": False}


def cogvideox_network(**changes: Any) -> CogVideoXTransformer3DModel:
    """2 blocks of 2 heads of 16; the first CogVideoX, but for what changes."""
    config = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "in_channels": CHANNELS,
        "out_channels": CHANNELS,
        "time_embed_dim": 8,
        "text_embed_dim": TEXT_WIDTH,
        "num_layers": 2,
        "sample_width": 8,
        "sample_height": 8,
        "sample_frames": 9,
        "max_text_seq_length": TEXT_TOKENS,
    }
    return CogVideoXTransformer3DModel(**config | changes).eval()


def hunyuan_network() -> HunyuanVideoTransformer3DModel:
    """2 blocks of two streams and 2 of one."""
    return HunyuanVideoTransformer3DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        num_single_layers=2,
        num_refiner_layers=1,
        text_embed_dim=TEXT_WIDTH,
        pooled_projection_dim=8,
        rope_axes_dim=(4, 6, 6),
    ).eval()


def hunyuan15_network() -> HunyuanVideo15Transformer3DModel:
    """2 blocks of two streams."""
    return HunyuanVideo15Transformer3DModel(
        in_channels=2 * CHANNELS + 1,
        out_channels=CHANNELS,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        num_refiner_layers=1,
        text_embed_dim=TEXT_WIDTH,
        text_embed_2_dim=8,
        image_embed_dim=12,
        rope_axes_dim=(4, 6, 6),
    ).eval()


def kandinsky_network() -> Kandinsky5Transformer3DModel:
    """A block that reads the text, and 2 of the picture. What begins as nothing is made to do something."""
    network = Kandinsky5Transformer3DModel(
        in_visual_dim=CHANNELS,
        out_visual_dim=CHANNELS,
        in_text_dim=TEXT_WIDTH,
        in_text_dim2=8,
        time_dim=16,
        model_dim=32,
        ff_dim=48,
        num_text_blocks=1,
        num_visual_blocks=2,
        axes_dims=(4, 6, 6),
        visual_cond=True,
    )
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def cogvideox_vae() -> AutoencoderKLCogVideoX:
    return AutoencoderKLCogVideoX(
        latent_channels=CHANNELS,
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        norm_num_groups=2,
        scaling_factor=0.7,
    ).eval()


def hunyuan_vae() -> AutoencoderKLHunyuanVideo:
    return AutoencoderKLHunyuanVideo(
        latent_channels=CHANNELS,
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        norm_num_groups=2,
        scaling_factor=0.5,
    ).eval()


def hunyuan15_vae() -> AutoencoderKLHunyuanVideo15:
    return AutoencoderKLHunyuanVideo15(
        latent_channels=CHANNELS,
        block_out_channels=(4, 4, 8, 8, 8),
        layers_per_block=1,
        scaling_factor=1.03,
    ).eval()


@dataclass(frozen=True)
class Network:
    """A kind of network: how it is made and made to take timesteps a frame, what it is told besides latents and
    timesteps, stock's call of it and ours. joined: latents a token in time."""

    make: Callable[[], Any]
    prepared: Callable[[Any], Any]
    told: Callable[[], tuple[Tensor, ...]]
    stock: Callable[..., Tensor]
    velocity: Callable[..., Tensor]
    joined: int = 1


def cogvideox_stock(network: Any, latents: Tensor, timestep: Tensor, states: Tensor) -> Tensor:
    """By hand, of the scheduler's own levels: y = a x0 + s noise in place of latents, and v made a velocity."""
    shift = cogvideox.SNR_SHIFT[network.config.use_rotary_positional_embeddings]
    sigma = timestep[:, None, None, None, None] / 1000
    length = torch.sqrt((1 - sigma) ** 2 + sigma**2)
    known = nearest_timestep(timestep / 1000, cogvideox_levels(shift))
    v = cogvideox_v(network, latents / length, known, states)
    a, s, y = (1 - sigma) / length, sigma / length, latents / length
    clean, noise = a * y - s * v, s * y + a * v
    return noise - clean


def cogvideox_v(network: Any, latents: Tensor, timestep: Tensor, states: Tensor) -> Tensor:
    """What the network gives, by its own timestep, one a clip."""
    frames_first = latents.transpose(1, 2)
    rotary = cogvideox.rotary(network.config, frames_first)
    return network(frames_first, states, timestep, image_rotary_emb=rotary, return_dict=False)[0].transpose(
        1, 2
    )


def hunyuan_stock(
    network: Any, latents: Tensor, timestep: Tensor, states: Tensor, mask: Tensor, pooled: Tensor
) -> Tensor:
    guidance = torch.full((len(latents),), 6000.0)
    return network(latents, timestep, states, mask, pooled, guidance, return_dict=False)[0]


def hunyuan15_stock(
    network: Any,
    latents: Tensor,
    timestep: Tensor,
    states: Tensor,
    mask: Tensor,
    glyphs: Tensor,
    seen: Tensor,
) -> Tensor:
    batch, channels, *size = latents.shape
    return network(
        torch.cat([latents, torch.zeros(batch, channels + 1, *size)], dim=1),
        timestep,
        states,
        mask,
        encoder_hidden_states_2=glyphs,
        encoder_attention_mask_2=seen,
        image_embeds=torch.zeros(batch, 7, 12),
        return_dict=False,
    )[0]


def kandinsky_stock(
    network: Any, latents: Tensor, timestep: Tensor, states: Tensor, mask: Tensor, pooled: Tensor
) -> Tensor:
    """Row by row, each with its own tokens, as the pipeline does with two prompts."""
    made = []
    for i, count in enumerate(mask.sum(dim=1).tolist()):
        x = latents[i : i + 1].permute(0, 2, 3, 4, 1)
        x = torch.cat([x, torch.zeros(*x.shape[:-1], CHANNELS + 1)], dim=-1)
        places = [torch.arange(side) for side in (x.shape[1], x.shape[2] // 2, x.shape[3] // 2)]
        told = states[i : i + 1, :count], timestep[i : i + 1], pooled[i : i + 1], places, torch.arange(count)
        scale = (1, 3.16, 3.16)
        made.append(network(x, *told, scale_factor=scale, return_dict=False).permute(0, 4, 1, 2, 3))
    return torch.cat(made)


def text_states(batch: int = 2) -> Tensor:
    return torch.randn(batch, TEXT_TOKENS, TEXT_WIDTH)


MASK, GLYPHS_MASK = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]), torch.tensor([[0, 0, 0], [1, 1, 0]])


def cogvideox_kind(**changes: Any) -> Network:
    return Network(
        make=lambda: cogvideox_network(**changes),
        prepared=cogvideox_blocks.per_frame_timesteps,
        told=lambda: (text_states(),),
        stock=cogvideox_stock,
        velocity=cogvideox.velocity,
        joined=changes.get("patch_size_t", 1),
    )


NETWORKS = {
    "CogVideoX-2B": cogvideox_kind(),
    "CogVideoX-5B": cogvideox_kind(**ROTARY),
    "CogVideoX1.5-5B": cogvideox_kind(**JOINED),
    "HunyuanVideo": Network(
        make=hunyuan_network,
        prepared=hunyuan_blocks.per_frame_timesteps,
        told=lambda: (text_states(), MASK, torch.randn(2, 8)),
        stock=hunyuan_stock,
        velocity=hunyuan.first_velocity,
    ),
    "HunyuanVideo-1.5": Network(
        make=hunyuan15_network,
        prepared=hunyuan_blocks.per_frame_timesteps,
        told=lambda: (text_states(), MASK, torch.randn(2, 3, 8), GLYPHS_MASK),
        stock=hunyuan15_stock,
        velocity=hunyuan.second_velocity,
    ),
    "Kandinsky-5": Network(
        make=kandinsky_network,
        prepared=kandinsky.per_frame_timesteps,
        told=lambda: (text_states(), MASK, torch.randn(2, 8)),
        stock=kandinsky_stock,
        velocity=kandinsky.velocity,
    ),
}
