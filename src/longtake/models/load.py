"""From the name of a model to its description, and to the model itself, ready to film."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.errors import ModelError, OptionError
from longtake.models.base import ModelSpec, VideoModel
from longtake.models.folder import OPEN_SORA, SKYREELS, checked_classes, find_folder
from longtake.models.lora import find_lora, fuse_lora, lora_name
from longtake.models.open_sora import spec as open_sora
from longtake.models.parts import (
    check_files,
    check_numbers,
    empty_part,
    load_buffers,
    load_part,
    load_tokenizer,
    reading,
)
from longtake.models.spec import folder_spec, read_settings
from longtake.models.weights import check_part

if TYPE_CHECKING:
    import torch

    from longtake.models.t5 import T5VideoModel

EMBEDDED = Path(__file__).parents[1] / "assets" / "tracking-shot"

HUB_MODELS = {
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": "Wan 2.1, 1.3 billion parameters, 832x480 at 16 fps",
    "Wan-AI/Wan2.1-T2V-14B-Diffusers": "Wan 2.1, 14 billion parameters, 832x480 at 16 fps",
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": "Wan 2.2, 5 billion parameters, 1280x704 at 24 fps",
    "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers": "SkyReels-V2, 1.3 billion parameters, 960x544 at 24 fps",
    "Skywork/SkyReels-V2-DF-14B-540P-Diffusers": "SkyReels-V2, 14 billion parameters, 960x544 at 24 fps",
}


@dataclass(frozen=True)
class KnownModel:
    """A model to try: the name that load_model takes, a line about it, and whether it is on this disk."""

    name: str
    about: str
    on_disk: bool


def list_models() -> list[KnownModel]:
    """The embedded model, the paper's, then models of the hub.

    The embedded one and SkyReels-V2 were trained on unequal noise levels, Open-Sora on clean frames beside noisy ones.
    """
    from huggingface_hub import try_to_load_from_cache

    embedded = KnownModel(
        EMBEDDED.name, "tracking shots of vehicles; the default, part of longtake", EMBEDDED.is_dir()
    )
    about = "Open-Sora v1.2, 1.2 billion parameters, 424x240 at 24 fps; longtake convert makes it"
    papers = KnownModel(open_sora.NAME, about, _is_whole(converted_folder()))
    return [embedded, papers] + [
        KnownModel(name, about, isinstance(try_to_load_from_cache(name, "model_index.json"), str))
        for name, about in HUB_MODELS.items()
    ]


def read_spec(model: str | Path | None = None, lora: str | Path | None = None) -> ModelSpec:
    """Describe a model: a folder, the name of one on the hub, None (or its name) for the embedded default, or
    open-sora-v1.2, which is known before it is on the disk.

    lora: a LoRA to add: its file, its folder or that of the run that trained it; its own defaults, if it has any, hold.
    Reads JSON files alone, and loads no torch.
    Raises ModelError for a folder that is missing, incomplete, of a kind that cannot be used, or that brings
    code.
    """
    if model == open_sora.NAME and not _is_whole(converted_folder()) and not Path(model).is_dir():
        return _with_lora(open_sora.open_sora_spec(), lora)
    folder = model_folder(model, weights=False)
    return _with_lora(folder_spec(folder, checked_classes(folder), _name(folder, model)), lora)


def load_model(
    model: str | Path | None = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    lora: str | Path | None = None,
) -> VideoModel:
    """Load a model, named as for read_spec, onto a device, and add the LoRA to its weights.

    dtype: float32, bfloat16 or float16; None means bfloat16 on CUDA and float32 elsewhere.
    Raises ModelError as read_spec does, and for weights that are missing, left over, damaged, quantised or pickled;
    NumberError for those that are not finite; OptionError for a device or a dtype that is not there.
    """
    target, precision = _device(device), resolve_dtype(dtype, device)
    folder = _whole_folder(model)
    added = None if lora is None else find_lora(lora)
    with reading(folder):
        transformer = load_part(folder, "transformer", precision)
        if added:
            fuse_lora(transformer, added)
            check_numbers(transformer, f"with LoRA {added.path}, the network's", precision)
        return _assembled(read_spec(model, lora), folder, transformer.to(target), target)


def load_encoders(
    model: str | Path | None = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
) -> VideoModel:
    """A model to prepare film with: it encodes prompts and frames, and its network takes no memory and is no use.

    Arguments and errors as for load_model.
    """
    target, precision = _device(device), resolve_dtype(dtype, device)
    folder = _whole_folder(model)
    with reading(folder):
        network = empty_part(folder, "transformer").to(precision)
        check_part(folder, "transformer", network)
        network.load_state_dict(load_buffers(network, folder), strict=False, assign=True)
        return _assembled(read_spec(model), folder, network, target)


def check_prompts(model: str | Path | None, prompts: Iterable[str]) -> None:
    """Raise OptionError for a prompt that is too long for a model, named as for read_spec; reads no weights."""
    from longtake.models.t5 import check_length

    spec, folder = read_spec(model), model_folder(model, weights=False)
    classes = checked_classes(folder)
    with reading(folder):
        tokenizer = load_tokenizer(folder)
    for prompt in prompts:
        check_length(adapter(classes["transformer"]).clean(prompt), tokenizer, spec)


def load_transformer(model: str | Path | None = None, dtype: str = "float32") -> Any:
    """The network of a model alone, on the CPU, taking a timestep for each latent frame: for a trainer.

    Its `adapter` says how it is called. Raises as load_model does.
    """
    folder = _whole_folder(model)
    with reading(folder):
        network = load_part(folder, "transformer", resolve_dtype(dtype, "cpu"))
        return adapter(type(network).__name__).prepared(network)


def load_autoencoder(model: str | Path | None = None) -> Any:
    """The autoencoder of a model alone, float32, on the CPU. Raises as load_model does."""
    folder = _whole_folder(model)
    with reading(folder):
        return load_part(folder, "vae", resolve_dtype("float32", "cpu"))


def empty_transformer(model: str | Path | None) -> Any:
    """The network of a model without its numbers; reads JSON alone."""
    folder = model_folder(model, weights=False)
    with reading(folder):
        return empty_part(folder, "transformer")


def adapter(transformer_class: str) -> type[T5VideoModel]:
    """The kind of VideoModel that uses networks of this class."""
    from longtake.models.open_sora.model import OpenSoraModel
    from longtake.models.skyreels import SkyReelsModel
    from longtake.models.wan import WanModel

    return {OPEN_SORA[0]: OpenSoraModel, SKYREELS: SkyReelsModel}.get(transformer_class, WanModel)


def model_folder(model: str | Path | None = None, weights: bool = True) -> Path:
    """The folder in which a model, named as for read_spec, lies with all its weights, or at least its JSON files."""
    if model == open_sora.NAME and not Path(model).is_dir():
        folder = converted_folder()
        if not _is_whole(folder):
            raise ModelError(
                f"{model} is not in {folder}: make it with longtake convert open-sora {open_sora.TRANSFORMER}"
                f" {open_sora.VAE}, or give the folder it is in"
            )
        return folder
    return find_folder(EMBEDDED if model is None or model == EMBEDDED.name else model, weights)


def converted_folder() -> Path:
    """Where open-sora-v1.2 is looked for, and put unless told otherwise: among the user's data."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "longtake" / open_sora.NAME


