"""The weights of VBench's networks: safetensors files below the user's folder, checked by their hashes.

Nothing is downloaded, and nothing is unpickled: docs/measures.md shows how a pickled checkpoint is converted, once,
by its owner. A converted file names the sha256 of what it was made from in its metadata.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from longtake.errors import ModelError
from longtake.files import file_sha256
from longtake.finite import require_finite

SOURCE = "source_sha256"  # the key of a converted file's metadata


@dataclass(frozen=True)
class WeightsFile:
    """A file below the weights folder, where it comes from, and the published sha256 of either form of it."""

    path: str
    origin: str
    safetensors: tuple[str, ...] = ()
    pickles: tuple[str, ...] = ()


DINO = WeightsFile(
    "dino-vitb16/model.safetensors",
    "facebook/dino-vitb16 of the Hugging Face hub",
    safetensors=(
        "fb67f4252819e5159616e326373273b802cc7a7d34438136412424df08a3ba57",
        "2c465a30aa590f9b3fbe36feb962a1eb35635da809643f42857cf64ee450007c",
    ),
    pickles=("a064e36c67289caaa5c949c0b3f7f31a0fcbcba5721f5fa12419933ec1f4fe6e",),
)
CLIP_B32 = WeightsFile(
    "clip-vit-base-patch32/model.safetensors",
    "openai/clip-vit-base-patch32 of the Hugging Face hub",
    pickles=("a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",),
)
CLIP_L14 = WeightsFile(
    "clip-vit-large-patch14/model.safetensors",
    "openai/clip-vit-large-patch14 of the Hugging Face hub",
    safetensors=("a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",),
)
AESTHETIC_HEAD = WeightsFile(
    "sa_0_4_vit_l_14_linear.safetensors",
    "sa_0_4_vit_l_14_linear.pth of LAION-AI/aesthetic-predictor",
    pickles=("2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",),
)
RAFT = WeightsFile(
    "raft-things.safetensors",
    "raft-things.pth of princeton-vl/RAFT",
    pickles=("fcfa4125d6418f4de95d84aec20a3c5f4e205101715a79f193243c186ac9a7e1",),
)
MUSIQ = WeightsFile(
    "musiq_spaq_ckpt-358bb6af.safetensors",
    "musiq_spaq_ckpt-358bb6af.pth of chaofengc/IQA-PyTorch",
    pickles=("358bb6af275e28ea56821d44fb55c6cb83645db11f394d3ad65b2d149965ab50",),
)
AMT = WeightsFile(
    "amt-s.safetensors",
    "amt-s.pth of MCG-NKU/AMT",
    pickles=("07e7e03405c213fe4405678db9b42d05671e48c56faf6a441b99bb0047d3cf77",),
)


@dataclass(frozen=True)
class Receipt:
    """What was used: the sha256 of the file, and in words how far that was checked."""

    sha256: str
    checked: str


def check(folder: Path, file: WeightsFile) -> Receipt:
    """Hash a file of the folder and compare. ModelError, naming the hashes, if it is not the published one."""
    path = folder / file.path
    with _reading(path):
        digest = file_sha256(path)
    if digest in file.safetensors:
        return Receipt(digest, "the published sha256")
    with _reading(path), safe_open(path, framework="pt") as tensors:
        source = (tensors.metadata() or {}).get(SOURCE)
    if source in file.pickles:
        return Receipt(digest, "by its own note made from the file of the published sha256")
    if source is None and not file.safetensors:
        return Receipt(digest, f"not checked: no digest is published, and {SOURCE} is not noted in it")
    found = f"{SOURCE} {source}" if source else f"sha256 {digest}"
    raise ModelError(
        f"{path} is not {file.origin}: its {found} is none of {', '.join(file.safetensors + file.pickles)}"
    )


def fill(network: nn.Module, path: Path, names: Mapping[str, str], device: torch.device) -> None:
    """Put a file's tensors into a network made on the meta device, as float32, and make it ready to measure with.

    names: what parts of the file's names are called in ours, replaced in this order. Other tensors are left alone.
    ModelError for a tensor that is missing or of the wrong shape, by the file's name of it where it has one;
    NumberError for one that is not finite.
    """
    with _reading(path), safe_open(path, framework="pt") as file:
        ours = {_renamed(name, names): name for name in file.keys()}  # noqa: SIM118
        wanted = network.state_dict()
        if missing := [name for name in wanted if name not in ours]:
            raise ModelError(f"{path} lacks {len(missing)} tensors of the network, the first is {missing[0]}")
        tensors = {name: file.get_tensor(ours[name]) for name in wanted}
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(wanted[name].shape)}"
            raise ModelError(f"{path} holds another network: its {ours[name]} is {shapes}")
        require_finite(tensor, f"{path}: its {ours[name]}", "fetch it again")
    network.load_state_dict({name: _float32(tensor) for name, tensor in tensors.items()}, assign=True)
    network.requires_grad_(False).eval().to(device)


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _renamed(name: str, names: Mapping[str, str]) -> str:
    for theirs, ours in names.items():
        name = name.replace(theirs, ours)
    return name


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error
