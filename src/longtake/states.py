"""States of half-made films as files: tensors in safetensors, what they belong to as JSON in its header, no pickle.

A file is whole or not there, and holds a checksum over all of it, so that a film goes on exactly or not at all.

F pixel frames
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from longtake.errors import StateError
from longtake.files import beside, printable
from longtake.models.base import ENCODER, stored
from longtake.pictures import Pictures
from longtake.progressive import Window
from longtake.provenance import Made
from longtake.said import DRAFT as OF_DRAFT
from longtake.said import said
from longtake.shot import ShotState

SCHEMA = 2
HEADER = "longtake"  # the key, in the file's metadata, of what the tensors belong to
# What reading a file that is no state, or a damaged one, may raise.
WRONG = (
    SafetensorError,
    OSError,
    ValidationError,
    JSONDecodeError,
    TypeError,
    AttributeError,
    RecursionError,
)
PENDING, DECODER, MEMORY, DRAFT, END = "pending", "decoder.", "memory.", "draft.", "end"


class About(BaseModel):
    """What a state belongs to.

    film: what the film follows from. model, lora: the folders or names that it is filmed with, None for the embedded
    model and for no LoRA; several as for `read_spec`. made: what it was made with so far.
    passes, num_frames: how far it is. num_written: how many of its pictures are in whole seconds of the file.
    keep_every: the seconds after which a state is kept. draft: the file that the film is finished from, if it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    film: dict[str, Any]
    model: str | None
    lora: str | tuple[str, ...] | None
    made: Made
    passes: int = Field(ge=0)
    num_frames: int = Field(ge=0)
    num_written: int = Field(ge=0)
    keep_every: float | None = None
    draft: str | None = None

    @model_validator(mode="after")
    def _is_of_a_film(self) -> About:
        if (self.draft is None) == (OF_DRAFT in said(self.film, "the film")):
            raise ValueError("a draft is a file, and the film says of it what it was")
        return self


@dataclass(frozen=True)
class TakeState:
    """A half-made film in a file: the film's own state, and the pictures (F, height, width, 3) that are made and in no
    whole second of the file yet."""

    shot: ShotState
    pending: Pictures

    @property
    def num_written(self) -> int:
        """The pictures of whole seconds, which are in the file."""
        return self.shot.num_frames - len(self.pending)


def state_path(path: str | os.PathLike[str]) -> Path:
    """Where the state of a film for `path` is kept while it is made."""
    return Path(path).with_name(Path(path).name + ".state")


def states_folder(path: str | os.PathLike[str]) -> Path:
    """Where the states of a film at `path` are kept, if they are, to branch from and to extend it."""
    return Path(path).with_name(Path(path).name + ".states")


def write_state(path: Path, state: TakeState, about: About) -> None:
    """Write a state; the one before stays whole until this one is. OutputError when the disk gives out."""
    tensors = {name: x.detach().cpu().contiguous().clone() for name, x in _tensors(state).items()}
    told = {"schema": SCHEMA, **about.model_dump(), "sha256": _digest(tensors, about)}
    with beside(path) as part:
        save_file(tensors, part, metadata={HEADER: json.dumps(told)})


def read_about(path: Path) -> About:
    """What a state belongs to, without its tensors. StateError if it cannot be read."""
    return _header(path)[0]


def read_state(path: Path, device: str | torch.device = "cpu") -> TakeState:
    """A state whose tensors lie on `device`. StateError, which says why, unless it is what was written."""
    about, digest = _header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except WRONG as error:
        raise _unreadable(path) from error
    if _digest(tensors, about) != digest:
        raise StateError(f"{printable(path)} is damaged: it is not what was written")
    there = {name: x.to(device) for name, x in tensors.items() if name != PENDING}
    try:
        memory = tuple(there[f"{MEMORY}{i}"] for i in range(sum(name.startswith(MEMORY) for name in there)))
        window, pending = Window(about.passes, there["clean"], there["noisy"], memory), tensors[PENDING]
    except KeyError as error:
        raise _unreadable(path) from error
    decoder, draft = (
        {name.removeprefix(kind): x for name, x in there.items() if name.startswith(kind)}
        for kind in (DECODER, DRAFT)
    )
    shot = ShotState(about.num_frames, window, decoder, draft, there.get(END))
    return TakeState(shot, pending.numpy())


def _tensors(state: TakeState) -> dict[str, Tensor]:
    window = state.shot.window
    return {
        "clean": window.clean,
        "noisy": window.noisy,
        PENDING: torch.from_numpy(np.ascontiguousarray(state.pending)),
        **{f"{MEMORY}{i}": x for i, x in enumerate(window.memory)},
        **{DECODER + name: x for name, x in stored(state.shot.decoder).items()},
        **{DRAFT + name: x for name, x in stored(state.shot.draft, ENCODER).items()},
        **({} if state.shot.end is None else {END: state.shot.end}),
    }


def _header(path: Path) -> tuple[About, str]:
    """What a state belongs to, and its checksum."""
    if not path.is_file():
        raise StateError(f"there is no state {printable(path)}")
    try:
        with safe_open(path, framework="pt") as file:
            told = json.loads((file.metadata() or {})[HEADER])
            if (schema := told.pop("schema")) != SCHEMA:
                raise StateError(
                    f"{printable(path)} is a state of schema {schema}, this longtake reads {SCHEMA}: go on with the"
                    " version that wrote it"
                )
            return About(**{name: told[name] for name in told if name != "sha256"}), str(told["sha256"])
    except KeyError as error:
        raise StateError(f"{printable(path)} is no state of a film") from error
    except WRONG as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> StateError:
    return StateError(f"{printable(path)} cannot be read: it is no state, or damaged")


def _digest(tensors: Mapping[str, Tensor], about: About) -> str:
    """The sha256 of what a state holds and belongs to."""
    whole = hashlib.sha256(about.model_dump_json().encode())
    for name, x in sorted(tensors.items()):
        whole.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        whole.update(x.reshape(-1).view(torch.uint8).numpy().tobytes() if x.numel() else b"")
    return whole.hexdigest()
