"""A model's folder, looked through before anything is loaded from it; without torch.

It is a folder in diffusers' layout, of one of the families. It brings numbers, never code: classes are looked up in
their records, weights are safetensors, and everything else is refused, with the reason.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from longtake.errors import ModelError
from longtake.models.base import ModelDefaults, ModelSpec
from longtake.models.configs import (
    SHIFTS,
    STARTS_FROM_IMAGE,
    SchedulerConfig,
    TextEncoderConfig,
    TokenizerConfig,
    VaeConfig,
    checked,
    settings,
)
from longtake.models.families import AUTOENCODERS, FAMILIES, REFUSALS, library
from longtake.models.kinds import read_json, refuse_foreign
from longtake.models.weights import WEIGHTS, PartFiles, part_files, weights_hash

INDEX, SETTINGS = "model_index.json", "longtake.json"
MOST_PROMPT_TOKENS = 512
# By part: the file of its configuration, and the classes that it may be of, each behind its library.
CONFIGS = {
    "transformer": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "tokenizer": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
}
CLASSES = {
    "transformer": [f"{library(family.code)}.{name}" for name, family in FAMILIES.items()],
    "vae": [f"{library(vae.code)}.{name}" for name, vae in AUTOENCODERS.items()],
    "text_encoder": ["transformers.T5EncoderModel", "transformers.UMT5EncoderModel"],
    "tokenizer": [
        "transformers.PreTrainedTokenizerFast",
        "transformers.TokenizersBackend",
        "transformers.T5TokenizerFast",
        "transformers.T5Tokenizer",
    ],
    "scheduler": [f"diffusers.{name}" for name in SHIFTS],
}


class ModelFolder:
    """A model's folder, opened: its JSON is read once, and what it says is checked once.

    path, name; `hub`, its name on the hub if it was fetched; `classes`, the class name of each part; `family` and
    `autoencoder`, their records; `network` and `vae`, what is read of their configurations.
    """

    def __init__(self, path: Path, name: str = "", hub: str | None = None) -> None:
        """Raises ModelError for a folder that is incomplete, brings code or cannot be filmed with."""
        self.path, self.name, self.hub = path, name or path.resolve().name, hub
        self._read: dict[str, dict[str, Any]] = {}
        index = self.json(INDEX)
        if not isinstance(index.get("_class_name"), str):
            raise self._brings_code(f"a pipeline class in {INDEX}")
        self.classes = {part: self._class(part, index) for part in CONFIGS}
        self.family = FAMILIES[self.classes["transformer"]]
        self.autoencoder = AUTOENCODERS[self.classes["vae"]]
        self.vae = checked(VaeConfig, self.config("vae"), self.place("vae"))
        encoder = checked(TextEncoderConfig, self.config("text_encoder"), self.place("text_encoder"))
        self.network = checked(self.family.config, self.config("transformer"), self.place("transformer"))
        if reason := self._unfit(index, encoder):
            raise ModelError(f"model folder {path} cannot be used: {reason}")
        for file in (INDEX, *(f"{part}/{config}" for part, config in CONFIGS.items())):
            for key in {"auto_map", "trust_remote_code"} & self.json(file).keys():
                raise self._brings_code(f"{key} in {file}")
        for script in sorted({*path.glob("*.py"), *path.glob("*/*.py")}):
            raise self._brings_code(str(script.relative_to(path)))

    @cached_property
    def spec(self) -> ModelSpec:
        """The description of the model. Raises ModelError for a value that is missing, of the wrong type or out of its
        range, and for a scheduler whose noise levels or predictions are not those of a film."""
        tokenizer = checked(TokenizerConfig, self.config("tokenizer"), self.place("tokenizer"))
        scheduler, vae = self._scheduler(), self.vae
        return ModelSpec(
            name=self.name,
            latent_channels=vae.z_dim,
            spatial_factor=vae.scale_factor_spatial,
            temporal_factor=vae.scale_factor_temporal,
            first_frames=self.autoencoder.first_frames,
            alignment=vae.scale_factor_spatial * self.network.patch,
            max_prompt_tokens=self.network.prompt_tokens
            or min(tokenizer.model_max_length or MOST_PROMPT_TOKENS, MOST_PROMPT_TOKENS),
            defaults=self._defaults(scheduler.given_shift(SHIFTS[self.classes["scheduler"]])),
            group_latents=self.autoencoder.group_latents,
            lookahead_latents=self.autoencoder.lookahead_latents,
            prediction=scheduler.prediction_type or "flow_prediction",
            text_per_latent=self.family.text_per_latent,
            schedule=self.family.schedule,
        )

    @cached_property
    def weights(self) -> dict[str, PartFiles]:
        """The weights of each part. Raises ModelError unless all are there as safetensors, and the tokenizer's words as
        JSON."""
        self.json("tokenizer/tokenizer.json")
        for path in sorted((self.path / "tokenizer").iterdir()):
            is_read = f"tokenizer/{path.name}" in self._read
            if path.suffix in (".json", ".model", ".txt") and not path.name.startswith(".") and not is_read:
                refuse_foreign(path)
        return {part: part_files(self.path, part) for part in WEIGHTS}

    @cached_property
    def sha256(self) -> str:
        """The sha256 of all that pictures depend on: the weights, and the JSON files that say how to use them."""
        return weights_hash(self.path, *WEIGHTS, "tokenizer")

    def check(self) -> None:
        """Raise now what `spec` and `weights` would raise later."""
        _ = self.spec, self.weights

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object of the folder. Raises ModelError if it is missing or anything else."""
        if name not in self._read:
            self._read[name] = read_json(self.path, name)
        return self._read[name]

    def config(self, part: str) -> dict[str, Any]:
        """The configuration of one part."""
        return self.json(f"{part}/{CONFIGS[part]}")

    def place(self, part: str) -> str:
        """Where the configuration of a part is, for an error."""
        return f"model folder {self.path}: {part}/{CONFIGS[part]}"

    def _class(self, part: str, index: dict[str, Any]) -> str:
        entry = index.get(part)
        if part == "transformer" and entry is None:
            entry = index.get("unet")
        match entry:
            case [str(origin), str(name)]:
                pass
            case _:
                raise ModelError(f"model folder {self.path} is incomplete: {INDEX} names no {part}")
        if f"{origin}.{name}" in CLASSES[part]:
            return name
        if origin not in ("diffusers", "transformers", "longtake"):
            raise self._brings_code(f"{name} of {origin}")
        reason = REFUSALS.get(name.removesuffix("Transformer3DModel"))
        if reason is None:
            reason = "it must be " + " or ".join(entry.split(".")[1] for entry in CLASSES[part])
        raise ModelError(f"model folder {self.path} cannot be used: its {part} is a {name}; {reason}")

    def _unfit(self, index: dict[str, Any], encoder: TextEncoderConfig) -> str | None:
        """Why the parts cannot be filmed with: relatives of text-to-video models that share their classes, autoencoders
        of unknown statistics, and parts that do not belong together. None if they can."""
        network, vae = self.network, self.vae
        if any(_as_list(index.get("transformer_2"))) or index.get("boundary_ratio") is not None:
            return "it picks one of two experts by the noise level of the clip, but a window has many levels"
        if any(_as_list(index.get("image_encoder"))):
            return STARTS_FROM_IMAGE
        if self.classes["vae"] not in self.family.autoencoders:
            return f"a {self.classes['transformer']} does not go with a {self.classes['vae']}"
        if network.refusal:
            return network.refusal
        if network.in_channels != vae.z_dim:
            return f"its network takes latents of {network.in_channels} channels, its autoencoder makes {vae.z_dim}"
        if network.text_width != encoder.d_model:
            return f"its network reads text of {network.text_width} numbers, its text encoder makes {encoder.d_model}"
        if not len(vae.latents_mean or ()) == len(vae.latents_std or ()) == vae.z_dim:
            return "its vae/config.json gives no latents_mean and latents_std for each latent channel"
        return None

    def _scheduler(self) -> SchedulerConfig:
        name, content, place = self.classes["scheduler"], self.config("scheduler"), self.place("scheduler")
        if content.get("_class_name", name) != name:
            raise ModelError(
                f"{place} is of a {content['_class_name']}, model_index.json says {name}: mend one"
            )
        return checked(SchedulerConfig, content, place)

    def _defaults(self, shift: float | None) -> ModelDefaults:
        """The folder's longtake.json. Folders of the hub may do without, where their family knows better."""
        own = self.family.defaults.get((self.classes["vae"], self.vae.scale_factor_spatial))
        if own is None or (self.path / SETTINGS).exists():
            return settings(self.json(SETTINGS), self.path)
        return replace(own, shift=shift) if shift is not None and self.family.scheduler_shift else own

    def _brings_code(self, what: str) -> ModelError:
        return ModelError(
            f"model folder {self.path} asks for code of its own to be run ({what}); longtake runs none"
        )


def read_settings(folder: Path) -> ModelDefaults:
    """The longtake.json of a folder, such as a LoRA's."""
    return settings(read_json(folder, SETTINGS), folder)


def _as_list(entry: Any) -> list[Any]:
    return entry if isinstance(entry, list) else [entry]
