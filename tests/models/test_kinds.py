"""What is no model folder is told for what it is, with what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from longtake.errors import ModelError
from longtake.models.load import load_model, read_spec


def weights(name: str, *tensors: str) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        save_file({tensor: torch.ones(2) for tensor in tensors}, place / name)
        return place / name

    return make


def file(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        (place / name).write_bytes(content)
        return place / name

    return make


def folder(*parts: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        for part in parts:
            part(place)
        return place

    return make


def config(**content: Any) -> Callable[[Path], Path]:
    return file("config.json", json.dumps(content).encode())


def nested(name: str, content: bytes = b"{}") -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        (place / name).parent.mkdir()
        return file(name, content)(place)

    return make


SAME = "take the same weights in diffusers' layout, Wan-AI/"
Q = "blocks.0.self_attn.q.weight"
WAN_FILES = file("Wan2.1_VAE.pth", b"PK\3\4"), file("models_t5_umt5-xxl-enc-bf16.pth", b"PK\3\4")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            weights("wan.safetensors", Q),
            "the network of a Wan in its authors' naming, as ComfyUI takes it: give a",
        ),
        (
            weights("wan.safetensors", f"model.diffusion_model.{Q}"),
            "the network of a Wan in its authors' naming",
        ),
        (weights("wan.safetensors", Q, "scaled_fp8"), "as ComfyUI takes it, quantised: give a folder"),
        (
            weights("x.safetensors", "blocks.0.attn1.to_q.weight"),
            "the network of a Wan alone, in diffusers' naming",
        ),
        (weights("vae.safetensors", "encoder.downsamples.0.residual.0.gamma"), "Wan's autoencoder"),
        (weights("umt5.safetensors", "shared.weight", "encoder.block.0.layer.0.x"), "a T5 text encoder"),
        (weights("hv.safetensors", "double_blocks.0.img_mod.lin.weight"), "HunyuanVideo or Flux"),
        (weights("what.safetensors", "some.weight"), "of an unknown kind, such as some.weight"),
        (
            weights("l.safetensors", "blocks.0.self_attn.q.lora_A.weight"),
            "is a LoRA, no model: give it",
        ),
        (file("wan.gguf", b"GGUF\3\0\0\0"), "is a GGUF file, whose weights are quantised"),
        (file("wan.ckpt", b"PK\3\4"), "is a pickle"),
        (file("wan.safetensors", b"version https://git-lfs.github.com/spec/v1\n"), "git-lfs pointer"),
        (file("wan.safetensors", b""), "is empty"),
        (file("wan.safetensors", b"\x40\0\0\0\0\0\0\0{"), "no whole safetensors file"),
        (file("model_index.json", b"{}"), "is part of a model folder: give the folder"),
        (folder(config(_class_name="WanModel", dim=1536), *WAN_FILES), SAME + "Wan2.1-T2V-1.3B-Diffusers"),
        (
            folder(config(_class_name="WanModel", dim=5120, model_type="t2v")),
            SAME + "Wan2.1-T2V-14B-Diffusers",
        ),
        (
            folder(config(_class_name="WanModel", dim=3072, model_type="ti2v")),
            SAME + "Wan2.2-TI2V-5B-Diffusers",
        ),
        (
            folder(config(_class_name="WanModel", dim=5120, model_type="i2v")),
            "of the kind i2v, where a text-to-video",
        ),
        (
            folder(config(_class_name="WanModel", dim="wide")),
            "in its authors' layout, with pickles: give a folder",
        ),
        (folder(*WAN_FILES), "is a Wan in its authors' layout"),
        (
            folder(nested("high_noise_model/config.json"), nested("low_noise_model/config.json")),
            "of two experts",
        ),
        (folder(config(model_type="STDiT3")), "longtake convert open-sora makes a folder"),
        (folder(config(_class_name="WanTransformer3DModel")), "one part alone, a WanTransformer3DModel"),
        (folder(nested("model/model_index.json")), "the folder of a training run: give "),
        (folder(nested("lora/adapter_config.json")), "it holds a LoRA: give --lora"),
        (folder(file("adapter_config.json", b"{}")), "it holds a LoRA: give --lora"),
        (folder(weights("wan.safetensors", Q)), "wan.safetensors is a single file, the network of a Wan"),
        (folder(file("wan.gguf", b"GGUF")), "wan.gguf is a GGUF file"),
        (folder(config(_class_name=["a", 3])), "model_index.json is missing"),
    ],
)
def test_it_is_told_what_it_is(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    """Guards what people have on their disks: one line that says what it is and what to do, and no traceback."""
    place = make(tmp_path)
    for read in (read_spec, load_model):
        with pytest.raises(ModelError) as error:
            read(place)
        assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("none", ["", " "])
def test_an_empty_name_is_no_model(none: str) -> None:
    """Guards against the working folder, or the embedded model, in place of a variable that was not set."""
    for read in (read_spec, load_model):
        with pytest.raises(ModelError, match="the name of the model is empty"):
            read(none)
