"""LoRA: pairs of small matrices whose products are added to a network's own. Ours are kept as peft keeps them; those of
others are read in their spelling. From safetensors and JSON alone, and known by the sha256 of their weights.
Several are added in one sum, each as often as its weight says.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from longtake.errors import ModelError, NumberError
from longtake.files import file_sha256
from longtake.models.base import LoraName, Loras
from longtake.models.configs import LoraConfig
from longtake.models.kinds import is_lora, read_json, refuse_foreign, weights_of
from longtake.models.records import Family, imported
from longtake.models.spellings import PREFIX, Change, changes, converted_changes
from longtake.models.weights import check_floats, headers

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
DIFFUSERS_WEIGHTS = "pytorch_lora_weights.safetensors"
DIFFUSERS_METADATA = "lora_adapter_metadata"
# How the linear layers of attention and feed-forward of a block are called: in most networks, where text and pictures
# attend to each other, in Kandinsky, and in Cosmos 3.
TARGETS: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2")
TARGETS += ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "proj_mlp")
TARGETS += (
    "to_query",
    "to_key",
    "to_value",
    "attention.out_layer",
    "feed_forward.in_layer",
    "feed_forward.out_layer",
)
TARGETS += ("to_out", "gate_proj", "up_proj", "down_proj")
# What else peft knows, and what it is when it is not used.
PLAIN = {
    **{"peft_type": "LORA", "bias": "none", "use_dora": None, "use_rslora": None, "fan_in_fan_out": None},
    **{"rank_pattern": None, "alpha_pattern": None, "modules_to_save": None, "lora_bias": None},
}


Scale = tuple[int, float] | None  # the rank and alpha of all layers, if they are told


@dataclass(frozen=True)
class Lora:
    """A LoRA on disk: the file of its weights, and how often it counts."""

    path: Path
    weight: float = 1.0

    @property
    def folder(self) -> Path:
        return self.path.parent


Added = tuple[Lora, Change, Scale]


def references(lora: Loras) -> tuple[str, ...]:
    """LoRAs as they are found again from another folder."""
    given = [_given(each) for each in _each(lora)]
    return tuple(f"{path.resolve()}" + f"={weight!r}" * (weight != 1) for path, weight in given)


def find_loras(lora: Loras) -> list[Lora]:
    """LoRAs in order; each as for find_lora."""
    return [find_lora(each) for each in _each(lora)]


def find_lora(lora: str | Path) -> Lora:
    """A LoRA by its file, its folder, or that of the run that trained it, and =0.8 behind it if that is its weight.
    ModelError if there is none, or several, or the weight is no number but 0."""
    given, weight = _given(lora)
    if given.is_file():
        refuse_foreign(given)
        return Lora(given, weight)
    for folder in (given, given / "lora"):
        for name, needed in ((WEIGHTS, CONFIG), (DIFFUSERS_WEIGHTS, DIFFUSERS_WEIGHTS)):
            if (folder / name).is_file() and (folder / needed).is_file():
                return Lora(folder / name, weight)
    files = sorted(path.name for path in given.glob("*.safetensors") if not path.name.startswith("."))
    if len(files) > 1:
        raise ModelError(f"{given} holds several LoRAs, such as {files[0]} and {files[1]}: name the file")
    if not files:
        raise ModelError(
            f"no LoRA in {lora}; give a .safetensors file, or a folder that holds {CONFIG} and {WEIGHTS}"
        )
    return Lora(given / files[0], weight)


def _each(lora: Loras) -> Sequence[str | Path]:
    return () if lora is None else [lora] if isinstance(lora, (str, Path)) else lora


def _given(lora: str | Path) -> tuple[Path, float]:
    """Where a LoRA is, and its weight, 1 if it is not said. What is there under the whole name is that."""
    if not str(lora).strip():
        raise ModelError("the name of the LoRA is empty: give a folder or a file, or leave it out")
    name, sign, number = str(lora).rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        return Path(lora), 1.0
    if not sign or Path(lora).exists():
        return Path(lora), 1.0
    if not math.isfinite(weight) or weight == 0:
        raise ModelError(f"LoRA {name} is to count {number} times: give a number other than 0")
    return Path(name), weight


def lora_name(lora: Lora) -> LoraName:
    """What a film says of a LoRA. A file is called by its own name, or by its folder's if its own says nothing; one
    that lies in RUN/lora is called RUN."""
    path = lora.path.resolve()
    folder = path.parent.parent if path.parent.name == "lora" else path.parent
    name = folder.name if path.name in (WEIGHTS, DIFFUSERS_WEIGHTS) else path.stem
    return LoraName(name, file_sha256(path), lora.weight)


def lora_config(rank: int, alpha: float, base: str, targets: Sequence[str]) -> str:
    """The adapter_config.json of a LoRA on the model `base`, beside its layers that are called so."""
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": targets, "bias": "none"}
    return json.dumps(config | {"base_model_name_or_path": base}, indent=2) + "\n"


def add_lora(transformer: Any, rank: int, alpha: float) -> None:
    """Freeze a transformer and put a LoRA, float32, beside the linear layers of its blocks; it begins as 0."""
    from peft import LoraConfig
    from torch import nn

    linear = [name for name, module in transformer.named_modules() if isinstance(module, nn.Linear)]
    targets = targets_of(linear)
    assert targets, "the layers of a network that can be filmed with are known"
    transformer.requires_grad_(False)
    transformer.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets))
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def targets_of(layers: Iterable[str]) -> list[str]:
    """Those of TARGETS that some of these layers are called by."""
    named = list(layers)
    return [target for target in TARGETS if any(name.endswith(f".{target}") for name in named)]


def lora_key(parameter: str) -> str:
    """The name in adapter_model.safetensors of a parameter that add_lora has put into a transformer."""
    return PREFIX + parameter.replace(".default.", ".")


def fuse_loras(transformer: nn.Module, family: Family, loras: Sequence[Lora]) -> None:
    """Add LoRAs to the weights of a transformer of a family, in place; what they add is summed in float32 first.

    Raises ModelError if one is damaged, of another kind than a plain LoRA, or made for other layers; NumberError if its
    numbers are not finite.
    """
    import torch

    added = defaultdict[str, list[Added]](list)
    for lora in loras:
        tensors = _tensors(lora)
        scale = _rank_and_alpha(lora, any(name.startswith(PREFIX) for name in tensors))
        for change in _fitting(lora, tensors, scale, transformer, family):
            added[change.parameter].append((lora, change, scale))
    parameters = dict(transformer.named_parameters())
    with torch.no_grad():
        for name in sorted(added):
            parameter = parameters[name]
            parts = [one[0].weight * _difference(*one, parameter) for one in added[name]]
            difference = parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)
            parameter.copy_(parameter.float() + difference.to(parameter.device))


def _tensors(lora: Lora) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    from longtake.finite import is_finite

    held = headers(lora.path)
    check_floats({name: header for name, header in held.items() if not name.endswith(".alpha")})
    tensors = load_file(lora.path)
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise NumberError(f"LoRA {lora.path}: {name} holds numbers that are not finite: fetch it again")
    return tensors


def _fitting(
    lora: Lora, tensors: dict[str, Tensor], scale: Scale, transformer: nn.Module, family: Family
) -> list[Change]:
    """What a LoRA changes, once every tensor of it is known to have its place in the network."""
    if not tensors:
        raise ModelError(f"LoRA {lora.path} is empty")
    authors = imported(family.lora_names) if family.lora_names else {}
    found, misfits = changes(tensors, transformer, authors)
    has_one_alpha = scale is None or not any(name.endswith(".alpha") for name in tensors)
    if misfits and family.lora_converter and has_one_alpha:
        found, misfits = converted_changes(tensors, transformer, imported(family.lora_converter), misfits)
    if not found and not is_lora(tensors):
        raise ModelError(f"{lora.path} is no LoRA, but {weights_of(tensors)}: give a LoRA of the model")
    for misfit in misfits[:1]:
        more = f" (this of {len(misfits)} of its {len(tensors)} tensors)" if len(misfits) > 1 else ""
        raise ModelError(f"LoRA {lora.path} {misfit}{more}")
    return found


def _rank_and_alpha(lora: Lora, is_peft: bool) -> Scale:
    """What peft's configuration says, beside the file or in it. None if there is none: alpha is then beside each pair
    of matrices, or the rank. is_peft: the names in the file are peft's own, which tell nothing of alpha."""
    if (lora.folder / CONFIG).is_file() and (is_peft or lora.path.name == WEIGHTS):
        config, where = read_json(lora.folder, CONFIG), CONFIG
    elif is_peft:
        raise ModelError(
            f"LoRA {lora.path} is incomplete: {CONFIG} is missing beside it, which tells its alpha"
        )
    else:
        config, where = _metadata(lora.path), DIFFUSERS_METADATA
        if not config:
            return None
    odd = sorted(key for key, plain in PLAIN.items() if (config.get(key) or plain) != plain)
    try:
        plain = LoraConfig.model_validate(config)
    except ValidationError:
        odd = odd or ["lora_alpha", "r"]
    if odd:
        raise ModelError(f"LoRA {lora.path}: {where} is not that of a plain LoRA; mend {odd}")
    return plain.r, plain.lora_alpha


