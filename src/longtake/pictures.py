"""Pictures as a film has them, and as networks do.

B batch, N frames
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtake.finite import require_finite

Pictures = NDArray[np.uint8]


def to_tensor(pictures: Pictures) -> Tensor:
    """Pictures (B, N, height, width, 3), 0 to 255, as frames (B, 3, N, height, width), float32 in [-1, 1]."""
    return torch.from_numpy(np.array(pictures)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def to_uint8(frames: Tensor) -> Pictures:
    """Frames (B, 3, N, height, width) in [-1, 1] as pictures (B, N, height, width, 3), 0 to 255, rounded.

    NumberError for frames that are not finite: NaN would be black."""
    require_finite(frames, "what is to become pictures")
    levels = frames.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 4, 1).contiguous().cpu().numpy()