def _is_whole(folder: Path) -> bool:
    """Whether the conversion into a folder was finished."""
    return (folder / "model_index.json").is_file()


def _name(folder: Path, model: str | Path | None) -> str:
    """What a model is called: its name on the hub, or that of its folder."""
    return str(model) if model and not Path(model).is_dir() else folder.resolve().name


def _with_lora(spec: ModelSpec, lora: str | Path | None) -> ModelSpec:
    if lora is None:
        return spec
    found = find_lora(lora)
    own = (found.folder / "longtake.json").exists()
    return replace(
        spec, lora=lora_name(found), defaults=read_settings(found.folder) if own else spec.defaults
    )


def _device(device: str | torch.device) -> torch.device:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(f"no device {device} here ({_line(error)})") from error
    return torch.device(device)


def resolve_dtype(dtype: str | torch.dtype | None, device: str | torch.device) -> torch.dtype:
    """The dtype of that name, or the one that load_model takes on a device. OptionError if there is none."""
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    name = dtype or ("bfloat16" if torch.device(device).type == "cuda" else "float32")
    name = str(name).removeprefix("torch.")
    if name not in known:
        raise OptionError(f"dtype must be one of {', '.join(known)}, got {dtype}")
    return known[name]


def check_device(device: str | torch.device) -> None:
    """OptionError for a device that is not there."""
    _device(device)


def _whole_folder(model: str | Path | None) -> Path:
    """The folder of a model, checked: known classes and whole weights."""
    folder = model_folder(model)
    folder_spec(folder, checked_classes(folder), folder.name)
    check_files(folder)
    return folder


def _assembled(spec: ModelSpec, folder: Path, transformer: Any, device: torch.device) -> VideoModel:
    """A network with the other parts of its folder, in its precision."""
    dtype = transformer.dtype
    return adapter(checked_classes(folder)["transformer"])(
        spec,
        load_tokenizer(folder),
        load_part(folder, "text_encoder", dtype).to(device),
        transformer,
        load_part(folder, "vae", dtype).to(device),
    )


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
