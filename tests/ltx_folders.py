"""Folders of LTX-Video and LTX-2 as they are on the hub, but tiny, with random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    AutoencoderKLLTXVideo,
    FlowMatchEulerDiscreteScheduler,
    LTX2VideoTransformer3DModel,
    LTXVideoTransformer3DModel,
)
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, T5Config, T5EncoderModel

from conftest import WORDS, save_folder, tiny_text_encoder

CHANNELS = 8
NETWORK: dict[str, Any] = {
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "cross_attention_dim": 24,
    "num_layers": 2,
    "caption_channels": 16,
}
VAE: dict[str, Any] = {
    "latent_channels": CHANNELS,
    "decoder_block_out_channels": (16, 32, 64),
    "decoder_layers_per_block": (1, 1, 1, 1),
    "layers_per_block": (1, 1, 1, 1, 1),
}
SCHEDULER = {
    "use_dynamic_shifting": True,
    "base_shift": 0.95,
    "max_shift": 2.05,
    "base_image_seq_len": 1024,
    "max_image_seq_len": 4096,
    "shift_terminal": 0.1,
}


def save_ltx(folder: Path) -> Path:
    """As LTX-Video 0.9.1's on the hub, but small: a T5, a decoder that is told a timestep."""
    torch.manual_seed(8)
    vae = AutoencoderKLLTXVideo(
        **VAE,
        block_out_channels=(8, 16, 16, 16),
        decoder_spatio_temporal_scaling=(True, True, True),
        decoder_inject_noise=(True, True, True, False),
        upsample_residual=(True, True, True),
        upsample_factor=(2, 2, 2),
        timestep_conditioning=True,
    )
    vae.latents_std.fill_(1.5)
    save_folder(
        folder,
        ["diffusers", "AutoencoderKLLTXVideo"],
        tiny_text_encoder(T5Config, T5EncoderModel),
        vae,
        end=True,
        transformer=LTXVideoTransformer3DModel(**NETWORK),
    )
    FlowMatchEulerDiscreteScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    return folder


def tiny_gemma() -> Gemma3ForConditionalGeneration:
    """Of two layers, with the eyes that it has."""
    return Gemma3ForConditionalGeneration(
        Gemma3Config(
            text_config={
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "head_dim": 8,
                "vocab_size": len(WORDS) + 6,
                "pad_token_id": 0,
            },
            vision_config={
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 28,
                "patch_size": 14,
            },
            mm_tokens_per_image=4,
            image_token_index=len(WORDS) + 5,
        )
    )


def save_ltx2(folder: Path) -> Path:
    """As LTX-2's on the hub, but small, and of its sound the entries alone."""
    torch.manual_seed(9)
    network = LTX2VideoTransformer3DModel(
        **NETWORK,
        audio_in_channels=4,
        audio_out_channels=4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=6,
        audio_cross_attention_dim=12,
        rope_type="split",
    )
    vae = AutoencoderKLLTX2Video(
        **VAE,
        block_out_channels=(16, 32, 64, 64),
        decoder_causal=False,
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )
    save_folder(
        folder,
        ["diffusers", "AutoencoderKLLTX2Video"],
        tiny_gemma(),
        vae,
        end=False,
        transformer=network,
    )
    LTX2TextConnectors(
        caption_channels=16,
        text_proj_in_factor=3,
        video_connector_num_attention_heads=2,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=4,
        audio_connector_num_attention_heads=2,
        audio_connector_attention_head_dim=8,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=4,
        rope_type="split",
    ).save_pretrained(folder / "connectors")
    FlowMatchEulerDiscreteScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {
        "connectors": ["ltx2", "LTX2TextConnectors"],
        "audio_vae": ["diffusers", "AutoencoderKLLTX2Audio"],
        "vocoder": ["ltx2", "LTX2Vocoder"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def tiny_sound() -> AutoencoderKLLTX2Audio:
    """The pipeline of LTX-2 wants one."""
    return AutoencoderKLLTX2Audio(
        base_channels=4,
        ch_mult=(1,),
        num_res_blocks=1,
        in_channels=2,
        resolution=32,
        latent_channels=2,
        mel_bins=8,
        attn_resolutions=None,
        mid_block_add_attention=False,
    )
