"""Checkpoints: tensors in safetensors, written beside the last one, flushed to disk and renamed; no pickle.

Random numbers need no room in them: they are functions of the step.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from longtake.errors import OutputError
from longtake.files import beside, folder_made, is_text, to_disk, write_text

CONFIG = "config.json"  # of a run


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file; the one before stays whole until this one is."""
    with beside(path) as part:
        save_file(dict(tensors), part, metadata=metadata)


def claim(run: Path, config: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """Make a folder the run of these options, by a config.json in it. OutputError as check_claim raises it."""
    check_claim(run, config, free)
    path = run / CONFIG
    try:
        with folder_made(run):
            write_text(path, json.dumps(config, indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def check_claim(run: Path, config: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """OutputError for a file, and for another run, whose options differ from these in more than the `free` ones."""
    path = run / CONFIG
    if os.path.lexists(run) and not os.path.isdir(run):
        raise OutputError(f"{run} is a file: name a folder")
    if not is_text(run):
        raise OutputError(f"{run} is no name in UTF-8: give another folder")
    if not os.path.exists(path):
        return
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise OutputError(f"{path} cannot be read as the options of a run: give another folder or delete it")
    for key in config:
        if key not in free and told.get(key) != config[key]:
            raise OutputError(
                f"{run} is another run: its {key} is {told.get(key)}, not {config[key]}; give another folder or the"
                f" options of its {CONFIG}, or delete it"
            )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to be filled, beside its place; it is flushed to disk and put there when it is full, and removed if that
    fails."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    with folder_made(folder.parent):
        part.mkdir()
        try:
            yield part
            for path in (*part.rglob("*"), part):
                to_disk(path)
            part.rename(folder)
            to_disk(folder.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


class Checkpoints:
    """The checkpoints of a run: a folder step-NNNNNN each, which holds a safetensors file for each part of the state
    and a state.json with their sha256. The newest `keep` of them stay."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep
        self.last = 0  # the step of the newest one known to be whole

    def save(self, step: int, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write the state after `step` steps. Every checkpoint before it is whole until this one is."""
        for litter in self.folder.glob("step-*.part"):
            shutil.rmtree(litter)
        with new_folder(self.folder / _name(step)) as part:
            for name, tensors in parts.items():
                write_tensors(part / f"{name}.safetensors", tensors)
            digests = {file.name: _sha256(file) for file in sorted(part.iterdir())}
            write_text(part / "state.json", json.dumps({"step": step, "sha256": digests}, indent=2) + "\n")
            for damaged in (folder for folder in self._all() if folder.name >= _name(step)):
                shutil.rmtree(damaged)
        self.last = step
        for old in self._all()[: -self.keep]:
            shutil.rmtree(old)

    def newest(self) -> int:
        """The step of the newest whole checkpoint; 0 if there is none. Others, half-written or damaged, are told of."""
        for folder in sorted(self.folder.glob("step-*"), reverse=True):
            if reason := "it was not finished" if folder.suffix else _damage(folder):
                print(f"note: checkpoint {folder} is passed over: {reason}", file=sys.stderr)
            else:
                self.last = int(folder.name.removeprefix("step-"))
                break
        return self.last

    def load(self, step: int, part: str) -> dict[str, Tensor]:
        """A part of the state after `step` steps."""
        return load_file(self.folder / _name(step) / f"{part}.safetensors")

    def __str__(self) -> str:
        """A few words on where a run that ends now can go on."""
        if not self.last:
            return "there is no checkpoint yet"
        return f"the last checkpoint is {self.folder / _name(self.last)}"

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("step-??????"))


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, if anything."""
    try:
        digests = json.loads((folder / "state.json").read_text(encoding="utf-8"))["sha256"]
        changed = [name for name, digest in digests.items() if _sha256(folder / name) != digest]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return f"it cannot be read ({error})"
    return f"{changed[0]} is not what was written" if changed else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
