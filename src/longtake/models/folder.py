"""Model folders, looked through before anything is loaded from them; without torch.

A model folder is a diffusers folder of the Wan or SkyReels-V2 kind, or Open-Sora's in the same layout. It brings
numbers, never code: classes are looked up in the lists below, weights are safetensors, and everything else is
refused, with the reason.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from longtake.errors import ModelError
from longtake.models.configs import OpenSoraConfig, TextEncoderConfig, TransformerConfig, VaeConfig, checked
from longtake.models.kinds import foreign, kind_of_file, kind_of_folder

CLASSES = {
    "transformer": (
        "diffusers.WanTransformer3DModel",
        "diffusers.SkyReelsV2Transformer3DModel",
        "longtake.OpenSoraTransformer3DModel",
    ),
    "vae": (
        "diffusers.AutoencoderKLWan",
        "longtake.AutoencoderTubelet",
        "longtake.AutoencoderLapped",
        "longtake.AutoencoderOpenSora",
    ),
    "text_encoder": ("transformers.T5EncoderModel", "transformers.UMT5EncoderModel"),
    "tokenizer": (
        "transformers.PreTrainedTokenizerFast",
        "transformers.TokenizersBackend",
        "transformers.T5TokenizerFast",
        "transformers.T5Tokenizer",
    ),
    "scheduler": ("diffusers.FlowMatchEulerDiscreteScheduler", "diffusers.UniPCMultistepScheduler"),
}
CONFIGS = {
    "transformer": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "tokenizer": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
}
WEIGHTS = {
    "transformer": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}
SKYREELS = "SkyReelsV2Transformer3DModel"
WAN_VAE = "AutoencoderKLWan"
OPEN_SORA = "OpenSoraTransformer3DModel", "AutoencoderOpenSora"

ONE_TIMESTEP = (
    "AllegroTransformer3DModel",
    "CogVideoXTransformer3DModel",
    "ConsisIDTransformer3DModel",
    "EasyAnimateTransformer3DModel",
    "HunyuanVideo15Transformer3DModel",
    "HunyuanVideoTransformer3DModel",
    "Kandinsky5Transformer3DModel",
    "LatteTransformer3DModel",
    "MochiTransformer3DModel",
    "UNet3DConditionModel",
    "UNetMotionModel",
    "UNetSpatioTemporalConditionModel",
    "WanVACETransformer3DModel",
)
NO_ADAPTER = (
    "ChronoEditTransformer3DModel",
    "CosmosTransformer3DModel",
    "LTX2VideoTransformer3DModel",
    "LTXVideoTransformer3DModel",
    "SanaVideoTransformer3DModel",
)


def is_hub_name(name: str) -> bool:
    """Whether a name could be that of a repository on the hub."""
    return bool(re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name))


def find_folder(model: str | Path, weights: bool) -> Path:
    """The folder of a model: its own path, or where it lies once fetched from the hub, JSON alone or all."""
    if not str(model).strip():
        raise ModelError("the name of the model is empty: give a folder or a hub name, or leave it out")
    if Path(model).is_dir():
        return Path(model)
    if Path(model).is_file():
        raise ModelError(f"{model} {kind_of_file(Path(model))}")
    if not is_hub_name(str(model)):
        raise ModelError(
            f"no model folder {model}; give a folder that holds a model_index.json, or a hub name such as"
            " Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
        )
    kinds = ("*.json", "*.safetensors") if weights else ("*.json",)
    wanted = [
        "model_index.json",
        "longtake.json",
        "config.json",
        *(f"{part}/{kind}" for part in CLASSES for kind in kinds),
    ]
    return fetched(str(model), wanted)


def fetched(name: str, wanted: list[str]) -> Path:
    """The folder in which the wanted files of a hub's repository lie, fetched if need be, or ModelError."""
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # networks, proxies, tokens and disks fail in as many classes
        raise ModelError(
            f"no folder {name} here, and it cannot be fetched from the hub ({type(error).__name__});"
            " check the name, go online, or fetch it elsewhere and give its folder"
        ) from error


def checked_classes(folder: Path) -> dict[str, str]:
    """The class name of each part.

    Raises ModelError for a folder that is incomplete, brings code or cannot be filmed with.
    """
    index = read_json(folder, "model_index.json")
    if not isinstance(index.get("_class_name"), str):
        raise ModelError(_brings_code(folder, "a pipeline class in model_index.json"))
    classes = {part: _checked_class(folder, part, index) for part in CLASSES}
    _check_kind(folder, index, classes)
    for name in ("model_index.json", *(f"{part}/{config}" for part, config in CONFIGS.items())):
        for key in {"auto_map", "trust_remote_code"} & read_json(folder, name).keys():
            raise ModelError(_brings_code(folder, f"{key} in {name}"))
    for script in sorted({*folder.glob("*.py"), *folder.glob("*/*.py")}):
        raise ModelError(_brings_code(folder, str(script.relative_to(folder))))
    return classes


