"""MUSIQ, a transformer that scores a picture's technical quality at its own size and at two others.

Ke et al., "MUSIQ: Multi-scale Image Quality Transformer" (ICCV 2021), in the form of pyiqa's port of the weights
trained on SPAQ, which VBench uses; names of its layers are the port's.

B pictures, H W height and width in pixels, T patches, D width
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from longtake.evaluation.vbench.vit import Block

NAMES = {
    "transformer_encoder.transformer.encoderblock_": "blocks.",
    "transformer_encoder.": "",
    "posembed_input.position_emb": "positions",
    "scaleembed_input.scale_emb": "scales",
    "encoder_norm": "norm",
    "mlp.": "",
}
PATCH = 32
GRID = 10
LONGER_SIDES = (224, 384)
WIDTH = 384


class StandardisedConv(nn.Conv2d):
    """Its kernels have mean 0 and deviation 1; padded as TensorFlow's "SAME"."""

    def forward(self, x: Tensor) -> Tensor:
        spread, mean = torch.std_mean(self.weight, (1, 2, 3), keepdim=True)
        return functional.conv2d(
            _same(x, self.kernel_size[0], self.stride[0]),
            (self.weight - mean) / (spread + 1e-5),
            stride=self.stride,
        )


class Bottleneck(nn.Module):
    """Patches' features (T, 64, 8, 8) to (T, 256, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        for name, inputs, outputs, kernel in (
            ("1", 64, 64, 1),
            ("2", 64, 64, 3),
            ("3", 64, 256, 1),
            ("_proj", 64, 256, 1),
        ):
            self.add_module(f"conv{name}", StandardisedConv(inputs, outputs, kernel, bias=False))
            self.add_module(f"gn{name}", nn.GroupNorm(32, outputs, eps=1e-4))

    def forward(self, x: Tensor) -> Tensor:
        y = self._layer("2", self._layer("1", x).relu()).relu()
        return (self._layer("3", y) + self._layer("_proj", x)).relu()

    def _layer(self, name: str, x: Tensor) -> Tensor:
        return self.get_submodule(f"gn{name}")(self.get_submodule(f"conv{name}")(x))


class Musiq(nn.Module):
    """Pictures (B, 3, H, W) of -1 … 1 to scores (B,), /100 as VBench has them; higher is better, about 0 … 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_root = StandardisedConv(3, 64, 7, 2, bias=False)
        self.gn_root = nn.GroupNorm(32, 64, eps=1e-6)
        self.block1 = Bottleneck()
        self.embedding = nn.Linear(256 * (PATCH // 4) ** 2, WIDTH)
        self.cls = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.zeros(1, GRID**2, WIDTH))
        self.scales = nn.Parameter(torch.zeros(len(LONGER_SIDES) + 1, WIDTH))
        self.blocks = nn.Sequential(*(Block(WIDTH, heads=6, hidden=1152) for _ in range(14)))
        self.norm = nn.LayerNorm(WIDTH, 1e-6)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """The port pads each scale to a fixed count of patches and masks these out; here they are left out."""
        sizes = [_with_longer_side(pictures, side) for side in LONGER_SIDES] + [pictures]
        tokens = [self._embedded(size) + scale for size, scale in zip(sizes, self.scales, strict=True)]
        x = torch.cat([self.cls.expand(len(pictures), -1, -1), *tokens], 1)
        return self.head(self.norm(self.blocks(x)[:, 0]))[:, 0] / 100

    def _embedded(self, pictures: Tensor) -> Tensor:
        cut = functional.unfold(_same(pictures, PATCH, PATCH), PATCH, stride=PATCH).transpose(1, 2)
        x = self.conv_root(cut.reshape(-1, 3, PATCH, PATCH))
        x = functional.max_pool2d(_same(self.gn_root(x).relu(), 3, 2), 3, 2)
        x = self.embedding(self.block1(x).movedim(1, -1).flatten(1))
        rows, columns = (-(-side // PATCH) for side in pictures.shape[-2:])
        return x.unflatten(0, (len(pictures), -1)) + self.positions[0, hashed_positions(rows, columns)]


def hashed_positions(rows: int, columns: int) -> Tensor:
    """Of each patch (rows · columns,), row by row: the place in a grid of 10 × 10 that stands for it. (Section 3.3)"""
    grid = torch.arange(GRID, dtype=torch.float32)[None, None]
    down, right = (functional.interpolate(grid, count)[0, 0].long() for count in (rows, columns))
    return (GRID * down[:, None] + right).flatten()


def _with_longer_side(pictures: Tensor, side: int) -> Tensor:
    ratio = side / max(pictures.shape[-2:])
    size = [round(length * ratio) for length in pictures.shape[-2:]]
    return functional.interpolate(pictures, size, mode="bicubic", align_corners=False)


def _same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Padded with zeros so that a kernel starts at every stride, half of it before: TensorFlow's "SAME"."""
    down, right = ((-(-side // stride) - 1) * stride + kernel - side for side in x.shape[-2:])
    return functional.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
