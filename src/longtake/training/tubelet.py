"""Trains the tubelet autoencoder of the embedded model, from principal components onwards.

The network begins as an exact PCA of tubelets (its blocks begin as identities), so it can only gain on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from longtake.models.small.tubelet import FRAMES, PIXELS, AutoencoderTubelet
from longtake.training.autoencoder import Shots, crops, learn_to_decode
from longtake.training.loop import Gently, at_once

CROP = FRAMES, 48, 64  # frames, height and width of a tubelet to train on
NOISE = 0.05  # added to latents in training, so that decoding forgives small errors of the diffusion model


def principal_components(footage: Shots, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (D,), components (D, D) in columns and variances (D,), largest first, of D = 768 numbers a tubelet."""
    pixels = torch.nn.functional.pixel_unshuffle(_tubelets(crops(footage, 1500, seed, CROP, PIXELS)), PIXELS)
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
    """The loss on the batch of a step: squared and absolute error of the picture and a light pull of the latents to
    0."""
    torch.manual_seed(step)
    frames = crops(footage, batch, step, CROP, PIXELS)
    latents = vae.encode(frames)
    error = vae.decode(latents + NOISE * torch.randn_like(latents)) - frames
    return error.square().mean() + 0.2 * error.abs().mean() + 1e-4 * latents.square().mean()


def train_tubelet(
    vae: AutoencoderTubelet,
    footage: Shots,
    steps: int,
    folder: Path,
    *,
    batch: int = 24,
    lr: float = 2e-3,
    gently: Gently = at_once,
) -> None:
    """Train in place for `steps` batches, going on from the checkpoint in `folder`; writes losses.jsonl there."""
    learn_to_decode(
        vae,
        lambda: start_from_pca(vae, footage),
        lambda step: train_step(vae, footage, step, batch),
        torch.optim.AdamW(vae.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
        steps,
        folder,
        decay=0.3,
        save_every=200,
        gently=gently,
    )


def _tubelets(frames: Tensor) -> Tensor:
    return frames.flatten(1, 2)
