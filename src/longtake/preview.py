"""What a film's window holds, as small pictures, while the film is made.

At every call the network's velocity says what it takes each latent for: x0 = x - sigma * v, whatever the solver does
with it. A linear map makes a small picture of that, without the autoencoder. It is fitted once per autoencoder, on
pictures of discs that hide one another, whose statistics are those of photographs (Lee, Mumford and Huang, "Occlusion
models for natural images", IJCV 41, 2001), and kept.

B batch, C channels, F latent frames, H W latent height and width, d points of a picture along the side of a latent
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional

from longtake.errors import LongTakeWarning, OutputError
from longtake.given import decoded_frames
from longtake.models.base import ModelSpec, VideoModel
from longtake.models.folder import ModelFolder
from longtake.models.weights import weights_hash
from longtake.options import FilmPlan
from longtake.progress import track
from longtake.runs import write_tensors

SHARE = 0.015  # of a film's time, the most that is spent on showing it
EVERY = 0.25  # seconds between two pictures, at least
DETAIL = 4  # points along the side of a latent, at most
FILE = "latent_rgb.safetensors"  # of a model's folder, if it has one
KEY, OF = "map", "autoencoder"  # the names of what such a file holds: the map, and whose it is
PICTURES, SIDE, DISCS, RIDGE = 8, 16, 120, 1e-2  # what is fitted on: SIDE latents each way


@dataclass(frozen=True)
class Conveyor:
    """The window at one call of the network, the cleanest latent first.

    pictures: (F, d * H, d * W, 3) uint8, what the network takes the latents for. sigmas: the noise level of each.
    seconds: where in the film each begins.
    """

    pictures: NDArray[np.uint8]
    sigmas: list[float]
    seconds: list[float]


@dataclass(frozen=True)
class ColourMap:
    """A linear map from a latent's C normalised numbers, and 1, to 3 colours at d x d points: (C + 1, 3 * d * d)."""

    weights: Tensor

    def __call__(self, latents: Tensor) -> NDArray[np.uint8]:
        """Latents (C, F, H, W) as pictures (F, d * H, d * W, 3)."""
        weights = self.weights.to(latents.device)
        points = torch.einsum("cfhw,cp->fphw", latents.float(), weights[:-1]) + weights[-1].view(-1, 1, 1)
        colours = functional.pixel_shuffle(points, round((len(weights[-1]) / 3) ** 0.5))
        levels = colours.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


class Preview:
    """What a `Shot` may be given to `look`: it hands the window to `show`, a few times a second at most, and so seldom
    that this takes no more than `share` of the time."""

    def __init__(
        self,
        colours: ColourMap,
        film: FilmPlan,
        spec: ModelSpec,
        show: Callable[[Conveyor], object],
        every: float = EVERY,
        share: float = SHARE,
    ) -> None:
        self._colours, self._film, self._spec, self._show = colours, film, spec, show
        self._every, self._share, self._next = every, share, 0.0

    def __call__(self, latents: Tensor, velocity: Tensor, sigma: Tensor, first: int) -> None:
        began = time.perf_counter()
        if began >= self._next:
            self._show(self._seen(latents[0], velocity[0], sigma, first))
            ended = time.perf_counter()
            self._next = ended + max(self._every, (ended - began) / self._share)

    def _seen(self, latents: Tensor, velocity: Tensor, sigma: Tensor, first: int) -> Conveyor:
        place = self._film.length.given_latents + first
        before = max(0, -place)  # latents that come before the film
        level = sigma.to(latents.device)
        clean = latents.float() - level.view(-1, 1, 1) * velocity.float()
        places = range(place + before, place + len(sigma))
        return Conveyor(
            self._colours(clean[:, before:]), sigma[before:].tolist(), [*map(self._second, places)]
        )

    def _second(self, place: int) -> float:
        group = self._spec.group_latents or 1
        return float(decoded_frames(place // group * group, self._spec) / self._film.rate)


def colour_map(model: VideoModel, folder: ModelFolder | None) -> ColourMap:
    """The map of a model's autoencoder: that of its folder, that of the user's cache, or a new one, kept there.

    A bar on stderr while it is fitted. LongTakeWarning if it cannot be kept.
    """
    if folder is None:
        return fitted(model)
    owner = weights_hash(folder.path, "vae")
    kept = cached(owner)
    for path in (folder.path / FILE, kept):
        if (found := _read(path, owner, model.spec)) is not None:
            return found
    made = fitted(model)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write(made, kept, owner)
    except (OSError, OutputError) as error:
        warnings.warn(f"the preview's colours are fitted anew each time: {error}", LongTakeWarning, 2)
    return made


def cached(owner: str) -> Path:
    """Where the map of an autoencoder of this hash is kept: among the user's caches."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "longtake" / "latent-rgb" / f"{owner}.safetensors"


def write(colours: ColourMap, path: Path, owner: str) -> None:
    """Write the map of the autoencoder of a hash. OutputError when the disk gives out."""
    write_tensors(path, {KEY: colours.weights.cpu()}, {OF: owner})


@torch.inference_mode()
def fitted(model: VideoModel) -> ColourMap:
    """The map that gives back, with the least squares of error, pictures that the model's autoencoder encodes."""
    spec = model.spec
    detail = min(DETAIL, spec.spatial_factor)
    frames = decoded_frames((spec.group_latents or 2) + spec.lookahead_latents, spec)
    dice = torch.Generator().manual_seed(0)
    sums: list[tuple[Tensor, Tensor]] = []
    for _ in track(range(PICTURES), "colours of the preview, once"):
        picture = _discs(SIDE * spec.spatial_factor, dice)
        encoder, clip = model.encoder(), picture[None, :, None].expand(-1, -1, frames, -1, -1)
        latents = torch.cat([encoder.push(clip.to(model.device)), *encoder.rest()], dim=2)
        seen = latents[0].double().cpu().flatten(2)  # (C, F, H * W)
        points = functional.avg_pool2d(picture[None], spec.spatial_factor // detail)
        wanted = functional.pixel_unshuffle(points, detail)[0].double().flatten(1)  # (3 * d * d, H * W)
        x = torch.cat([seen, torch.ones_like(seen[:1])]).flatten(1)
        sums.append((x @ x.T, x @ wanted.repeat(1, latents.shape[2]).T))
    square, product = (torch.stack(each).sum(0) for each in zip(*sums, strict=True))
    square += RIDGE * square[-1, -1] * torch.eye(len(square), dtype=square.dtype)
    return ColourMap(torch.linalg.solve(square, product).float().contiguous())


def _discs(side: int, dice: torch.Generator) -> Tensor:
    """A picture (3, side, side) in [-1, 1] of discs of any colour and of many sizes, each before those of earlier."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    picture = torch.zeros(3, side, side)
    for row in torch.rand(DISCS, 6, generator=dice):
        radius = side * 0.03 / (0.05 + row[0])
        inside = (y - row[1] * side).square() + (x - row[2] * side).square() < radius**2
        picture[:, inside] = row[3:, None] * 2 - 1
    return picture


def _read(path: Path, owner: str, spec: ModelSpec) -> ColourMap | None:
    """The map in a file, if it is there, whole, and that of this autoencoder: else it is fitted anew."""
    try:
        with safe_open(path, "pt") as file:
            told, weights = (file.metadata() or {}).get(OF), file.get_tensor(KEY)
    except (OSError, SafetensorError):
        return None
    shape = (spec.latent_channels + 1, 3 * min(DETAIL, spec.spatial_factor) ** 2)
    fits = told == owner and tuple(weights.shape) == shape and bool(weights.isfinite().all())
    return ColourMap(weights.float()) if fits else None
