"""Reading pictures and correlations between their pixels: what RAFT and AMT have in common.

B pictures, D width of the features, h w height and width of a feature map, r radius, L levels
"""

import torch
from torch import Tensor
from torch.nn import functional


def pixel_grid(map_: Tensor) -> Tensor:
    """The coordinates (1, 2, h, w) of every pixel of a map (…, h, w), x first."""
    rows, columns = (torch.arange(side, device=map_.device) for side in map_.shape[-2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y])[None].float()


def sample(pictures: Tensor, places: Tensor, outside: str = "zeros") -> Tensor:
    """Pictures (B, D, h, w) read bilinearly at pixel coordinates (B, 2, …, …), x first; outside: "zeros" or "border".

    The released code divides by the side less one, which a side of one pixel does not survive; this does.
    """
    height, width = pictures.shape[-2:]
    size = places.new_tensor([width, height])
    grid = (2 * places.movedim(1, -1) + 1) / size - 1
    return functional.grid_sample(pictures, grid, padding_mode=outside, align_corners=False)


class Correlation:
    """How each place of one feature map agrees with those around a given place of another, at L scales.

    Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow" (ECCV 2020), section 3.2.
    """

    def __init__(self, features: Tensor, others: Tensor, radius: int, levels: int = 4) -> None:
        """From features (B, D, h, w) of either picture. Neither h nor w may be under 2 ** (levels - 1)."""
        width, self._height, self._width = features.shape[1:]
        volume = torch.einsum("bdhw,bdij->bhwij", features, others) / width**0.5
        self._pyramid = [volume.reshape(-1, 1, self._height, self._width)]
        for _ in range(levels - 1):
            self._pyramid.append(functional.avg_pool2d(self._pyramid[-1], 2))
        steps = torch.arange(-radius, radius + 1, device=features.device)
        # The first step of the window goes along x, as the released code has it by the order of its two axes.
        self._window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"))

    def __call__(self, places: Tensor) -> Tensor:
        """Around places (B, 2, h, w) of the other picture: (B, L (2 r + 1)², h, w)."""
        centres = places.movedim(1, -1).reshape(-1, 2, 1, 1)
        read = [
            sample(correlation, centres / 2**level + self._window).flatten(1)
            for level, correlation in enumerate(self._pyramid)
        ]
        return torch.cat(read, 1).reshape(len(places), self._height, self._width, -1).movedim(-1, 1)
