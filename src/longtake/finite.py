"""Numbers that are not finite (NaN, infinite) are found here, and told of; nothing is made of them."""

from __future__ import annotations

import torch
from torch import Tensor

from longtake.errors import NumberError

ADVICE = "float16 overflows easily, try bfloat16 or float32"
SEEN = "what a network that measures makes of pictures", "its weights are damaged, fetch them again"


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor of any floating type holds finite numbers alone; one read of it, no copy. A tensor on the meta
    device has a shape and no numbers."""
    if not tensor.numel() or not tensor.is_floating_point() or tensor.is_meta:
        return True
    low, high = torch.aminmax(tensor.detach())
    return bool(torch.isfinite(low) & torch.isfinite(high))


def require_finite(tensor: Tensor, what: str, advice: str = ADVICE) -> Tensor:
    """The tensor. NumberError, which says what it is and what to do, unless its numbers are finite."""
    if not is_finite(tensor):
        raise NumberError(f"{what} holds numbers that are not finite: {advice}")
    return tensor
