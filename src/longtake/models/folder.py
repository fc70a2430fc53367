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

CLASSES = {
    "transformer": (
        "diffusers.WanTransformer3DModel",
        "diffusers.SkyReelsV2Transformer3DModel",
        "longtake.OpenSoraTransformer3DModel",
    ),
    "vae": (
        "diffusers.AutoencoderKLWan",
        "longtake.AutoencoderTubelet",
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
OPEN_SORA = "OpenSoraTransformer3DModel", "AutoencoderOpenSora"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")

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
    if Path(model).is_dir():
        return Path(model)
    if not is_hub_name(str(model)):
        raise ModelError(
            f"no model folder {model}; give a folder that holds a model_index.json, or a hub name such as"
            " Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
        )
    kinds = ("*.json", "*.safetensors") if weights else ("*.json",)
    wanted = ["model_index.json", "longtake.json", *(f"{part}/{kind}" for part in CLASSES for kind in kinds)]
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


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of the folder. Raises ModelError if it is missing or anything else."""
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"model folder {folder} is incomplete: {name} is missing") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"model folder {folder}: {name} cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"model folder {folder}: {name} is not a JSON object")
    return content


def shard_names(folder: Path, index: str) -> list[str]:
    """The files that an index in their folder lists, each once. Raises ModelError if it is damaged or lists none."""
    match read_json(folder, index).get("weight_map"):
        case dict(places) if places and all(isinstance(name, str) for name in places.values()):
            return sorted(set(places.values()))
    raise ModelError(f"{folder / index} is damaged, it does not name a file for each tensor: fetch it again")


def check_weights(folder: Path) -> None:
    """Raise ModelError unless all weights are there as safetensors, and the tokenizer's words as JSON."""
    read_json(folder, "tokenizer/tokenizer.json")
    for part, name in WEIGHTS.items():
        names = [name]
        if (folder / part / f"{name}.index.json").is_file():
            names = shard_names(folder / part, f"{name}.index.json")
        for missing in (name for name in names if not (folder / part / name).is_file()):
            pickles = [file.name for file in (folder / part).iterdir() if file.suffix.lower() in PICKLES]
            if pickles:
                raise ModelError(
                    f"model folder {folder}: {part}/{pickles[0]} is a pickle, which can run code when it is"
                    " opened; convert the weights to safetensors"
                )
            raise ModelError(f"model folder {folder} is incomplete: {part}/{missing} is missing")


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
    network, vae = part_config(folder, "transformer"), part_config(folder, "vae")
    channels = {
        network.get("in_channels"),
        network.get("out_channels") or network.get("in_channels"),
        vae.get("z_dim"),
    }
    if any(index.get("transformer_2") or ()) or index.get("boundary_ratio") is not None:
        reason = "it picks one of two experts by the noise level of the clip, but a window has many levels"
    elif any(index.get("image_encoder") or ()) or network.get("image_dim") or len(channels) > 1:
        reason = "it starts from an image; take the text-to-video model"
    elif (classes["transformer"] == OPEN_SORA[0]) != (classes["vae"] == OPEN_SORA[1]):
        reason = f"a {classes['transformer']} does not go with a {classes['vae']}"
    elif network.get("patch_size", (1,))[0] != 1:
        reason = "its network joins latent frames into one token, so they share a noise level"
    elif not all(len(vae.get(key) or ()) == vae["z_dim"] for key in ("latents_mean", "latents_std")):
        reason = "its vae/config.json gives no latents_mean and latents_std for each latent channel"
    else:
        return
    raise ModelError(f"model folder {folder} cannot be used: {reason}")


def _brings_code(folder: Path, what: str) -> str:
    return f"model folder {folder} asks for code of its own to be run ({what}); longtake runs none"
