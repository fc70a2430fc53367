"""Weights on disk, known by their headers before any are loaded: which files hold those of a part, what is in them, and
whether that is exactly what its configuration asks for. Without torch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError, safe_open

from longtake.errors import ModelError
from longtake.files import file_sha256
from longtake.models.kinds import PICKLES, QUANTISED_PARTS, read_json, refuse_foreign

# What diffusers and transformers call the weights of a part.
OF_DIFFUSERS, OF_TRANSFORMERS = "diffusion_pytorch_model.safetensors", "model.safetensors"
FLOATS = ("F64", "F32", "F16", "BF16")
# Tensors that a part may hold beyond its own, by how their names begin, and why they do no harm.
DECODER = ("decoder.", "lm_head.")  # of a whole T5, whose encoder is used alone
OF_T5 = ("T5EncoderModel", "UMT5EncoderModel")
HARMLESS = {**dict.fromkeys(OF_T5, DECODER), "CLIPTextModel": ("embeddings.position_ids",)}
# Tensors that are one and the same: one of them is enough.
TIED = dict.fromkeys(OF_T5, ("shared.weight", "encoder.embed_tokens.weight"))
TIED["Gemma3ForConditionalGeneration"] = ("lm_head.weight", "model.language_model.embed_tokens.weight")
# Names on disk that transformers gives others, pattern by pattern, before it looks for them: those of older versions.
RENAMED = {
    "CLIPTextModel": ((r"^text_model\.", ""),),
    "Qwen2_5_VLForConditionalGeneration": (
        (r"^visual\.", "model.visual."),
        (r"^model\.(?!visual\.|language_model\.)", "model.language_model."),
    ),
    "Gemma3ForConditionalGeneration": (
        (r"^language_model\.lm_head\.", "lm_head."),
        (r"^language_model\.model\.", "model.language_model."),
        (r"^vision_tower\.", "model.vision_tower."),
        (r"^multi_modal_projector\.", "model.multi_modal_projector."),
    ),
    "T5Gemma2Encoder": ((r"^(?=embed_tokens\.|layers\.|norm\.)", "text_model."),),
}


class Shaped(Protocol):
    """A tensor, or the header of one."""

    @property
    def shape(self) -> Any: ...


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of a tensor: its shape, its type in the file's words, and in which file it is."""

    shape: tuple[int, ...]
    dtype: str
    path: Path


@dataclass(frozen=True)
class PartFiles:
    """The weights of a part: their files, and the variant ('fp16') by which these are called, if any."""

    files: tuple[Path, ...]
    variant: str | None = None


def headers(path: Path) -> dict[str, Header]:
    """The tensors that a safetensors file holds. ModelError, which says what it is, for any other file."""
    refuse_foreign(path)
    try:
        with safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {name: Header(tuple(s.get_shape()), s.get_dtype(), path) for name, s in slices.items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{path} is damaged, cut off or no safetensors file, and cannot be read ({error}): fetch it again"
        ) from error


def all_headers(files: Iterable[Path]) -> dict[str, Header]:
    """The tensors of several files. ModelError for one that is in two of them."""
    found: dict[str, Header] = {}
    for path in files:
        for name, header in headers(path).items():
            if name in found:
                raise ModelError(f"{name} is both in {found[name].path} and in {path}: fetch them again")
            found[name] = header
    return found


def shard_names(folder: Path, index: str) -> list[str]:
    """The files that an index in their folder lists, each once. Raises ModelError if it is damaged or lists none."""
    return sorted(set(_places(read_json(folder, index), folder / index).values()))


def part_files(folder: Path, part: str, weights: str = OF_DIFFUSERS) -> PartFiles:
    """The weights of a part of a model folder, one file of this name or its shards. A part that comes in one precision
    alone, as `NAME.fp16.safetensors`, is taken.

    ModelError if files are missing, are pickles or pointers, or if some are there that would not be read.
    """
    stem = weights.removesuffix(".safetensors")
    place = folder / part
    names = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    names = [name for name in names if not name.startswith(".")]
    layouts = [_layout(place, stem, None, names)]
    layouts += [_layout(place, stem, variant, names) for variant in sorted(_variants(stem, names))]
    found = [layout for layout in layouts if layout]
    if not found:
        raise _missing(folder, f"{part}/{weights}", names)
    plain, variants = found[0].variant is None, [str(layout.variant) for layout in found if layout.variant]
    if not plain and len(variants) > 1:
        raise ModelError(
            f"model folder {folder}: {part} has weights in the variants {', '.join(variants)}, and none without a name:"
            f" rename those to be used to {weights}"
        )
    for shard in found[0].files:
        if not shard.is_file():
            raise ModelError(f"model folder {folder} is incomplete: {part}/{shard.name} is missing")
    read = {path.name for layout in found for path in layout.files}
    for name in names:
        if name.endswith(".safetensors") and name not in read:
            raise ModelError(
                f"model folder {folder}: {part}/{name} would not be read beside {found[0].files[0].name}: move it away"
            )
    return found[0]


