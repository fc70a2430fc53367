"""Folders of models with joint attention, as the hub's are, tiny: every part of its real class."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import CogVideoXDDIMScheduler, FlowMatchEulerDiscreteScheduler
from transformers import (
    ByT5Tokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    LlamaConfig,
    LlamaModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    T5Config,
    T5EncoderModel,
)

from conftest import WORDS, tiny_text_encoder, tiny_tokenizer
from joint import (
    JOINED,
    ROTARY,
    SCHEDULE,
    TEXT_WIDTH,
    cogvideox_network,
    cogvideox_vae,
    hunyuan15_network,
    hunyuan15_vae,
    hunyuan_network,
    hunyuan_vae,
    kandinsky_network,
)

LANGUAGE = {
    "vocab_size": len(WORDS) + 3,
    "hidden_size": TEXT_WIDTH,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
TURNS = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
DEFAULTS: dict[str, Any] = {
    "width": 48,
    "height": 32,
    "fps": 8,
    "num_inference_steps": 4,
    "steps_per_chunk": 2,
    "chunk_size": 1,
    "context_size": 1,
    "shift": 3.0,
    "guidance_scale": 2.0,
}


def saved(folder: Path, parts: dict[str, Any], **defaults: Any) -> Path:
    """A folder of parts, each with the name of its class where that is not its own, and its longtake.json."""
    index: dict[str, Any] = {"_class_name": "Pipeline"}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
        library = "transformers" if name.startswith(("text_encoder", "tokenizer")) else "diffusers"
        index[name] = [library, type(part).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "longtake.json").write_text(json.dumps({**DEFAULTS, **defaults}))
    return folder


def clip() -> dict[str, Any]:
    """CLIP, whose words are letters."""
    words = {letter: i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    words |= {f"{letter}</w>": 26 + i for letter, i in list(words.items())}
    words |= {"<|startoftext|>": 52, "<|endoftext|>": 53}
    config = CLIPTextConfig(
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=54,
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
    )
    return {"text_encoder_2": CLIPTextModel(config), "tokenizer_2": CLIPTokenizer(vocab=words, merges=[])}


def cogvideox_folder(folder: Path, shift: float = 3.0, **changes: Any) -> Path:
    joined = changes.get("patch_size_t", 1)
    torch.manual_seed(11)
    parts = {
        "tokenizer": tiny_tokenizer(end=True),
        "text_encoder": tiny_text_encoder(T5Config, T5EncoderModel),
        "transformer": cogvideox_network(**changes, max_text_seq_length=12),
        "vae": cogvideox_vae(),
        "scheduler": CogVideoXDDIMScheduler(**SCHEDULE, snr_shift_scale=shift),
    }
    return saved(folder, parts, shift=shift, chunk_size=joined, context_size=joined)


def hunyuan_folder(folder: Path) -> Path:
    torch.manual_seed(12)
    parts = {
        "tokenizer": tiny_tokenizer(end=False),
        "text_encoder": LlamaModel(LlamaConfig(**LANGUAGE)),
        "transformer": hunyuan_network(),
        "vae": hunyuan_vae(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
        **clip(),
    }
    return saved(folder, parts, shift=7.0, guidance_scale=1.0)


def hunyuan15_folder(folder: Path) -> Path:
    torch.manual_seed(13)
    bytes_of = T5Config(vocab_size=384, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    parts = {
        "tokenizer": tiny_tokenizer(end=False),
        "text_encoder": Qwen2_5_VLTextModel(Qwen2_5_VLTextConfig(**LANGUAGE, rope_parameters=TURNS)),
        "tokenizer_2": ByT5Tokenizer(),
        "text_encoder_2": T5EncoderModel(bytes_of),
        "transformer": hunyuan15_network(),
        "vae": hunyuan15_vae(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=5.0),
    }
    return saved(folder, parts, shift=5.0)


def kandinsky_folder(folder: Path) -> Path:
    torch.manual_seed(14)
    sees = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    reads = {**LANGUAGE, "rope_parameters": TURNS}
    qwen = Qwen2_5_VLConfig(text_config=reads, vision_config={**sees, "fullatt_block_indexes": [0]})
    parts = {
        "tokenizer": tiny_tokenizer(end=False),
        "text_encoder": Qwen2_5_VLForConditionalGeneration(qwen),
        "transformer": kandinsky_network(),
        "vae": hunyuan_vae(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=5.0),
        **clip(),
    }
    return saved(folder, parts, shift=5.0)


FOLDERS = {
    "CogVideoX-2B": cogvideox_folder,
    "CogVideoX-5B": lambda folder: cogvideox_folder(folder, 1.0, **ROTARY),
    "CogVideoX1.5-5B": lambda folder: cogvideox_folder(folder, 1.0, **JOINED),
    "HunyuanVideo": hunyuan_folder,
    "HunyuanVideo-1.5": hunyuan15_folder,
    "Kandinsky-5": kandinsky_folder,
}
