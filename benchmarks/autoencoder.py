"""How faithful an autoencoder of flights is, and whether it shows, on flights that training never saw.

    python benchmarks/autoencoder.py MODEL_OR_RUN

MODEL_OR_RUN: a model folder, or the folder of a run of `longtake train-default --world flight`, whose autoencoder may
still be in training. Beside it stand real film, principal components of plain tubelets of as many numbers, and those of
turned tubelets, with which training starts. Intervals are over flights. The footage that components come from is the
run's, or is rendered.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from longtake.evaluation.drift import bootstrap
from longtake.evaluation.measures.base import Joints
from longtake.evaluation.measures.beat import Beat
from longtake.evaluation.measures.grid import GridRatio
from longtake.models.load import load_autoencoder
from longtake.models.small.lapped import FRAMES, PIXELS, AutoencoderLapped
from longtake.pictures import to_tensor, to_uint8
from longtake.progress import track
from longtake.training.checkpoint import Checkpoints
from longtake.training.lapped import start_from_components
from longtake.worlds.flight.clips import Drawing, footage
from longtake.worlds.flight.flight import FPS, Flight
from longtake.worlds.flight.recipe import EDITIONS
from longtake.worlds.flight.scene import random_scene

NAMES = ("PSNR, dB", "beat", "grid in the sky", "grid", "change, grey levels")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--flights", type=int, default=32)
    parser.add_argument("--frames", type=int, default=96)
    arguments = parser.parse_args()
    vae, seen = autoencoder(arguments.model)
    rng = random.Random(50_005)
    flights = [
        Flight(random_scene(rng, held_out=True), rng.getrandbits(31)) for _ in range(arguments.flights)
    ]
    starts = [rng.randrange(1000) for _ in flights]
    linear = AutoencoderLapped(vae.config["z_dim"])
    start_from_components(linear, seen)
    rows: dict[str, Callable[[Tensor], Tensor]] = {
        "real film": lambda frames: frames,
        "components of plain tubelets": plain(seen, vae.config["z_dim"]),
        "components of turned tubelets": linear,
        "autoencoder": vae,
    }
    found: dict[str, list[list[float]]] = {name: [] for name in rows}
    for flight, first in track(list(zip(flights, starts, strict=True)), "flights"):
        frames = to_tensor(flight.render(first, arguments.frames)[None])
        for name, made in rows.items():
            with torch.no_grad():
                found[name].append(measured(made(frames), frames))
    print(
        f"{arguments.flights} held-out flights of {arguments.frames} frames; mean and 95 % interval over flights\n"
    )
    print("| | " + " | ".join(NAMES) + " |\n" + "|---" * (len(NAMES) + 1) + "|")
    for name, numbers in found.items():
        mean = bootstrap(np.array(numbers))
        cells = [
            f"{v:.2f} [{a:.2f}, {b:.2f}]" for v, a, b in zip(mean.value, mean.low, mean.high, strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def autoencoder(model: Path) -> tuple[AutoencoderLapped, np.ndarray]:
    """The autoencoder of a model folder or of a run, and footage of the kind that it has learnt from."""
    recipe = EDITIONS["small"]
    drawing = Drawing(recipe.vae_groups, recipe.together, recipe.latents, recipe.seed + 1_000_000)
    if (model / "model_index.json").exists():
        vae = load_autoencoder(model)
        assert isinstance(vae, AutoencoderLapped)
        return vae, footage(model / "footage.npy", drawing, "cpu")
    vae = AutoencoderLapped(recipe.channels)
    checkpoints = Checkpoints(model / "vae")
    step = checkpoints.newest()
    vae.load_state_dict(checkpoints.load(step, "weights"))
    print(f"after {step} steps")
    return vae, footage(model / "footage.npy", drawing, "cpu")


def plain(seen: np.ndarray, z: int) -> Callable[[Tensor], Tensor]:
    """Frames as z components of tubelets that are coded each by itself."""
    rows = torch.cat([tubelets(to_tensor(clip[None, :64]))[::8] for clip in seen])
    mean = rows.mean(0)
    basis = torch.linalg.eigh((rows - mean).T @ (rows - mean))[1][:, -z:]

    def coded(frames: Tensor) -> Tensor:
        _, c, _, height, width = frames.shape
        kept = (tubelets(frames) - mean) @ basis @ basis.T + mean
        planes = kept.reshape(-1, height // PIXELS, width // PIXELS, kept.shape[1]).movedim(-1, 1)
        return (
            functional.pixel_shuffle(planes, PIXELS)
            .unflatten(1, (c, FRAMES))
            .transpose(0, 1)
            .flatten(1, 2)[None]
        )

    return coded


def tubelets(frames: Tensor) -> Tensor:
    """Rows (F * H * W, 3072) of frames (1, 3, N, height, width)."""
    planes = frames[0].unflatten(1, (-1, FRAMES)).transpose(0, 1).flatten(1, 2)
    return functional.pixel_unshuffle(planes, PIXELS).movedim(1, -1).flatten(0, -2)


def measured(made: Tensor, frames: Tensor) -> list[float]:
    """The numbers of NAMES for frames (1, 3, N, height, width) made of others."""
    error = (made.clamp(-1, 1) - frames[:, :, : made.shape[2]]) / 2
    pictures = to_uint8(made.clamp(-1, 1))[0]
    beat, grid = Beat(FPS, Joints()), GridRatio(PIXELS)
    for measure in (beat, grid):
        measure.push(pictures)
    change = np.abs(np.diff(pictures.astype(np.float32).mean(-1), axis=0)).mean()
    psnr = min(99.0, float(-10 * torch.log10(error.square().mean() + 1e-12)))
    return [psnr, beat.totals()["beat"], *grid.totals().values(), float(change)]


if __name__ == "__main__":
    main()
