"""Trains the tubelet autoencoder of the embedded model, from principal components onwards.

The network begins as an exact PCA of tubelets (its blocks begin as identities), so it can only gain on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longtake.models.tubelet import FRAMES, PIXELS, AutoencoderTubelet
from longtake.pipeline import to_tensor
from longtake.progress import track
from longtake.training.checkpoint import State, restore, save
from longtake.training.schedule import trapezoid
from longtake.training.stopping import Gently, Stop, at_once

Shots = NDArray[np.uint8]  # (clips, frames, height, width, 3)
NOISE = 0.05  # added to latents in training, so that decoding forgives small errors of the diffusion model


def crops(footage: Shots, count: int, seed: int, height: int = 48, width: int = 64) -> Tensor:
    """`count` random tubelets (count, 3, 4, height, width), a function of the seed."""
    rng = np.random.default_rng(seed)
    clips, frames, full_height, full_width, _ = footage.shape
    places = zip(
        rng.integers(clips, size=count),
        rng.integers(frames - FRAMES + 1, size=count),
        rng.integers((full_height - height) // PIXELS + 1, size=count) * PIXELS,
        rng.integers((full_width - width) // PIXELS + 1, size=count) * PIXELS,
        strict=True,
    )
    return to_tensor(
        np.stack([footage[c, f : f + FRAMES, y : y + height, x : x + width] for c, f, y, x in places])
    )


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [-1, 1]."""
    return float(-10 * torch.log10(((a - b) / 2).square().mean()))


def principal_components(footage: Shots, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (D,), components (D, D) in columns and variances (D,), largest first, of D = 768 numbers a tubelet."""
    pixels = torch.nn.functional.pixel_unshuffle(_tubelets(crops(footage, 1500, seed)), PIXELS)
    rows = pixels.permute(0, 2, 3, 1).reshape(-1, pixels.shape[1])
    mean = rows.mean(0)
    variances, components = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    return mean, components.flip(1), variances.flip(0)


def start_from_pca(vae: AutoencoderTubelet, footage: Shots) -> None:
    """Make the untrained autoencoder an exact PCA.

    The latents are components scaled to the square root of their deviation and rotated, so that every channel
    carries a like share of the picture.
    """
    mean, components, variances = principal_components(footage)
    z = vae.config["z_dim"]
    scale = variances[:z].clamp_min(1e-8) ** -0.25
    scale = scale / (scale.square() * variances[:z]).mean().sqrt()
    rotation = torch.linalg.qr(torch.randn(z, z, generator=torch.Generator().manual_seed(0)))[0]
    with torch.no_grad():
        enter, squeeze, widen, leave = (
            _bare_convolution(layer)
            for layer in (vae.encoder[1], vae.encoder[-1], vae.decoder[0], vae.decoder[-2])
        )
        width = min(enter.out_channels, components.shape[1])
        enter.weight[:width, :, 0, 0] = components[:, :width].T
        enter.bias[:width] = -components[:, :width].T @ mean
        squeeze.weight.zero_()
        squeeze.weight[:, :z, 0, 0] = rotation * scale
        widen.weight[:z, :, 0, 0] = (rotation / scale).T
        leave.weight.zero_()
        leave.weight[:, :z, 0, 0] = components[:, :z]
        leave.bias.copy_(mean)


def _bare_convolution(layer: nn.Module) -> Any:
    """A linear layer made small and without a bias."""
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    layer.weight.mul_(0.1)
    layer.bias.zero_()
    return layer


def train_step(vae: AutoencoderTubelet, footage: Shots, step: int, batch: int) -> Tensor:
    """The loss on one batch: squared and absolute error of the picture and a light pull of the latents to 0."""
    frames = crops(footage, batch, seed=step)
    latents = vae.encode(frames)
    error = vae.decode(latents + NOISE * torch.randn_like(latents)) - frames
    return error.square().mean() + 0.2 * error.abs().mean() + 1e-4 * latents.square().mean()


def train_autoencoder(
    vae: AutoencoderTubelet,
    footage: Shots,
    steps: int,
    folder: Path,
    *,
    batch: int = 24,
    lr: float = 2e-3,
    gently: Gently = at_once,
) -> None:
    """Train in place for `steps` batches, resuming from the checkpoint in `folder` if there is one."""
    optimizer = torch.optim.AdamW(vae.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
    state: State = {"vae": vae, "optimizer": optimizer}
    first = restore(folder, state)
    if first == 0:
        start_from_pca(vae, footage)
    stop = Stop()
    with gently(stop):
        for step in track(range(first, steps), "training the autoencoder"):
            torch.manual_seed(step)
            optimizer.param_groups[0]["lr"] = lr * trapezoid(step, steps, warmup=50)
            loss = train_step(vae, footage, step, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if stop.asked or (step + 1) % 200 == 0 or step + 1 == steps:
                save(folder, state, step + 1)
            if stop.asked:
                raise KeyboardInterrupt


def _tubelets(frames: Tensor) -> Tensor:
    return frames.flatten(1, 2)
