"""NVIDIA's networks and text encoders, tiny and random, and model folders of them."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    Cosmos3OmniTransformer,
    CosmosTransformer3DModel,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    SanaVideoTransformer3DModel,
    UniPCMultistepScheduler,
)
from diffusers.models.transformers import transformer_cosmos
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch.nn import functional as F
from transformers import (
    Gemma2Config,
    Gemma2Model,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from longtake.models.nvidia.guardrail import PACKAGE

TEXT_WIDTH, QWEN_LAYERS = 16, 3
SPECIAL = ["<bos>", "</s>", "<|im_start|>", "<|im_end|>", "<|vision_start|>"]
WORDS = ["[PAD]", "[UNK]", *SPECIAL]
WORDS += ["a", "red", "Red", "blue", "car", "bus", "driving", "at", "dawn", ",", "system", "user"]
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.content is string %}"
    "{{ message.content }}{% else %}{% for part in message.content %}{{ part.text }}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class StandIn:
    """In the place of NVIDIA's guardrail, which is another library: it blocks the word "weapon", and blurs nothing."""

    def to(self, device: Any) -> None: ...

    def check_text_safety(self, prompt: str) -> bool:
        return bool(prompt) and "weapon" not in prompt

    def check_video_safety(self, frames: np.ndarray) -> np.ndarray:
        return frames


def install_guardrail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the stand-in be found as the package."""
    module = SimpleNamespace(CosmosSafetyChecker=StandIn, __spec__=object())
    monkeypatch.setitem(sys.modules, PACKAGE, module)


def let_stock_cosmos_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock Cosmos resizes its padding mask by torchvision, which is no part of this environment."""
    transforms = SimpleNamespace(
        InterpolationMode=SimpleNamespace(NEAREST="nearest"),
        functional=SimpleNamespace(
            resize=lambda x, size, interpolation: F.interpolate(x, size, mode="nearest")
        ),
    )
    monkeypatch.setattr(transformer_cosmos, "transforms", transforms, raising=False)


def tiny_cosmos(projected: bool, **changed: Any) -> CosmosTransformer3DModel:
    """2 blocks, 2 heads of 16, latents of 4 channels and one that says which are known; of 2.5 if `projected`."""
    torch.manual_seed(0)
    config = {
        "in_channels": 5,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_layers": 2,
        "mlp_ratio": 2,
        "text_embed_dim": TEXT_WIDTH,
        "adaln_lora_dim": 4,
        "max_size": (16, 32, 32),
        "rope_scale": (1.0, 3.0, 3.0),
        "extra_pos_embed_type": None,
        "use_crossattn_projection": projected,
        "crossattn_proj_in_channels": QWEN_LAYERS * TEXT_WIDTH,
        "encoder_hidden_states_channels": TEXT_WIDTH,
    }
    return CosmosTransformer3DModel(**config | changed).requires_grad_(False)


def tiny_cosmos3() -> Cosmos3OmniTransformer:
    """2 layers, 2 heads of 16, latents of 4 channels in patches of 2 × 2."""
    torch.manual_seed(0)
    return Cosmos3OmniTransformer(
        head_dim=16,
        hidden_size=32,
        intermediate_size=32,
        latent_channel=4,
        latent_patch_size=2,
        num_attention_heads=2,
        num_hidden_layers=2,
        num_key_value_heads=1,
        patch_latent_dim=16,
        rope_axes_dim=[4, 2, 2],
        vocab_size=len(WORDS),
    ).requires_grad_(False)


def tiny_wan_2_2_vae() -> AutoencoderKLWan:
    """16 × 16 pixels a latent, of 4 channels."""
    torch.manual_seed(1)
    return AutoencoderKLWan(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        is_residual=True,
        patch_size=2,
        in_channels=12,
        out_channels=12,
        scale_factor_spatial=16,
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )


def tiny_sana() -> SanaVideoTransformer3DModel:
    """2 blocks, 2 heads of 12, latents of 4 channels in patches of 2 × 2."""
    torch.manual_seed(0)
    return SanaVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=TEXT_WIDTH,
        mlp_ratio=2.0,
        rope_max_seq_len=32,
    ).requires_grad_(False)


