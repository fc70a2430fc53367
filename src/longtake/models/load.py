"""From the name of a model to its description, and to the model itself, ready to film."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.errors import ModelError, OptionError
from longtake.models.base import ModelDefaults, ModelSpec, VideoModel
from longtake.models.folder import (
    OPEN_SORA,
    SKYREELS,
    check_weights,
    checked_classes,
    find_folder,
    part_config,
    read_json,
)
from longtake.models.lora import find_lora, fuse_lora, lora_name
from longtake.models.open_sora import spec as open_sora

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from longtake.models.t5 import T5VideoModel

EMBEDDED = Path(__file__).parents[1] / "assets" / "tracking-shot"

HUB_MODELS = {
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": "Wan 2.1, 1.3 billion parameters, 832x480 at 16 fps",
    "Wan-AI/Wan2.1-T2V-14B-Diffusers": "Wan 2.1, 14 billion parameters, 832x480 at 16 fps",
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": "Wan 2.2, 5 billion parameters, 1280x704 at 24 fps",
    "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers": "SkyReels-V2, 1.3 billion parameters, 960x544 at 24 fps",
    "Skywork/SkyReels-V2-DF-14B-540P-Diffusers": "SkyReels-V2, 14 billion parameters, 960x544 at 24 fps",
}

# What a Wan folder without longtake.json is filmed with, by the spatial factor of its autoencoder: the
# picture and frame rate it was made for, and a window of 17 noisy and 4 clean latents, the 21 it was trained
# on. None of it was tuned for this method.
WAN_2_1 = ModelDefaults(
    width=832,
    height=480,
    fps=16,
    num_inference_steps=34,
    steps_per_chunk=2,
    chunk_size=1,
    context_size=4,
    shift=1.0,
    guidance_scale=5.0,
)
WAN_DEFAULTS = {8: WAN_2_1, 16: replace(WAN_2_1, width=1280, height=704, fps=24)}
# The same for SkyReels-V2: its window of 25 latents and blocks of 5, and the shift of its authors' script.
SKYREELS_V2 = ModelDefaults(
    width=960,
    height=544,
    fps=24,
    num_inference_steps=30,
    steps_per_chunk=8,
    chunk_size=5,
    context_size=5,
    shift=8.0,
    guidance_scale=6.0,
)
WAN_PROMPT_TOKENS = 512

# Where the classes lie that are neither diffusers' nor transformers'.
OWN_CLASSES = {"AutoencoderTubelet": "longtake.models.tubelet"} | dict.fromkeys(
    OPEN_SORA, "longtake.models.open_sora"
)


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

    lora: the folder of a LoRA to add, or of the run that trained it; its own defaults, if it has any, hold.
    Reads JSON files alone, and loads no torch.
    Raises ModelError for a folder that is missing, incomplete, of a kind that cannot be used, or that brings
    code.
    """
    if model == open_sora.NAME and not _is_whole(converted_folder()) and not Path(model).is_dir():
        return _with_lora(open_sora.open_sora_spec(), lora)
    folder = model_folder(model, weights=False)
    return _with_lora(_spec(folder, checked_classes(folder), model), lora)


def load_model(
    model: str | Path | None = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    lora: str | Path | None = None,
) -> VideoModel:
    """Load a model, named as for read_spec, onto a device, and add the LoRA to its weights.

    dtype: float32, bfloat16 or float16; None means bfloat16 on CUDA and float32 elsewhere.
    Raises ModelError as read_spec does, and for weights that are missing, damaged or pickled; OptionError for
    a device or a dtype that is not there.
    """
    target, precision = _device(device), resolve_dtype(dtype, device)
    folder = _whole_folder(model)
    with _reading(folder):
        transformer = _part(transformer_class(folder), folder, "transformer", torch_dtype=precision)
        if lora:
            fuse_lora(transformer, find_lora(lora))
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

    import torch

    with _reading(folder):
        with torch.device("meta"):
            network = transformer_class(folder).from_config(part_config(folder, "transformer"))
        network = network.to(precision)
        network.load_state_dict(_buffers(network, folder), strict=False, assign=True)
        return _assembled(read_spec(model), folder, network, target)


def check_prompts(model: str | Path | None, prompts: Iterable[str]) -> None:
    """Raise OptionError for a prompt that is too long for a model, named as for read_spec; reads no weights."""
    from longtake.models.t5 import check_length

    spec, folder = read_spec(model), model_folder(model, weights=False)
    classes = checked_classes(folder)
    with _reading(folder):
        tokenizer = _tokenizer(folder, classes)
    for prompt in prompts:
        check_length(adapter(classes["transformer"]).clean(prompt), tokenizer, spec)


def load_transformer(model: str | Path | None = None, dtype: str = "float32") -> Any:
    """The network of a model alone, on the CPU, taking a timestep for each latent frame: for a trainer.

    Its `adapter` says how it is called. Raises as load_model does.
    """
    folder = _whole_folder(model)
    with _reading(folder):
        cls, precision = transformer_class(folder), resolve_dtype(dtype, "cpu")
        return adapter(cls.__name__).prepared(_part(cls, folder, "transformer", torch_dtype=precision))


