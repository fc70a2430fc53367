"""LoRA: pairs of small matrices whose products are added to a network's own. Kept as peft keeps it, read from
safetensors and JSON alone, and known by the sha256 of its weights.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.errors import ModelError
from longtake.models.base import LoraName
from longtake.models.folder import read_json

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2")  # attention and feed-forward of a block
# What else peft knows, and what it is when it is not used.
PLAIN = {"peft_type": "LORA", "bias": "none"} | dict.fromkeys(
    (
        "use_dora",
        "use_rslora",
        "fan_in_fan_out",
        "rank_pattern",
        "alpha_pattern",
        "modules_to_save",
        "lora_bias",
    )
)


def find_lora(lora: str | Path) -> Path:
    """The folder of a LoRA: the one given, or `lora` in it, as a run has it. ModelError if there is none."""
    for folder in (Path(lora), Path(lora) / "lora"):
        if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
            return folder
    raise ModelError(f"no LoRA in {lora}; give a folder that holds {CONFIG} and {WEIGHTS}")


def lora_name(folder: Path) -> LoraName:
    """What a film says of the LoRA in a folder. One that lies in RUN/lora is called RUN."""
    place = folder.resolve()
    with (folder / WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return LoraName(place.parent.name if place.name == "lora" else place.name, digest)


def lora_config(rank: int, alpha: float, base: str) -> str:
    """The adapter_config.json of a LoRA on the model `base`."""
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": TARGETS, "bias": "none"}
    return json.dumps(config | {"base_model_name_or_path": base}, indent=2) + "\n"


def add_lora(transformer: Any, rank: int, alpha: float) -> None:
    """Freeze a transformer and put a LoRA, float32, beside the linear layers of its blocks; it begins as 0."""
    from peft import LoraConfig

    transformer.requires_grad_(False)
    transformer.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(TARGETS)))
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def lora_key(parameter: str) -> str:
    """The name in adapter_model.safetensors of a parameter that add_lora has put into a transformer."""
    return PREFIX + parameter.replace(".default.", ".")


def fuse_lora(transformer: Any, folder: Path) -> None:
    """Add a LoRA to the weights of a transformer, in place.

    Raises ModelError if it is damaged, of another kind than peft's plain LoRA, or made for other layers.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = read_json(folder, CONFIG)
    odd = sorted(key for key, plain in PLAIN.items() if (config.get(key) or plain) != plain)
    if odd or type(config.get("r")) is not int or type(config.get("lora_alpha")) not in (int, float):
        raise ModelError(
            f"LoRA {folder}: {CONFIG} is not that of a plain LoRA; mend {odd or 'r and lora_alpha'}"
        )
    try:
        tensors = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ModelError(f"LoRA {folder}: {WEIGHTS} cannot be read ({error})") from error
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    layers = _layers(folder, transformer, tensors, config["r"])
    plain = {"r": config["r"], "lora_alpha": config["lora_alpha"], "target_modules": layers}
    transformer.load_lora_adapter(tensors, prefix=None, metadata=plain)
    transformer.fuse_lora()
    transformer.unload_lora()


def _layers(folder: Path, transformer: Any, tensors: dict[str, Tensor], rank: int) -> list[str]:
    """The layers that a LoRA changes, once it is known that each is there and of its shape."""
    from torch import nn

    linear = {name: m for name, m in transformer.named_modules() if isinstance(m, nn.Linear)}
    layers = sorted({re.sub(r"\.lora_[AB]\.weight$", "", name) for name in tensors})
    if not layers:
        raise ModelError(f"LoRA {folder} is empty")
    for layer in layers:
        pair = [tuple(tensors[key].shape) for key in _pair(layer) if key in tensors]
        if layer not in linear:
            raise ModelError(
                f"LoRA {folder} does not fit this model, which has no layer {layer}: take its own model"
            )
        inputs, outputs = linear[layer].in_features, linear[layer].out_features
        if pair != [(rank, inputs), (outputs, rank)]:
            raise ModelError(
                f"LoRA {folder} does not fit this model: {layer} turns {inputs} numbers into {outputs}, the LoRA's"
                f" matrices for it are {pair}: take its own model"
            )
    return layers


def _pair(layer: str) -> tuple[str, str]:
    return f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"
