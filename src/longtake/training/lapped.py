"""Trains the lapped autoencoder, from the principal components of turned tubelets onwards.

The network begins as that linear map (its blocks add nothing), so it can only gain on it. It is judged by its picture,
and by steps between neighbouring pixels and frames, where a grid and a beat show.

B batch, C channels, N pixel frames, F latent frames
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from longtake.models.small.lapped import FRAMES, LAP_FRAMES, PIXELS, AutoencoderLapped, in_space, lapped
from longtake.pictures import to_tensor
from longtake.progress import track
from longtake.training.autoencoder import Shots, crops, learn_to_decode
from longtake.training.loop import Gently, at_once

# The most noise that is added to latents, so that decoding forgives small errors of the diffusion model.
NOISE = 0.1
CROP = 4 * FRAMES, 64, 96  # frames, height and width of a training clip
STEPS = {-1: 0.1, -2: 0.1, 2: 0.15}  # how much the error of a step counts, by its direction: x, y, time
LIVELINESS = 0.3  # how much it counts that a decoded film is blurred or calmed
LINEAR = 0.1  # learning rate of the components, as a share of the others'
SMALLER = 0.2  # how often a clip is decoded at half the size as well, from latents of which four became one


@torch.no_grad()
def start_from_components(vae: AutoencoderLapped, footage: Shots, clips: int = 300) -> None:
    """Make the untrained autoencoder the principal components of turned tubelets, of clips spread over the footage.

    Latents are components, scaled to the square root of their deviation and rotated, so that every channel carries a
    like share of the picture.
    """
    z = vae.config["z_dim"]
    count, total, products = 0, torch.zeros(()), torch.zeros(())
    for clip in track(np.linspace(0, len(footage) - 1, min(clips, len(footage))).astype(int), "components"):
        whole = footage.shape[1] // FRAMES * FRAMES
        rows = _tubelets(to_tensor(footage[clip : clip + 1, :whole]).to(vae.device))
        count, total, products = count + len(rows), total + rows.sum(0), products + rows.T @ rows
    mean = total / count
    variances, components = torch.linalg.eigh(products / count - mean[:, None] * mean)
    variances, components = variances.flip(0)[:z], components.flip(1)[:, :z]
    scale = variances.clamp_min(1e-8) ** -0.25
    scale = scale / (scale.square() * variances).mean().sqrt()
    rotation = torch.linalg.qr(torch.randn(z, z, generator=torch.Generator().manual_seed(0)))[0].to(scale)
    into, out = (rotation * scale) @ components.T, components @ (rotation / scale).T
    vae.linear_in.weight.copy_(into[:, :, None, None])
    vae.linear_out.weight.copy_(out[:, :, None, None])
    assert vae.linear_in.bias is not None and vae.linear_out.bias is not None
    vae.linear_in.bias.copy_(-into @ mean)
    vae.linear_out.bias.copy_(mean)


def _tubelets(frames: Tensor) -> Tensor:
    """Tubelets (B * F * H * W, 3072) of frames (B, 3, N, height, width), turned as AutoencoderLapped does it."""
    turned = lapped(frames, 2, FRAMES, LAP_FRAMES)
    planes = turned.unflatten(2, (-1, FRAMES)).transpose(1, 2).flatten(2, 3).flatten(0, 1)
    return functional.pixel_unshuffle(in_space(planes), PIXELS).movedim(1, -1).flatten(0, -2)


def loss_of(frames: Tensor, wanted: Tensor) -> Tensor:
    """How far decoded frames (B, 3, N - 2, height, width) are from the first of those wanted: squared and absolute
    error, the absolute error of the steps between neighbouring pixels and frames, and how much livelier or duller than
    film these steps are, place by place."""
    wanted = wanted[:, :, : frames.shape[2]]
    error = frames - wanted
    loss = error.square().mean() + 0.15 * error.abs().mean()
    for dim, weight in STEPS.items():
        ours, theirs = frames.diff(dim=dim), wanted.diff(dim=dim)
        loss = loss + weight * (ours - theirs).abs().mean()
        loss = loss + LIVELINESS * (liveliness(ours) - liveliness(theirs)).abs().mean()
    return loss


def liveliness(steps: Tensor) -> Tensor:
    """The mean size of steps (B, 3, N, height, width) in patches of 2 frames and 8 x 8 pixels."""
    return functional.avg_pool3d(steps.abs().mean(1, keepdim=True), (2, 8, 8))


def train_step(vae: AutoencoderLapped, frames: Tensor, generator: torch.Generator) -> Tensor:
    """The loss on clips (B, 3, N, height, width), with a light pull of the latents to 0."""
    latents = vae.encode(frames).float()
    level = NOISE * torch.rand((len(latents), 1, 1, 1, 1), generator=generator).to(latents)
    noisy = latents + level * torch.randn(latents.shape, generator=generator).to(latents)
    loss = loss_of(vae.decode(noisy).float(), frames) + 1e-4 * latents.square().mean()
    if torch.rand((), generator=generator) < SMALLER:
        half = functional.avg_pool3d(latents, (1, 2, 2))
        loss = loss + 0.25 * loss_of(vae.decode(half).float(), functional.avg_pool3d(frames, (1, 2, 2)))
    return loss


def train_lapped(
    vae: AutoencoderLapped,
    footage: Shots,
    steps: int,
    folder: Path,
    *,
    batch: int = 4,
    lr: float = 1e-3,
    bf16: bool = False,
    gently: Gently = at_once,
) -> None:
    """Train in place for `steps` batches, going on from the checkpoint in `folder`; writes losses.jsonl there."""

    def loss(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        with torch.autocast(vae.device.type, torch.bfloat16, enabled=bf16):
            return train_step(vae, crops(footage, batch, step, CROP).to(vae.device), generator)

    learn_to_decode(
        vae,
        lambda: start_from_components(vae, footage),
        loss,
        _optimizer(vae, lr),
        steps,
        folder,
        decay=0.5,
        save_every=100,
        gently=gently,
    )


def _optimizer(vae: AutoencoderLapped, lr: float) -> torch.optim.Optimizer:
    """AdamW; the components, which are good from the start and have many inputs, move more slowly."""
    linear = [*vae.linear_in.parameters(), *vae.linear_out.parameters()]
    rest = [*vae.encoder.parameters(), *vae.decoder.parameters(), *vae.last.parameters()]
    groups = [{"params": linear, "lr": LINEAR * lr}, {"params": rest, "lr": lr}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