def check_tensors(
    held: Mapping[str, Shaped],
    shapes: Mapping[str, tuple[int, ...]],
    where: str = "the checkpoint",
    whose: str = "Open-Sora v1.2",
) -> None:
    """Raise ModelError unless exactly the tensors of these names and shapes are held."""
    missing, surplus = (
        [name for name in shapes if name not in held],
        [name for name in held if name not in shapes],
    )
    if missing:
        raise ModelError(f"{where} lacks {first_of(missing)}, which {whose} has")
    if surplus:
        raise ModelError(f"{where} holds {first_of(surplus)}, which {whose} does not have")
    for name, shape in shapes.items():
        if tuple(held[name].shape) != shape:
            raise ModelError(
                f"{where}'s {name} is of shape {tuple(held[name].shape)}, but must be of {shape}"
            )


def check_floats(held: Mapping[str, Header]) -> None:
    """ModelError for weights that are quantised: they would be taken at face value, without their scales."""
    scales = [name for name in held if any(part in name for part in QUANTISED_PARTS)]
    odd = [name for name, header in held.items() if header.dtype not in FLOATS]
    for name in [*scales, *odd][:1]:
        raise ModelError(
            f"{held[name].path} holds quantised weights ({name} is {held[name].dtype}): take them as bfloat16, float16"
            " or float32"
        )


def check_part(files: Iterable[Path], network: Any, where: str) -> None:
    """ModelError, which names the first that is not so, unless every tensor in these files belongs to this network,
    which may be empty, and none of its is missing."""
    class_name = type(network).__name__
    held = {_renamed(name, class_name): header for name, header in all_headers(files).items()}
    check_floats(held)
    held = {
        name: header for name, header in held.items() if not name.startswith(HARMLESS.get(class_name, ()))
    }
    twins = [name for name in TIED.get(class_name, ()) if name in held][:1] and TIED[class_name]
    wanted = {
        name: tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if name in held or name not in twins
    }
    check_tensors(held, wanted, where, f"the {class_name} of its config.json")


def _renamed(name: str, class_name: str) -> str:
    """The name that a tensor on disk has in a network of this class."""
    for written, meant in RENAMED.get(class_name, ()):
        name = re.sub(written, meant, name)
    return name


def first_of(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    return names[0] + (f" and {len(names) - 1} more" if names[1:] else "")


def _places(content: Mapping[str, Any], index: Path) -> dict[str, str]:
    """The file of each tensor, as an index tells."""
    match content.get("weight_map"):
        case dict(places) if places and all(_is_name(name) for name in places.values()):
            return places
    raise ModelError(f"{index} is damaged, it does not name a file for each tensor: fetch it again")


def _is_name(name: object) -> bool:
    """Whether this is the name of a file in the same folder."""
    return isinstance(name, str) and name == Path(name).name and name != ""


def _variants(stem: str, names: list[str]) -> set[str]:
    found = (
        re.fullmatch(
            rf"{stem}\.(?:safetensors\.index\.)?([\w-]+?)(?:-\d+-of-\d+)?\.(?:safetensors|json)", name
        )
        for name in names
    )
    return {match[1] for match in found if match} - {"safetensors", "index"}


def _layout(place: Path, stem: str, variant: str | None, names: list[str]) -> PartFiles | None:
    """One file or an index with its shards, of the variant. ModelError if both are there."""
    infix = f".{variant}" if variant else ""
    single, index = f"{stem}{infix}.safetensors", f"{stem}.safetensors.index{infix}.json"
    if index not in names:
        return PartFiles((place / single,), variant) if single in names else None
    content = read_json(place, index)
    places = _places(content, place / index)
    shards = sorted(set(places.values()))
    if single in names and single not in shards:
        raise ModelError(
            f"{place} holds both {single} and shards of it, which {index} lists: move one of them away"
        )
    if all((place / shard).is_file() for shard in shards):
        _check_places(place / index, places)
        if "metadata" not in content:  # the library reads it
            raise ModelError(f"{place / index} is damaged, it has no metadata: fetch it again")
    return PartFiles(tuple(place / shard for shard in shards), variant)


def _check_places(index: Path, places: Mapping[str, str]) -> None:
    """ModelError unless the files that an index lists hold the tensors that it names, each in its place, and none
    else."""
    for shard in sorted(set(places.values())):
        path, told = index.parent / shard, {name for name, place in places.items() if place == shard}
        held = headers(path).keys()
        if missing := sorted(told - held):
            raise ModelError(f"{path} lacks {first_of(missing)}, which {index.name} names: fetch both again")
        if surplus := sorted(held - told):
            raise ModelError(f"{path} holds {first_of(surplus)}, unknown to {index.name}: fetch both again")


def _missing(folder: Path, wanted: str, names: list[str]) -> ModelError:
    part = wanted.split("/")[0]
    for name in names:
        if name.lower().endswith(PICKLES):
            return ModelError(
                f"model folder {folder}: {part}/{name} is a pickle, which can run code when it is"
                " opened; convert the weights to safetensors"
            )
    others = [name for name in names if name.endswith((".safetensors", ".gguf"))]
    there = f"; it holds {first_of(others)} instead" if others else ""
    return ModelError(f"model folder {folder} is incomplete: {wanted} is missing{there}")


def weights_hash(folder: Path, *parts: str) -> str:
    """SHA-256 of some parts of a model folder: their weights, and the JSON files that say how to use them."""
    whole = hashlib.sha256()
    for path in (path for part in parts for path in sorted((folder / part).iterdir())):
        if path.suffix in (".json", ".safetensors"):
            whole.update(f"{file_sha256(path)} {path.parent.name}/{path.name}\n".encode())
    return whole.hexdigest()