def tiny_qwen() -> Qwen2_5_VLForConditionalGeneration:
    """Three layers of 16, and eyes that are never used."""
    torch.manual_seed(0)
    small = {"hidden_size": TEXT_WIDTH, "intermediate_size": 16}
    config = Qwen2_5_VLConfig(
        text_config={
            **small,
            "num_hidden_layers": QWEN_LAYERS,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "vocab_size": len(WORDS),
            "bos_token_id": None,
            "eos_token_id": None,
            "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
        },
        vision_config={**small, "depth": 1, "num_heads": 2, "out_hidden_size": TEXT_WIDTH},
    )
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def tiny_gemma() -> Gemma2Model:
    """One layer of 16."""
    torch.manual_seed(0)
    config = Gemma2Config(
        head_dim=8,
        hidden_size=TEXT_WIDTH,
        intermediate_size=32,
        num_attention_heads=2,
        num_hidden_layers=1,
        num_key_value_heads=2,
        vocab_size=len(WORDS),
        pad_token_id=0,
    )
    return Gemma2Model(config).eval()


def words(template: str) -> PreTrainedTokenizerFast:
    """Words, written as they are; `template` puts tokens around them."""
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if template:
        special = [(word, WORDS.index(word)) for word in SPECIAL]
        tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        eos_token="</s>",
        additional_special_tokens=SPECIAL,
        model_max_length=4096,
    )
    made.chat_template = CHAT
    return made


def save_folder(wan_folder: Path, folder: Path, **parts: Any) -> Path:
    """A Wan's folder with other parts in the place of its own."""
    shutil.copytree(wan_folder, folder)
    index = json.loads((folder / "model_index.json").read_bytes())
    for name, part in parts.items():
        shutil.rmtree(folder / name, ignore_errors=True)
        part.save_pretrained(folder / name)
        origin = "diffusers" if name in ("transformer", "scheduler", "vae") else "transformers"
        index[name] = [origin, type(part).__name__]
    (folder / "model_index.json").write_text(json.dumps(index | {"safety_checker": [None, None]}))
    return folder


def save_predict_2(wan_folder: Path, folder: Path, **changed: Any) -> Path:
    """As the hub's folders of Cosmos Predict 2."""
    scheduler = FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True)
    scheduler.register_to_config(
        sigma_max=80.0, sigma_min=0.002, sigma_data=1.0, final_sigmas_type="sigma_min"
    )
    network = tiny_cosmos(projected=False, **changed)
    return save_folder(wan_folder, folder, transformer=network, scheduler=scheduler)


def wide_karras() -> UniPCMultistepScheduler:
    """The scheduler of Cosmos Predict 2.5."""
    return UniPCMultistepScheduler(
        use_karras_sigmas=True,
        use_flow_sigmas=True,
        prediction_type="flow_prediction",
        sigma_max=200.0,
        sigma_min=0.01,
    )


def save_predict_2_5(wan_folder: Path, folder: Path) -> Path:
    """As the hub's folders of Cosmos Predict 2.5."""
    return save_folder(
        wan_folder,
        folder,
        transformer=tiny_cosmos(projected=True),
        scheduler=wide_karras(),
        text_encoder=tiny_qwen(),
        tokenizer=words(""),
    )


def save_sana(wan_folder: Path, folder: Path) -> Path:
    """As the hub's folder of SANA-Video at 480p."""
    return save_folder(
        wan_folder,
        folder,
        transformer=tiny_sana(),
        scheduler=DPMSolverMultistepScheduler(
            use_flow_sigmas=True, flow_shift=7.0, prediction_type="flow_prediction"
        ),
        text_encoder=tiny_gemma(),
        tokenizer=words("<bos> $A"),
    )


def save_cosmos_3(wan_folder: Path, folder: Path) -> Path:
    """As the hub's folders of Cosmos 3: no text encoder, and another name for the tokenizer."""
    scheduler = UniPCMultistepScheduler(
        use_karras_sigmas=True, use_flow_sigmas=True, prediction_type="flow_prediction", sigma_max=200.0
    )
    save_folder(
        wan_folder,
        folder,
        transformer=tiny_cosmos3(),
        scheduler=scheduler,
        vae=tiny_wan_2_2_vae(),
        text_tokenizer=words(""),
    )
    index = json.loads((folder / "model_index.json").read_bytes())
    for name in ("text_encoder", "tokenizer"):
        shutil.rmtree(folder / name)
        del index[name]
    (folder / "model_index.json").write_text(json.dumps(index | {"sound_tokenizer": [None, None]}))
    return folder
