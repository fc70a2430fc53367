"""MiniMax-H3 and Motif-Video, too small to be good for anything: networks, autoencoders, folders of real classes."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLMiniMaxH3,
    MiniMaxH3Scheduler,
    MiniMaxH3Transformer3DModel,
    MotifVideoTransformer3DModel,
)
from transformers import (
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    T5Gemma2Encoder,
    T5Gemma2EncoderConfig,
    T5Gemma2TextConfig,
)

from conftest import save_folder, tiny_tokenizer, tiny_wan_vae

CHANNELS, TEXT_WIDTH = 4, 16


def h3_network() -> MiniMaxH3Transformer3DModel:
    """2 blocks, 2 heads of 16."""
    torch.manual_seed(0)
    return MiniMaxH3Transformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        hidden_size=24,
        num_layers=2,
        num_refiner_layers=1,
        ffn_dim=32,
        in_channels=CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=16,
        time_embed_hidden_dim=24,
        time_embed_dim=16,
        rope_freq_dim=2,
    ).eval()


def h3_vae() -> AutoencoderKLMiniMaxH3:
    """16 × 16 pixels and 4 frames a latent, tiles of 2 × 2 latents."""
    torch.manual_seed(0)
    made = AutoencoderKLMiniMaxH3(
        latent_channels=CHANNELS,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        spatial_downsample_factors=(2, 2, 2, 2),
        temporal_downsample_factors=(1, 2, 2, 1),
        norm_num_groups=4,
        decoder_num_layers=2,
        decoder_num_attention_heads=2,
        decoder_attention_head_dim=16,
        latents_mean=(0.3, -0.2, 0.1, 0.0),
        latents_std=(1.5, 0.8, 1.2, 0.5),
    ).eval()
    for parameter in made.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    made.enable_tiling(32, 32, 16, 16)
    return made


def tiny_qwen() -> Qwen3VLForConditionalGeneration:
    """51 layers, since the 50th is read, of 2 heads of 8."""
    words = {
        "vocab_size": 40,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 16,
        "num_hidden_layers": 51,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e4},
    }
    vision = {
        "depth": 1,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_heads": 1,
        "out_hidden_size": TEXT_WIDTH,
        "patch_size": 4,
        "deepstack_visual_indexes": [0],
        "num_position_embeddings": 16,
    }
    torch.manual_seed(0)
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(text_config=words, vision_config=vision, tie_word_embeddings=False)
    ).eval()


def save_h3(made: Path) -> Path:
    """As the hub holds it: a modular index, with parts that films do without."""
    parts = {
        "tokenizer": ("transformers", "Qwen2Tokenizer", tiny_tokenizer(end=False)),
        "text_encoder": ("transformers", "Qwen3VLForConditionalGeneration", tiny_qwen()),
        "transformer": ("diffusers", "MiniMaxH3Transformer3DModel", h3_network()),
        "vae": ("diffusers", "AutoencoderKLMiniMaxH3", h3_vae()),
        "scheduler": ("diffusers", "MiniMaxH3Scheduler", MiniMaxH3Scheduler(shift=12.0)),
    }
    for name, (_, _, part) in parts.items():
        part.save_pretrained(made / name)
    index: dict[str, Any] = {
        name: [origin, kind, {"subfolder": name}] for name, (origin, kind, _) in parts.items()
    }
    index |= {
        "audio_vae": ["diffusers", "AutoencoderKLMiniMaxH3Audio", {}],
        "_class_name": "MiniMaxH3ModularPipeline",
    }
    (made / "modular_model_index.json").write_text(json.dumps(index))
    return made


def motif_network() -> MotifVideoTransformer3DModel:
    """A block of two streams, one of one, and two that see frames; text is attended to beside, too."""
    torch.manual_seed(0)
    network = MotifVideoTransformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        num_single_layers=3,
        num_decoder_layers=2,
        text_embed_dim=TEXT_WIDTH,
        rope_axes_dim=(4, 4, 4),
        enable_text_cross_attention_dual=True,
        enable_text_cross_attention_single=True,
    )
    return network.eval()


def save_motif(place: Path) -> Path:
    """A folder as the hub holds it."""
    torch.manual_seed(0)
    words = T5Gemma2TextConfig(
        hidden_size=TEXT_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        vocab_size=24,
        head_dim=8,
        num_key_value_heads=2,
        dropout_rate=0.0,
        layer_norm_epsilon=1e-6,
        dense_act_fn="gelu",
    )
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    encoder = T5Gemma2Encoder(T5Gemma2EncoderConfig(text_config=words, vision_config=vision)).eval()
    return save_folder(
        place, ["diffusers", "AutoencoderKLWan"], encoder, tiny_wan_vae(), True, motif_network()
    )
