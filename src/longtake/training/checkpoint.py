"""Checkpoints: tensors in safetensors, written beside the last one, flushed to disk and renamed; no pickle.

Random numbers need no room in them: they are functions of the step.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from longtake.files import file_sha256, write_text
from longtake.runs import new_folder, write_tensors


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
            digests = {file.name: file_sha256(file) for file in sorted(part.iterdir())}
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
        changed = [name for name, digest in digests.items() if file_sha256(folder / name) != digest]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return f"it cannot be read ({error})"
    return f"{changed[0]} is not what was written" if changed else None
