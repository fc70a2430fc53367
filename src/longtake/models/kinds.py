"""What a file or a folder is that was given in place of a model or its weights, and what to do about it.

Judged by first bytes, names and the headers of safetensors files; nothing is loaded, and no torch.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from longtake.errors import ModelError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
POINTER = b"version https://git-lfs.github.com/spec/"
HEAD = 64  # bytes of a file that tell what it is
IN_DIFFUSERS_LAYOUT = (
    "give a folder in diffusers' layout, with a model_index.json, or a hub name such as"
    " Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
)
# The same weights in diffusers' layout, by the width of the network.
WAN_BY_WIDTH = {
    1536: "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    3072: "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    5120: "Wan-AI/Wan2.1-T2V-14B-Diffusers",
}
# What the weights in a file are of, by a part of the name of a tensor; the first that is found.
LORA_PARTS = (".lora_", ".lora.", ".lokr_", ".hada_", ".diff_b")
QUANTISED_PARTS = ("scaled_fp8", ".scale_weight", ".weight_scale", ".absmax", ".quant_map", ".comfy_quant")
WEIGHTS_OF = {
    "blocks.0.self_attn.q.weight": "the network of a Wan in its authors' naming, as ComfyUI takes it",
    "blocks.0.attn1.to_q.weight": "the network of a Wan alone, in diffusers' naming",
    "encoder.downsamples.": "Wan's autoencoder in its authors' naming",
    "spatial_vae.module.": "Open-Sora's autoencoder as it was released",
    "temporal_blocks.0.attn.qkv.": "Open-Sora's network as it was released",
    "double_blocks.0.": "the network of a HunyuanVideo or Flux",
    "encoder.block.0.layer.": "a T5 text encoder",
    "token_embedding.weight": "a T5 text encoder in Wan's authors' naming",
    "input_blocks.0.": "the network of a Stable Diffusion",
    "patchify_proj.": "the network of an LTX-Video or LTX-2 in its authors' naming, as ComfyUI takes it",
    "transformer_blocks.0.": "the network of another model",
}


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of a model's folder. Raises ModelError if it is missing or anything else."""
    path = folder / name
    try:
        content = path.read_bytes()
        reason = foreign(path, content[:HEAD])
        read = None if reason else json.loads(content.decode())
    except FileNotFoundError:
        known = kind_of_folder(folder) if name == "model_index.json" and folder.is_dir() else None
        raise ModelError(
            f"model folder {folder} is incomplete: {name} is missing{f'; {known}' if known else ''}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"model folder {folder}: {name} cannot be read ({error})") from error
    if reason:
        raise ModelError(f"model folder {folder}: {name} {reason}")
    if not isinstance(read, dict):
        raise ModelError(f"model folder {folder}: {name} is not a JSON object")
    return read


def first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def foreign(path: Path, head: bytes) -> str | None:
    """What is wrong with a file at first sight, by its first bytes, and what to do; None if it may be what it should
    be."""
    if not head:
        return "is empty: fetch it again"
    if head.startswith(POINTER):
        return "is a git-lfs pointer, not the file it stands for: run git lfs pull there, or fetch it again"
    if head.startswith(b"GGUF"):
        return "is a GGUF file, whose weights are quantised: take them as safetensors in bfloat16 or float16"
    # A safetensors file may begin as pickles do, with the length of its header, but then comes a {.
    if path.suffix.lower() in PICKLES or (head.startswith((b"PK\3\4", b"\x80")) and head[8:9] != b"{"):
        return "is a pickle, which can run code when it is opened: take the weights as safetensors"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is a web page, saved in place of the file: fetch it again"
    return None


def refuse_foreign(path: Path) -> None:
    """ModelError for a file that is something else at first sight, or cannot be read."""
    try:
        reason = foreign(path, first_bytes(path))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing: fetch it again") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror})") from error
    if reason:
        raise ModelError(f"{path} {reason}")


def kind_of_file(path: Path) -> str:
    """What a file is that was given as a model, in words that follow its name, and what to do."""
    try:
        reason = foreign(path, first_bytes(path))
        if reason is None and path.name == "model_index.json":
            return f"is part of a model folder: give the folder, {path.parent}"
        if reason is None:
            with safe_open(path, "np") as file:
                return kind_of_weights(file.keys())
        return f"{reason}; a model is a folder, {IN_DIFFUSERS_LAYOUT}"
    except (OSError, SafetensorError) as error:
        return f"is a single file and no whole safetensors file ({error}): {IN_DIFFUSERS_LAYOUT}"


def kind_of_weights(names: Collection[str]) -> str:
    """What a file of tensors of these names is, in words that follow its name, and what to do."""
    if is_lora(names):
        return "is a LoRA, no model: give it as --lora, with the --model that it was made for"
    return f"is a single file, {weights_of(names)}: {IN_DIFFUSERS_LAYOUT}"


def weights_of(names: Collection[str]) -> str:
    """What tensors of these names are the weights of."""
    unknown = f"weights of an unknown kind, such as {min(names, default='none')}"
    whose = next(
        (whose for part, whose in WEIGHTS_OF.items() if any(part in name for name in names)), unknown
    )
    return whose + ", quantised" * any(part in name for name in names for part in QUANTISED_PARTS)


def is_lora(names: Collection[str]) -> bool:
    """Whether tensors of these names change another model's."""
    return any(part in name for name in names for part in LORA_PARTS)


def kind_of_folder(folder: Path) -> str | None:
    """What a folder without a model_index.json is, and what to do; None if nothing is known of it."""
    if (folder / "model" / "model_index.json").is_file():
        return f"it is the folder of a training run: give {folder / 'model'}"
    for place in (folder / "lora", folder):
        if (place / "adapter_config.json").is_file():
            return f"it holds a LoRA: give --lora {folder}, with the --model that it was made for"
    config = _config(folder)
    kind = config.get("_class_name") or config.get("model_type")
    names = sorted(path.name for path in folder.iterdir())
    if kind == "WanModel" or any(name.startswith(("Wan2", "models_t5_")) for name in names):
        return _authors_wan(config)
    if {"high_noise_model", "low_noise_model"} <= set(names):
        return f"it is a Wan 2.2 of two experts in its authors' layout: {IN_DIFFUSERS_LAYOUT}"
    if kind in ("STDiT3", "OpenSoraVAE_V1_2"):
        return "it holds Open-Sora's weights as they were released: longtake convert open-sora makes a folder of them"
    if isinstance(kind, str):
        return f"it is one part alone, a {kind}: give the folder of the whole model"
    files = [name for name in names if name.endswith((".safetensors", ".gguf", *PICKLES))]
    return f"{files[0]} {kind_of_file(folder / files[0])}" if files else None


def _config(folder: Path) -> dict[str, object]:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _authors_wan(config: dict[str, object]) -> str:
    said = "it is a Wan in its authors' layout"
    width, task = config.get("dim"), config.get("model_type", "t2v")
    if task not in ("t2v", "ti2v"):
        return f"{said}, of the kind {task}, where a text-to-video model is needed: {IN_DIFFUSERS_LAYOUT}"
    same = WAN_BY_WIDTH.get(width) if isinstance(width, int) else None
    if same is None:
        return f"{said}, with pickles: {IN_DIFFUSERS_LAYOUT}"
    return f"{said}, with pickles: take the same weights in diffusers' layout, {same}"