def _metadata(path: Path) -> dict[str, Any]:
    """The configuration of the transformer's LoRA that diffusers puts into a file, if it is there."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        text = (file.metadata() or {}).get(DIFFUSERS_METADATA, "{}")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ModelError(f"LoRA {path}: its {DIFFUSERS_METADATA} cannot be read: fetch it again")
    return {key.removeprefix("transformer."): value for key, value in content.items()}


def _difference(lora: Lora, change: Change, scale: Scale, parameter: Tensor) -> Tensor:
    """What is added to a parameter, float32. scale: the rank and alpha of all layers, if they are told."""
    if change.whole is not None:
        difference = change.whole.float()
        if difference.shape != parameter.shape:
            raise ModelError(
                f"LoRA {lora.path} does not fit this model: its difference for {change.parameter} is of shape"
                f" {tuple(difference.shape)}, the model's is {tuple(parameter.shape)}: take its own model"
            )
        return difference
    down, up = change.down, change.up
    pair = [tuple(matrix.shape) for matrix in (down, up) if matrix is not None]
    outputs, inputs = parameter.shape
    rank = scale[0] if scale else pair[0][0] if pair and pair[0] else 0
    if down is None or up is None or not rank or pair != [(rank, inputs), (outputs, rank)]:
        layer = change.parameter.removesuffix(".weight")
        raise ModelError(
            f"LoRA {lora.path} does not fit this model: {layer} turns {inputs} numbers into {outputs}, the LoRA's"
            f" matrices for it are {pair}: take its own model"
        )
    alpha = scale[1] if scale else rank
    if change.alpha is not None:
        if change.alpha.numel() != 1 or (scale and change.alpha.item() != alpha):
            raise ModelError(f"LoRA {lora.path}: the alpha of {change.parameter} is {change.alpha.tolist()}")
        alpha = change.alpha.item()
    return alpha / rank * (up.float() @ down.float())
