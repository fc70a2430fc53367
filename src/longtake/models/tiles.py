"""Pictures in tiles that overlap, as diffusers' autoencoders cut and fade them; each tile is made by itself.

B batch, C channels, F latent or pixel frames, H W height and width, of latents or of pictures
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Sides = tuple[int, int]


@dataclass(frozen=True)
class Tiles:
    """Tiles of what is given, and what is made of them; height and width.

    size: of a tile. stride: from one to the next. kept: of what is made of a tile, up to where the next one's begins.
    fade: over how much of what is made of a tile the one before it fades out.
    """

    size: Sides
    stride: Sides
    kept: Sides
    fade: Sides


def in_tiles(vae: Any, given: Tensor, factor: int) -> bool:
    """Whether an autoencoder takes pictures (factor 1), or latents of so many pixels a side, in tiles: those that are
    larger than one."""
    (height, width), _ = _sides(vae, factor)
    return vae.use_tiling and (given.shape[3] > height or given.shape[4] > width)


def decoder_tiles(vae: Any, latents: Tensor) -> Tiles | None:
    """Those that `vae.decode` takes of latents (B, C, F, H, W); None if it takes them whole."""
    factor = vae.spatial_compression_ratio
    return _tiles(vae, factor, vae.config.patch_size or 1) if in_tiles(vae, latents, factor) else None


def encoder_tiles(vae: Any, frames: Tensor) -> Tiles | None:
    """Those that `vae.encode` takes of frames (B, 3, N, height, width), in patches; None if it takes them whole."""
    factor = vae.spatial_compression_ratio // (vae.config.patch_size or 1)
    return _tiles(vae, 1, factor) if in_tiles(vae, frames, 1) else None


def tiled(vae: Any, given: Tensor, tiles: Tiles, make: Callable[[Tensor, str], Tensor]) -> Tensor:
    """What `make` makes of each tile of (B, C, F, H, W), as one; it is told the tile's name, such as "tile.0.1."."""
    (height, width), (down, right) = tiles.size, tiles.stride
    made, above = list[Tensor](), list[Tensor]()
    for row, y in enumerate(range(0, given.shape[3], down)):
        across = list[Tensor]()
        for column, x in enumerate(range(0, given.shape[4], right)):
            tile = make(given[..., y : y + height, x : x + width], f"tile.{row}.{column}.")
            if above:
                tile = vae.blend_v(above[column], tile, tiles.fade[0])
            if across:
                tile = vae.blend_h(across[-1], tile, tiles.fade[1])
            across.append(tile)
        made.append(torch.cat([tile[..., : tiles.kept[0], : tiles.kept[1]] for tile in across], dim=4))
        above = across
    return torch.cat(made, dim=3)


def _sides(vae: Any, factor: int) -> tuple[Sides, Sides]:
    """Size and stride of the tiles that diffusers speaks of, in units of so many."""
    height, width = vae.tile_sample_min_height, vae.tile_sample_min_width
    down, right = vae.tile_sample_stride_height, vae.tile_sample_stride_width
    return (height // factor, width // factor), (down // factor, right // factor)


def _tiles(vae: Any, given: int, made: int) -> Tiles:
    """Tiles in units of so many, of what is given and of what is made."""
    size, kept = _sides(vae, made)
    return Tiles(*_sides(vae, given), kept, (size[0] - kept[0], size[1] - kept[1]))
