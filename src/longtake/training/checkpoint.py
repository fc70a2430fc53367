"""Checkpoints: tensors in safetensors, written beside the last one, flushed to disk and renamed; no pickle.

A state is a dictionary of named modules and optimizers. Random numbers need no room in it: in these recipes they
are functions of the step.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

State = Mapping[str, nn.Module | torch.optim.Optimizer]
NAME = "checkpoint.safetensors"


def save(folder: Path, state: State, step: int) -> None:
    """Write the whole state and the number of steps taken; the checkpoint before stays whole until then."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{name}/{key}": t.detach().clone() for name, part in state.items() for key, t in _flat(part).items()
    }
    part = folder / (NAME + ".part")
    save_file(tensors, part, metadata={"step": str(step)})
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.rename(folder / NAME)


def restore(folder: Path, state: State) -> int:
    """Load the checkpoint in `folder` into the state and return its step; 0, and nothing changed, if there is none."""
    path = folder / NAME
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        for name, part in state.items():
            keys = [key for key in file.keys() if key.startswith(name + "/")]  # noqa: SIM118
            _load(part, {key.removeprefix(name + "/"): file.get_tensor(key) for key in keys})
        return int(file.metadata()["step"])


def _flat(part: nn.Module | torch.optim.Optimizer) -> dict[str, Tensor]:
    if isinstance(part, nn.Module):
        return part.state_dict()
    values = part.state_dict()["state"]
    return {
        f"{i}.{key}": torch.as_tensor(value) for i, slots in values.items() for key, value in slots.items()
    }


def _load(part: nn.Module | torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    if isinstance(part, nn.Module):
        part.load_state_dict(tensors)
        return
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, slot = key.split(".", 1)
        slots.setdefault(int(index), {})[slot] = value
    part.load_state_dict({"state": slots, "param_groups": part.state_dict()["param_groups"]})
