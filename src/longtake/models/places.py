"""Where models lie: from the name of one to its folder, opened. Without torch.

A model is named by a folder, by its name on the hub, by None (or its name) for the embedded default, or by that of one
that `longtake convert` makes, which is known before it is on the disk. A folder that is open already stands for its
model, and is not looked through again.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtake.errors import ModelError
from longtake.models.families import ALL, CONVERTED, PARTS
from longtake.models.folder import INDEX, MODULAR, SETTINGS, ModelFolder
from longtake.models.hub import HubModel
from longtake.models.kinds import kind_of_file
from longtake.models.records import Converted, imported

EMBEDDED = Path(__file__).parents[1] / "assets" / "tracking-shot"
EMBEDDED_TOLD = HubModel(
    "tracking shots of vehicles; the default, part of longtake",
    licence="Apache-2.0",
    trained_on="unequal levels",
    expect="small pictures, at once, on any processor",
)

Model = str | Path | ModelFolder | None


@dataclass(frozen=True)
class KnownModel:
    """A model to try: the name that load_model takes, what is told of it, and whether it is on this disk."""

    name: str
    told: HubModel
    on_disk: bool


def list_models() -> list[KnownModel]:
    """The embedded model, those that are made of original weights, then models of the hub."""
    from huggingface_hub import try_to_load_from_cache

    embedded = KnownModel(EMBEDDED.name, EMBEDDED_TOLD, EMBEDDED.is_dir())
    made = [KnownModel(c.name, c.told, _is_made(c)) for c in CONVERTED.values()]
    return [embedded, *made] + [
        KnownModel(
            name,
            told,
            any(
                isinstance(try_to_load_from_cache(repository, index, revision=revision), str)
                for index in (INDEX, MODULAR)
            ),
        )
        for family in ALL
        for name, told in family.hub.items()
        for repository, revision in [repository_of(name)]
    ]


class _NotMade(ModelFolder):
    """A model that is known before it is made: its name and its spec. ModelError for all else."""

    def __init__(self, known: Converted) -> None:
        self.name, self.spec, self._command = known.name, imported(known.spec), known.command

    def __getattr__(self, name: str) -> Any:
        raise ModelError(
            f"{self.name} is not in {converted_folder(self.name)}: make it with {self._command}, or give the folder it"
            " is in"
        )


def open_model(model: Model = None) -> ModelFolder:
    """The folder of a model, opened, without its weights. Loads no torch.

    Raises ModelError for a folder that is missing, incomplete, of a kind that cannot be used, or that brings code.
    """
    if isinstance(model, ModelFolder):
        return model
    known = CONVERTED.get(str(model))
    if known and not Path(known.name).is_dir():
        return ModelFolder(converted_folder(known.name), known.name) if _is_made(known) else _NotMade(known)
    path = find_folder(EMBEDDED if model is None or model == EMBEDDED.name else model, weights=False)
    is_given = model is None or model == EMBEDDED.name or Path(model).is_dir()
    return ModelFolder(path) if is_given else ModelFolder(path, str(model), hub=str(model))


def with_weights(folder: ModelFolder) -> ModelFolder:
    """The same with all its weights, fetched if need be; another if the hub has another by now."""
    path = find_folder(folder.hub, weights=True) if folder.hub else folder.path
    return folder if path == folder.path else ModelFolder(path, folder.name, folder.hub)


def model_folder(model: Model = None) -> Path:
    """The folder in which a model lies with all its weights."""
    return with_weights(open_model(model)).path


def converted_folder(name: str) -> Path:
    """Where a converted model is looked for, and put unless told otherwise: among the user's data."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "longtake" / name


def _is_made(known: Converted) -> bool:
    """Whether its conversion was finished."""
    return (converted_folder(known.name) / INDEX).is_file()


def is_hub_name(name: str) -> bool:
    """Whether a name could be that of a repository on the hub, or of a revision of one, REPOSITORY@REVISION."""
    return bool(re.fullmatch(r"\w[\w.-]*/\w[\w.-]*(@\w[\w./-]*)?", name))


def repository_of(name: str) -> tuple[str, str | None]:
    """The repository that a name on the hub is of, and its revision, if it says one."""
    repository, _, revision = name.partition("@")
    return repository, revision or None


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
    places = dict.fromkeys(
        f"{part}/{file}"
        for part, record in PARTS
        for file in (*kinds, *record.files, *([record.instead] if record.instead else ()))
    )
    wanted = [INDEX, MODULAR, SETTINGS, "config.json", *places]
    return fetched(str(model), wanted)


def fetched(name: str, wanted: list[str]) -> Path:
    """The folder in which the wanted files of a hub's repository lie, fetched if need be, or ModelError."""
    import huggingface_hub

    repository, revision = repository_of(name)
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=wanted))
    except Exception as error:  # networks, proxies, tokens and disks fail in as many classes
        raise ModelError(
            f"no folder {name} here, and it cannot be fetched from the hub ({type(error).__name__});"
            " check the name, go online, or fetch it elsewhere and give its folder"
        ) from error