def transformer_class(folder: Path) -> Any:
    """The class of the network in a folder, which is checked."""
    return _class("diffusers", checked_classes(folder)["transformer"])


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


def _spec(folder: Path, classes: dict[str, str], model: str | Path | None) -> ModelSpec:
    name = str(model) if model and not Path(model).is_dir() else folder.resolve().name
    transformer, vae, tokenizer = (part_config(folder, part) for part in ("transformer", "vae", "tokenizer"))
    causal = classes["vae"] == "AutoencoderKLWan"
    spatial_factor = vae.get("scale_factor_spatial", 8)
    try:
        if classes["vae"] == OPEN_SORA[1]:
            return open_sora.open_sora_spec(
                name,
                _settings(folder),
                latent_channels=vae["z_dim"],
                max_prompt_tokens=transformer["max_caption_tokens"],
            )
        return ModelSpec(
            name=name,
            latent_channels=vae["z_dim"],
            spatial_factor=spatial_factor,
            temporal_factor=4,
            first_frames=1 if causal else 4,
            alignment=spatial_factor * math.lcm(*transformer["patch_size"][1:]),
            max_prompt_tokens=min(tokenizer.get("model_max_length", WAN_PROMPT_TOKENS), WAN_PROMPT_TOKENS),
            defaults=_defaults(folder, classes["transformer"], spatial_factor if causal else None),
        )
    except KeyError as missing:
        raise ModelError(f"model folder {folder}: its configuration says nothing for {missing}") from missing


def _defaults(folder: Path, transformer: str, spatial_factor: int | None) -> ModelDefaults:
    """The folder's longtake.json. Folders of the hub may do without: SkyReels-V2, and Wan by the factor of its
    autoencoder and with the shift of its scheduler."""
    wan = WAN_DEFAULTS.get(spatial_factor) if spatial_factor else None
    if (folder / "longtake.json").exists() or not wan:
        return _settings(folder)
    if transformer == SKYREELS:
        return SKYREELS_V2
    scheduler = part_config(folder, "scheduler")
    return replace(wan, shift=scheduler.get("shift", scheduler.get("flow_shift", wan.shift)))


def _with_lora(spec: ModelSpec, lora: str | Path | None) -> ModelSpec:
    if not lora:
        return spec
    folder = find_lora(lora)
    own = (folder / "longtake.json").exists()
    return replace(spec, lora=lora_name(folder), defaults=_settings(folder) if own else spec.defaults)


def _settings(folder: Path) -> ModelDefaults:
    settings = read_json(folder, "longtake.json")
    names = {field.name for field in fields(ModelDefaults)}
    wrong = names ^ settings.keys() or {
        name for name, value in settings.items() if type(value) not in (int, float)
    }
    if wrong:
        raise ModelError(
            f"model folder {folder}: longtake.json must hold a number for each default; mend {sorted(wrong)}"
        )
    return ModelDefaults(**settings)


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
    checked_classes(folder)
    check_weights(folder)
    return folder


def _class(library: str, name: str) -> Any:
    """A class of the allow-list, from where it lies."""
    return getattr(import_module(OWN_CLASSES.get(name, library)), name)


def _assembled(spec: ModelSpec, folder: Path, transformer: Any, device: torch.device) -> VideoModel:
    """A network with the other parts of its folder, in its precision."""
    classes, dtype = checked_classes(folder), transformer.dtype
    text_encoder = _class("transformers", classes["text_encoder"])
    return adapter(classes["transformer"])(
        spec,
        _tokenizer(folder, classes),
        _part(text_encoder, folder, "text_encoder", dtype=dtype).to(device),
        transformer,
        _part(_class("diffusers", classes["vae"]), folder, "vae", torch_dtype=dtype).to(device),
    )


def _tokenizer(folder: Path, classes: dict[str, str]) -> Any:
    tokenizer = _class("transformers", classes["tokenizer"])
    return tokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)


def _buffers(network: Any, folder: Path) -> dict[str, Tensor]:
    """What a network's folder holds beside its parameters."""
    from safetensors import safe_open

    names = network.state_dict().keys() - dict(network.named_parameters()).keys()
    found: dict[str, Tensor] = {}
    for path in sorted((folder / "transformer").glob("*.safetensors")) if names else ():
        with safe_open(path, "pt") as file:
            found |= {name: file.get_tensor(name) for name in names & set(file.keys())}
    return found


def _part(cls: Any, folder: Path, part: str, **dtype: torch.dtype) -> Any:
    """Load one part, weights and all, in the given precision."""
    module, found = cls.from_pretrained(
        folder, subfolder=part, local_files_only=True, use_safetensors=True, output_loading_info=True, **dtype
    )
    if found["missing_keys"]:
        raise ModelError(
            f"model folder {folder} is incomplete: {part} lacks weights, such as {min(found['missing_keys'])}"
        )
    return module


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Report damaged files as ModelError, and keep the libraries' own bars and warnings off the terminal."""
    import diffusers
    import transformers
    from safetensors import SafetensorError

    logs = transformers.utils.logging, diffusers.utils.logging
    before = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    except ModelError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"model folder {folder} cannot be read ({_line(error)})") from error
    finally:
        for log, level, bar in before:
            log.set_verbosity(level)
            if bar:
                log.enable_progress_bar()


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
