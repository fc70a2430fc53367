"""Weights in safetensors files of a bounded size, as diffusers and transformers read them; what is there is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from longtake.errors import NumberError, OutputError
from longtake.files import beside, write_text
from longtake.finite import is_finite

SHARD_BYTES = 2 << 30


def write_shards(folder: Path, name: str, tensors: Mapping[str, Tensor], say: Callable[[str], None]) -> None:
    """Write tensors to files called after `name`, NAME.safetensors or NAME-00001-of-00003.safetensors and so on, with
    an index. A file that holds what it is to hold already is kept; others in the folder are removed.

    `say` gets a line for each file. At most one file's tensors are in memory at once, where the tensors are mapped.
    OutputError when the disk gives out; files that were written stay. NumberError, which names the tensor, for numbers
    that are not finite.
    """
    shards = _cut(tensors)
    stem = name.removesuffix(".safetensors")
    names = [f"{stem}-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = [name]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, shard in zip((folder / name for name in names), shards, strict=True):
            if _holds(path, shard):
                say(f"kept {path}")
                continue
            _check_numbers(shard)
            with beside(path) as part:
                save_file(shard, part, metadata={"format": "pt"})
            say(f"wrote {path}")
        if len(shards) > 1:
            sizes = sum(tensor.nbytes for tensor in tensors.values())
            places = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
            index = {"metadata": {"total_size": sizes}, "weight_map": places}
            write_text(folder / f"{name}.index.json", json.dumps(index, indent=2) + "\n")
        wanted = {*names, f"{name}.index.json"} if len(shards) > 1 else set(names)
        for path in folder.glob("*.safetensors*"):
            if path.name not in wanted:
                path.unlink()
    except (OSError, OutputError) as error:
        raise OutputError(
            f"cannot write {folder} ({error}): make room and give the same command again, what is finished is kept"
        ) from error


def _cut(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Tensors in their order, in as few shards as hold SHARD_BYTES each, or one tensor."""
    shards, room = [dict[str, Tensor]()], SHARD_BYTES
    for name, tensor in tensors.items():
        if tensor.nbytes > room and shards[-1]:
            shards.append({})
            room = SHARD_BYTES
        shards[-1][name] = tensor
        room -= tensor.nbytes
    return shards


def _check_numbers(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise NumberError(f"the weights of {name} are not finite: fetch them again")


def _holds(path: Path, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file holds exactly these tensors."""
    try:
        with safe_open(path, "pt") as file:
            return set(file.keys()) == set(tensors) and all(
                file.get_tensor(name).dtype == tensor.dtype and torch.equal(file.get_tensor(name), tensor)
                for name, tensor in tensors.items()
            )
    except (OSError, SafetensorError):
        return False
