"""A model's folder, looked through before anything is loaded from it; without torch.

It is a folder in diffusers' layout, of one of the families. It brings numbers, never code: classes are looked up in
their records, weights are safetensors, and everything else is refused, with the reason.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import Any

from longtake.errors import ModelError
from longtake.models.base import ModelDefaults, ModelSpec, TwoExperts
from longtake.models.configs import (
    STARTS_FROM_IMAGE,
    IndexConfig,
    Kind,
    SchedulerConfig,
    checked,
    measured_ends,
    settings,
)
from longtake.models.families import AUTOENCODERS, FAMILIES, NETWORKS, SECOND, VAES
from longtake.models.kinds import read_json, refuse_foreign
from longtake.models.records import Family, Part
from longtake.models.refusals import REFUSALS
from longtake.models.weights import OF_DIFFUSERS, PartFiles, part_files, weights_hash

INDEX, MODULAR, SETTINGS = "model_index.json", "modular_model_index.json", "longtake.json"


class ModelFolder:
    """A model's folder, opened: its JSON is read once, and what it says is checked once.

    path, name; `hub`, its name on the hub if it was fetched; `index`, the file that names its parts; `parts`, what is
    read of it, and the class name of each, `classes`; `family` and `autoencoder`, their records; `network`, `vae` and
    `encoder`, what is read of the configurations of these and of the text encoder; `boundary`, the noise level between
    two networks, if it has two.
    """

    def __init__(self, path: Path, name: str = "", hub: str | None = None) -> None:
        """Raises ModelError for a folder that is incomplete, brings code or cannot be filmed with."""
        self.path, self.name, self.hub = path, name or path.resolve().name, hub
        self._read: dict[str, dict[str, Any]] = {}
        is_modular = not (path / INDEX).exists() and (path / MODULAR).exists()
        self.index = MODULAR if is_modular else INDEX
        index = self.json(self.index)
        if not isinstance(index.get("_class_name"), str):
            raise self._brings_code(f"a pipeline class in {self.index}")
        self.parts, self.classes = {"transformer": NETWORKS, "vae": VAES}, dict[str, str]()
        self._classify(index)
        self.family = self._family(index)
        self.autoencoder = AUTOENCODERS[self.classes["vae"]]
        self.parts |= self.family.parts
        self.boundary = checked(IndexConfig, index, f"model folder {path}: {self.index}").boundary_ratio
        if self.boundary is not None and self.family.experts:
            self.parts[SECOND] = Part((f"diffusers.{self.classes['transformer']}",), weights=OF_DIFFUSERS)
        self._classify(index)
        self.vae = self._checked("vae", self.autoencoder.config)
        self.encoder = self._checked(self.family.text.reader, self.family.text.config)
        self.network = self._checked("transformer", self.family.config)
        if reason := self._unfit(index):
            raise ModelError(f"model folder {path} cannot be used: {reason}")
        for file in (self.index, *(f"{part}/{record.config}" for part, record in self.parts.items())):
            for key in {"auto_map", "trust_remote_code"} & self.json(file).keys():
                raise self._brings_code(f"{key} in {file}")
        for script in sorted({*path.glob("*.py"), *path.glob("*/*.py")}):
            raise self._brings_code(str(script.relative_to(path)))

    @cached_property
    def spec(self) -> ModelSpec:
        """The description of the model. Raises ModelError for a value that is missing, of the wrong type or out of its
        range, and for a scheduler whose noise levels or predictions are not those of a film."""
        reads, scheduler, latents = self.family.text, self._scheduler(), self.vae.latents
        tokenizer, most = self._checked(reads.words, reads.tokenizer), reads.most_tokens
        lacks = {part: lack for part, lack in self.family.left_out.items() if self._names(part)}
        return ModelSpec(
            name=self.name,
            latent_channels=latents.channels,
            spatial_factor=latents.spatial_factor,
            temporal_factor=latents.temporal_factor,
            first_frames=self.autoencoder.first_frames,
            alignment=latents.spatial_factor * self.network.patch,
            max_prompt_tokens=self.network.prompt_tokens or min(tokenizer.model_max_length or most, most),
            defaults=self._defaults(scheduler.given_shift(self.classes["scheduler"])),
            group_latents=self.autoencoder.group_latents,
            lookahead_latents=self.autoencoder.lookahead_latents,
            delay_latents=self.vae.delay_latents,
            prediction=scheduler.prediction,
            text_per_latent=self.family.text_per_latent,
            whole_groups=self.family.whole_groups,
            schedule=scheduler.schedule or self.family.schedule,
            left_out=tuple(filter(None, lacks.values())),
            joined_latents=self.network.joined_latents,
            extra_tokens=self.family.text.extra_tokens,
            ends=measured_ends(self.json(SETTINGS), self.path) if (self.path / SETTINGS).exists() else None,
            experts=self._experts,
        )

    @cached_property
    def weights(self) -> dict[str, PartFiles]:
        """The weights of each part that has any. Raises ModelError unless all are there as safetensors, and with them
        the files that the parts need besides, such as the words of a tokenizer."""
        for part, record in self.parts.items():
            if record.files:
                self._check_files(part, self.files(part))
        return {
            part: part_files(self.path, part, record.weights)
            for part, record in self.parts.items()
            if record.weights
        }

    @property
    def adapter(self) -> str:
        """The place of the Adapter of its network, or of its two."""
        experts = self.family.experts
        return self.family.adapter if experts is None or self.boundary is None else experts.adapter

    @property
    def sha256(self) -> str:
        """The sha256 of all that pictures depend on: the weights, and the JSON files that say how to use them."""
        return self.hashing.result()

    @cached_property
    def hashing(self) -> Future[str]:
        """The same while it is computed, in a thread that begins when this is first asked for: weights may be many
        gigabytes, and a film does not wait for them."""
        digest: Future[str] = Future()
        words = [part for part, record in self.parts.items() if record.files]
        parts = *self.weights, *words

        def compute() -> None:
            try:
                digest.set_result(weights_hash(self.path, *parts))
            except Exception as error:
                digest.set_exception(error)

        Thread(target=compute, name="hashing", daemon=True).start()
        return digest

    def check(self) -> None:
        """Raise now what `spec` and `weights` would raise later."""
        _ = self.spec, self.weights

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object of the folder. Raises ModelError if it is missing or anything else."""
        if name not in self._read:
            self._read[name] = read_json(self.path, name)
        return self._read[name]

    def files(self, part: str) -> tuple[str, ...]:
        """The files besides its configuration and its weights that make a part: those of its record, or the one that
        does instead where it is there and they are not."""
        record = self.parts[part]
        instead = record.instead if record.instead and (self.path / part / record.instead).exists() else None
        missing = any(not (self.path / part / file).exists() for file in record.files)
        return (instead,) if instead and missing else record.files

    def config(self, part: str) -> dict[str, Any]:
        """The configuration of one part."""
        return self.json(f"{part}/{self.parts[part].config}")

    def place(self, part: str) -> str:
        """Where the configuration of a part is, for an error."""
        return f"model folder {self.path}: {part}/{self.parts[part].config}"

    def _checked(self, part: str, kind: type[Kind]) -> Kind:
        """What is read of the configuration of a part."""
        return checked(kind, self.config(part), self.place(part))

    def _check_files(self, part: str, files: tuple[str, ...]) -> None:
        """ModelError unless a part has these, and none of its files is something else at first sight."""
        for file in files:
            if file.endswith(".json"):
                self.json(f"{part}/{file}")
            else:
                refuse_foreign(self.path / part / file)
        for path in sorted((self.path / part).iterdir()):
            is_read = f"{part}/{path.name}" in self._read
            if path.suffix in (".json", ".model", ".txt") and not path.name.startswith(".") and not is_read:
                refuse_foreign(path)

    def _names(self, part: str) -> bool:
        """Whether the folder says that it has such a part."""
        return any(_as_list(self.json(self.index).get(part)))

    def _family(self, index: dict[str, Any]) -> Family:
        """The record of its network, or, where models share that, of those with its text encoder."""
        family = FAMILIES[self.classes["transformer"]]
        return next(
            (
                family.relatives[name]
                for name in _as_list(index.get("text_encoder"))
                if str(name) in family.relatives
            ),
            family,
        )

    def _classify(self, index: dict[str, Any]) -> None:
        """Look up the class of each part."""
        self.classes |= {part: self._class(part, index) for part in self.parts if part not in self.classes}

    def _class(self, part: str, index: dict[str, Any]) -> str:
        entry = index.get(part)
        if part == "transformer" and entry is None:
            entry = index.get("unet")
        match entry:
            case [str(origin), str(name), *_]:
                pass
            case _:
                raise ModelError(f"model folder {self.path} is incomplete: {self.index} names no {part}")
        classes = self.parts[part].classes
        if f"{origin}.{name}" in classes:
            return name
        if origin not in ("diffusers", "transformers", "longtake"):
            raise self._brings_code(f"{name} of {origin}")
        reason = REFUSALS.get(name.removesuffix("Transformer3DModel"))
        if reason is None:
            reason = "it must be " + " or ".join(entry.split(".")[1] for entry in classes)
        raise ModelError(f"model folder {self.path} cannot be used: its {part} is a {name}; {reason}")

    def _unfit(self, index: dict[str, Any]) -> str | None:
        """Why the parts cannot be filmed with: relatives of text-to-video models that share their classes, autoencoders
        of unknown statistics, and parts that do not belong together. None if they can."""
        network, channels, encoder = self.network, self.vae.latents.channels, self.encoder
        if self._names(SECOND) != (SECOND in self.parts):
            return f"of {SECOND} and boundary_ratio, {self.index} has one alone, or for networks that go without both"
        if SECOND in self.parts and self._checked(SECOND, self.family.config) != network:
            return f"its {SECOND} takes other latents or text than its transformer"
        if self._names("image_encoder") and "image_encoder" not in self.family.left_out:
            return STARTS_FROM_IMAGE
        if self.classes["vae"] not in self.family.autoencoders:
            return f"a {self.classes['transformer']} does not go with a {self.classes['vae']}"
        if network.refusal:
            return network.refusal
        if network.latent_channels != channels:
            return f"its network takes latents of {network.latent_channels} channels, its autoencoder makes {channels}"
        if network.text_width != encoder.width:
            return f"its network reads text of {network.text_width} numbers, its text encoder makes {encoder.width}"
        return self.vae.refusal

    def _scheduler(self) -> SchedulerConfig:
        name, content, place = self.classes["scheduler"], self.config("scheduler"), self.place("scheduler")
        if content.get("_class_name", name) != name:
            raise ModelError(
                f"{place} is of a {content['_class_name']}, model_index.json says {name}: mend one"
            )
        scheduler = checked(self.family.schedulers[name], content, place)
        if reason := self.network.unfit(scheduler):
            raise ModelError(f"model folder {self.path} cannot be used: {reason}")
        return scheduler

    def _defaults(self, shift: float | None) -> ModelDefaults:
        """The folder's longtake.json. Folders of the hub may do without, where their family knows better."""
        family, place = self.family, (self.classes["vae"], self.vae.latents.spatial_factor)
        variant = self.network.variant
        known = family.defaults.get((*place, variant) if variant else place)
        own = family.named.get(self.hub or "", known)
        if own is not None and family.experts and self.boundary is not None:
            own = family.experts.defaults
        if own is None or (self.path / SETTINGS).exists():
            return settings(self.json(SETTINGS), self.path)
        return replace(own, shift=shift) if shift is not None and family.scheduler_shift else own

    @property
    def _experts(self) -> TwoExperts | None:
        record = self.family.experts
        if record is None or self.boundary is None:
            return None
        return TwoExperts(self.boundary, record.guidance_scale_2)

    def _brings_code(self, what: str) -> ModelError:
        return ModelError(
            f"model folder {self.path} asks for code of its own to be run ({what}); longtake runs none"
        )


def read_settings(folder: Path) -> ModelDefaults:
    """The longtake.json of a folder, such as a LoRA's."""
    return settings(read_json(folder, SETTINGS), folder)


def _as_list(entry: Any) -> list[Any]:
    return entry if isinstance(entry, list) else [entry]
