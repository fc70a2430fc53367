"""From the name of a model to its description, and to the model itself, ready to film."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.errors import ModelError, OptionError
from longtake.models.base import ModelDefaults, ModelSpec, VideoModel
from longtake.models.folder import check_weights, checked_classes, find_folder, part_config, read_json
from longtake.models.lora import find_lora, fuse_lora, lora_name

if TYPE_CHECKING:
    import torch
    from diffusers import WanTransformer3DModel

EMBEDDED = Path(__file__).parents[1] / "assets" / "tracking-shot"

HUB_MODELS = {
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": "Wan 2.1, 1.3 billion parameters, 832x480 at 16 fps",
    "Wan-AI/Wan2.1-T2V-14B-Diffusers": "Wan 2.1, 14 billion parameters, 832x480 at 16 fps",
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": "Wan 2.2, 5 billion parameters, 1280x704 at 24 fps",
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
WAN_PROMPT_TOKENS = 512


@dataclass(frozen=True)
class KnownModel:
    """A model to try: the name that load_model takes, a line about it, and whether it is on this disk."""

    name: str
    about: str
    on_disk: bool


def list_models() -> list[KnownModel]:
    """The embedded model, then models of the hub that run through the same adapter.

    Only the embedded one was trained on unequal noise levels.
    """
    from huggingface_hub import try_to_load_from_cache

    embedded = KnownModel(
        EMBEDDED.name, "tracking shots of vehicles; the default, part of longtake", EMBEDDED.is_dir()
    )
    return [embedded] + [
        KnownModel(name, about, isinstance(try_to_load_from_cache(name, "model_index.json"), str))
        for name, about in HUB_MODELS.items()
    ]


def read_spec(model: str | Path | None = None, lora: str | Path | None = None) -> ModelSpec:
    """Describe a model: a folder, the name of one on the hub, or None (or its name) for the embedded default.

    lora: the folder of a LoRA to add, or of the run that trained it; its own defaults, if it has any, hold.
    Reads JSON files alone, and loads no torch.
    Raises ModelError for a folder that is missing, incomplete, of a kind that cannot be used, or that brings
    code.
    """
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

    from diffusers import WanTransformer3DModel

    with _reading(folder):
        transformer = _part(WanTransformer3DModel, folder, "transformer", torch_dtype=precision)
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
    from diffusers import WanTransformer3DModel

    with _reading(folder):
        with torch.device("meta"):
            network = WanTransformer3DModel.from_config(part_config(folder, "transformer"))
        return _assembled(read_spec(model), folder, network.to(precision), target)


def load_transformer(model: str | Path | None = None, dtype: str = "float32") -> WanTransformer3DModel:
    """The network of a model alone, on the CPU, taking a timestep for each latent frame: for a trainer.

    Raises as load_model does.
    """
    folder = _whole_folder(model)

    from diffusers import WanTransformer3DModel

    from longtake.models.wan import per_frame_timesteps

    with _reading(folder):
        return per_frame_timesteps(
            _part(WanTransformer3DModel, folder, "transformer", torch_dtype=resolve_dtype(dtype, "cpu"))
        )


def model_folder(model: str | Path | None = None, weights: bool = True) -> Path:
    """The folder in which a model, named as for read_spec, lies with all its weights, or at least its JSON files."""
    return find_folder(_source(model), weights)


def _source(model: str | Path | None) -> str | Path:
    return EMBEDDED if model in (None, EMBEDDED.name) else model


def _spec(folder: Path, classes: dict[str, str], model: str | Path | None) -> ModelSpec:
    transformer, vae, tokenizer = (part_config(folder, part) for part in ("transformer", "vae", "tokenizer"))
    causal = classes["vae"] == "AutoencoderKLWan"
    spatial_factor = vae.get("scale_factor_spatial", 8)
    try:
        return ModelSpec(
            name=str(model) if model and not Path(model).is_dir() else folder.resolve().name,
            latent_channels=vae["z_dim"],
            spatial_factor=spatial_factor,
            temporal_factor=4,
            first_frames=1 if causal else 4,
            alignment=spatial_factor * math.lcm(*transformer["patch_size"][1:]),
            max_prompt_tokens=min(tokenizer.get("model_max_length", WAN_PROMPT_TOKENS), WAN_PROMPT_TOKENS),
            defaults=_defaults(folder, WAN_DEFAULTS.get(spatial_factor) if causal else None),
        )
    except KeyError as missing:
        raise ModelError(f"model folder {folder}: its configuration says nothing for {missing}") from missing


def _defaults(folder: Path, wan: ModelDefaults | None) -> ModelDefaults:
    """The folder's longtake.json; a Wan folder may do without, with the shift of its scheduler."""
    if wan and not (folder / "longtake.json").exists():
        scheduler = part_config(folder, "scheduler")
        return replace(wan, shift=scheduler.get("shift", scheduler.get("flow_shift", wan.shift)))
    return _settings(folder)


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


def _whole_folder(model: str | Path | None) -> Path:
    """The folder of a model, checked: known classes and whole weights."""
    folder = model_folder(model)
    checked_classes(folder)
    check_weights(folder)
    return folder


def _assembled(
    spec: ModelSpec, folder: Path, transformer: WanTransformer3DModel, device: torch.device
) -> VideoModel:
    """A network with the other parts of its folder, in its precision."""
    import diffusers
    import transformers

    from longtake.models.tubelet import AutoencoderTubelet
    from longtake.models.wan import WanModel

    classes, dtype = checked_classes(folder), transformer.dtype
    vae = AutoencoderTubelet if classes["vae"] == "AutoencoderTubelet" else diffusers.AutoencoderKLWan
    tokenizer = getattr(transformers, classes["tokenizer"])
    text_encoder = getattr(transformers, classes["text_encoder"])
    return WanModel(
        spec,
        tokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        _part(text_encoder, folder, "text_encoder", dtype=dtype).to(device),
        transformer,
        _part(vae, folder, "vae", torch_dtype=dtype).to(device),
    )


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
    levels = [log.get_verbosity() for log in logs]
    bar = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    for log in logs:
        log.set_verbosity_error()
    try:
        yield
    except ModelError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"model folder {folder} cannot be read ({_line(error)})") from error
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.set_verbosity(level)
        if bar:
            transformers.utils.logging.enable_progress_bar()


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
