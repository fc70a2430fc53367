"""What a network predicts, and the velocity that it means. Source: Li and He, "Back to basics: let denoising generative
models denoise", arXiv 2511.13720, for networks that predict the sample.

B batch, C channels, F latent frames, H W latent height and width
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# By a scheduler's prediction_type: (what the network gives, what it was given (B, C, F, H, W), sigma (B, F)) to noise -
# data (B, C, F, H, W). Where sigma is 0 a sample tells nothing of the noise, and the velocity is 0.
AS_VELOCITY: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "flow_prediction": lambda velocity, latents, sigma: velocity,
    "sample": lambda sample, latents, sigma: _toward(sample, latents, sigma[:, None, :, None, None]),
}


def _toward(sample: Tensor, latents: Tensor, level: Tensor) -> Tensor:
    return torch.where(level > 0, (latents.float() - sample.float()) / level.clamp_min(1e-6), 0.0)