def part_config(folder: Path, part: str) -> dict[str, Any]:
    """The configuration of one part of the folder."""
    return read_json(folder, f"{part}/{CONFIGS[part]}")


def part_place(folder: Path, part: str) -> str:
    """Where the configuration of a part is, for an error."""
    return f"model folder {folder}: {part}/{CONFIGS[part]}"


def vae_config(folder: Path) -> VaeConfig:
    """The configuration of the autoencoder, checked."""
    return checked(VaeConfig, part_config(folder, "vae"), part_place(folder, "vae"))


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of the folder. Raises ModelError if it is missing or anything else."""
    path = folder / name
    try:
        reason = foreign(path)
        content = None if reason else json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = kind_of_folder(folder) if name == "model_index.json" and folder.is_dir() else None
        raise ModelError(
            f"model folder {folder} is incomplete: {name} is missing{f'; {known}' if known else ''}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"model folder {folder}: {name} cannot be read ({error})") from error
    if reason:
        raise ModelError(f"model folder {folder}: {name} {reason}")
    if not isinstance(content, dict):
        raise ModelError(f"model folder {folder}: {name} is not a JSON object")
    return content


def _checked_class(folder: Path, part: str, index: dict[str, Any]) -> str:
    entry = index.get(part)
    if part == "transformer" and entry is None:
        entry = index.get("unet")
    match entry:
        case [str(library), str(name)]:
            pass
        case _:
            raise ModelError(f"model folder {folder} is incomplete: model_index.json names no {part}")
    if f"{library}.{name}" in CLASSES[part]:
        return name
    if library not in ("diffusers", "transformers", "longtake"):
        raise ModelError(_brings_code(folder, f"{name} of {library}"))
    if name in ONE_TIMESTEP:
        reason = "it takes one timestep for the whole clip, not one for each latent frame"
    elif name in NO_ADAPTER:
        reason = "it could take a timestep for each latent frame, but longtake has no adapter for it yet"
    else:
        reason = "it must be " + " or ".join(entry.split(".")[1] for entry in CLASSES[part])
    raise ModelError(f"model folder {folder} cannot be used: its {part} is a {name}; {reason}")


def _check_kind(folder: Path, index: dict[str, Any], classes: dict[str, str]) -> None:
    """Refuse relatives of text-to-video Wan that share its class, autoencoders of unknown statistics, and parts that
    do not belong together."""
    vae, place = vae_config(folder), part_place(folder, "text_encoder")
    encoder = checked(TextEncoderConfig, part_config(folder, "text_encoder"), place)
    channels, text, reason = _network(folder, classes)
    if any(_as_list(index.get("transformer_2"))) or index.get("boundary_ratio") is not None:
        reason = "it picks one of two experts by the noise level of the clip, but a window has many levels"
    elif any(_as_list(index.get("image_encoder"))):
        reason = "it starts from an image; take the text-to-video model"
    elif (classes["transformer"] == OPEN_SORA[0]) != (classes["vae"] == OPEN_SORA[1]):
        reason = f"a {classes['transformer']} does not go with a {classes['vae']}"
    elif reason:
        pass
    elif channels != vae.z_dim:
        reason = f"its network takes latents of {channels} channels, its autoencoder makes {vae.z_dim}"
    elif text != encoder.d_model:
        reason = f"its network reads text of {text} numbers, its text encoder makes {encoder.d_model}"
    elif not len(vae.latents_mean or ()) == len(vae.latents_std or ()) == vae.z_dim:
        reason = "its vae/config.json gives no latents_mean and latents_std for each latent channel"
    if reason:
        raise ModelError(f"model folder {folder} cannot be used: {reason}")


def _network(folder: Path, classes: dict[str, str]) -> tuple[int, int, str | None]:
    """The channels of the network's latents, the width of the text it reads, and why it cannot be used, if so."""
    config, place = part_config(folder, "transformer"), part_place(folder, "transformer")
    if classes["transformer"] == OPEN_SORA[0]:
        own = checked(OpenSoraConfig, config, place)
        return own.in_channels, own.caption_channels, None
    network, reason = checked(TransformerConfig, config, place), None
    if network.image_dim or network.in_channels != (network.out_channels or network.in_channels):
        reason = "it starts from an image; take the text-to-video model"
    elif network.patch_size[0] != 1:
        reason = "its network joins latent frames into one token, so they share a noise level"
    return network.in_channels, network.text_dim, reason


def _as_list(entry: Any) -> list[Any]:
    return entry if isinstance(entry, list) else [entry]


def _brings_code(folder: Path, what: str) -> str:
    return f"model folder {folder} asks for code of its own to be run ({what}); longtake runs none"
