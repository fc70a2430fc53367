"""How VBench hands pictures to its networks: as floats of 0 … 255, resized without antialiasing.

Its transforms see floats, so that nothing is rounded or clipped after a bicubic resize. (vbench/utils.py)

B pictures, H W height and width in pixels
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from longtake.evaluation.measures.base import Frames
from longtake.finite import SEEN, require_finite

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 224
LONGEST_SIDE = 512
BATCH = 16


@dataclass(frozen=True)
class Viewer:
    """A network that sees frames singly, with what is done to pictures before it."""

    network: nn.Module
    prepare: Callable[[Tensor], Tensor]
    device: torch.device

    @torch.no_grad()
    def __call__(self, frames: Frames) -> NDArray[np.float32]:
        """What it makes of each of frames (N, H, W, 3), a few at a time: (N, …). NumberError if that is not finite."""
        batches = (to_tensor(frames[i : i + BATCH], self.device) for i in range(0, len(frames), BATCH))
        seen = [require_finite(self.network(self.prepare(batch)), *SEEN).cpu().numpy() for batch in batches]
        return np.concatenate(seen)


def to_tensor(frames: Frames, device: torch.device) -> Tensor:
    """Frames (B, H, W, 3) uint8 to (B, 3, H, W) float32 of 0 … 255."""
    return torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float()


def for_dino(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) of 0 … 255, the shorter side resized to 224, normalised; not cropped."""
    return _normalised(_shorter_side(pictures, "bilinear"), IMAGENET_MEAN, IMAGENET_STD)


def for_clip(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) of 0 … 255 to their middle squares (B, 3, 224, 224), normalised."""
    resized = _shorter_side(pictures, "bicubic")
    top, left = (round((side - SIDE) / 2) for side in resized.shape[-2:])
    return _normalised(resized[..., top : top + SIDE, left : left + SIDE], CLIP_MEAN, CLIP_STD)


def for_musiq(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) of 0 … 255 to -1 … 1, none of their sides above 512."""
    scale = LONGEST_SIDE / max(pictures.shape[-2:])
    if scale < 1:
        pictures = _resized(pictures, [int(scale * side) for side in pictures.shape[-2:]], "bilinear")
    return pictures / 127.5 - 1


def padded(pictures: Tensor, multiple: int) -> tuple[Tensor, tuple[slice, slice]]:
    """Pictures with their edges repeated until both sides are multiples; and where the pictures lie in that."""
    height, width = pictures.shape[-2:]
    down, right = -height % multiple, -width % multiple
    top, left = down // 2, right // 2
    wider = functional.pad(pictures, (left, right - left, top, down - top), mode="replicate")
    return wider, (slice(top, top + height), slice(left, left + width))


def _shorter_side(pictures: Tensor, mode: str) -> Tensor:
    height, width = pictures.shape[-2:]
    short = min(height, width)
    return _resized(pictures, [int(SIDE * side / short) for side in (height, width)], mode)


def _resized(pictures: Tensor, size: list[int], mode: str) -> Tensor:
    return functional.interpolate(pictures, size, mode=mode, align_corners=False)


def _normalised(pictures: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (pictures / 255 - pictures.new_tensor(mean)[:, None, None]) / pictures.new_tensor(std)[
        :, None, None
    ]
