"""What training any autoencoder has in common: footage, its loop, and how faithful it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longtake.pictures import to_tensor
from longtake.training.checkpoint import Checkpoints
from longtake.training.loop import Gently, Log, Loop, Loss, at_once
from longtake.training.schedule import trapezoid
from longtake.training.weights import Weights

Shots = NDArray[np.uint8]  # (clips, frames, height, width, 3)
WARMUP = 50  # steps in which the learning rate rises


def crops(footage: Shots, count: int, seed: int, size: tuple[int, int, int], grid: int = 1) -> Tensor:
    """`count` random clips (count, 3, *size) in [-1, 1], a function of the seed. size: frames, height and width; they
    lie on a grid of so many pixels."""
    rng = np.random.default_rng(seed)
    clips, *whole = footage.shape[:4]
    places = [rng.integers(clips, size=count)]
    for have, want, step in zip(whole, size, (1, grid, grid), strict=True):
        places.append(rng.integers((have - want) // step + 1, size=count) * step)
    frames, height, width = size
    cut = [
        footage[c, f : f + frames, y : y + height, x : x + width] for c, f, y, x in zip(*places, strict=True)
    ]
    return to_tensor(np.stack(cut))


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [-1, 1]."""
    return float(-10 * torch.log10(((a - b) / 2).square().mean()))


def learn_to_decode(
    vae: nn.Module,
    begin: Callable[[], None],
    loss_of: Callable[[int], Tensor],
    optimizer: torch.optim.Optimizer,
    steps: int,
    folder: Path,
    *,
    decay: float,
    save_every: int,
    gently: Gently = at_once,
) -> None:
    """Train in place for `steps` batches, going on from the newest checkpoint in `folder`; writes losses.jsonl there.

    begin: makes the untrained autoencoder a good linear one. loss_of: the loss on the batch of a step, which follows
    from the step alone. decay: the last share of the steps, in which the learning rate falls.
    """
    weights = Weights(vae.named_parameters(), {"optimizer": optimizer})

    def learn(step: int) -> Loss:
        loss = loss_of(step)
        loss.backward()
        weights.clip(1.0)
        weights.move(trapezoid(step, steps, WARMUP, decay))
        return Loss(step, "autoencoder", loss.item())

    loop = Loop(learn, weights, steps, Checkpoints(folder), save_every, partial(Log, folder))
    loop.resume(loop.checkpoints.newest())
    if loop.step == 0:
        begin()
    loop.run("training the autoencoder", gently)
