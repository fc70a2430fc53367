"""How much of a picture the embedded model's autoencoder keeps, against a PCA of as many numbers."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from longtake.models.load import load_autoencoder
from longtake.models.small.tubelet import FRAMES, PIXELS, AutoencoderTubelet
from longtake.pictures import to_tensor
from longtake.training.autoencoder import psnr
from longtake.training.tubelet import principal_components
from longtake.worlds.tracking_shot.shot import random_shot


@torch.no_grad()
def codec_report(model: str | None, shots: int = 60, at: tuple[int, ...] = (0, 200)) -> dict[str, float]:
    """PSNR in dB on held-out renders at given frames of each shot: of a model's autoencoder, and of PCA.

    The components come from renders of combinations that training saw. Range 0 upwards; 30 is faithful to the eye
    at this size. Blind spot: it is an average, and small things weigh little in it.
    """
    vae = load_autoencoder(model)
    assert isinstance(vae, AutoencoderTubelet)
    rng = random.Random(30_003)
    seen = np.stack([random_shot(rng).render(rng.randrange(4000), FRAMES) for _ in range(200)])
    mean, components, _ = principal_components(seen)
    held_out = [random_shot(rng, held_out=True) for _ in range(shots)]
    report = {}
    for frame in at:
        frames = to_tensor(np.stack([shot.render(frame, FRAMES) for shot in held_out]))
        basis = components[:, : vae.config["z_dim"]]
        report[f"autoencoder_db_at_frame_{frame}"] = round(psnr(vae(frames), frames), 2)
        report[f"pca_db_at_frame_{frame}"] = round(psnr(_projected(frames, mean, basis), frames), 2)
    return report


def _projected(frames: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    rows = functional.pixel_unshuffle(frames.flatten(1, 2), PIXELS).movedim(1, -1) - mean
    kept = (rows @ basis @ basis.T + mean).movedim(-1, 1)
    return functional.pixel_shuffle(kept, PIXELS).unflatten(1, (3, FRAMES))
