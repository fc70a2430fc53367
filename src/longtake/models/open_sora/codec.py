"""Streaming codecs of Open-Sora's autoencoder, which codes in groups.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from __future__ import annotations

import torch
from torch import Tensor

from longtake.finite import require_finite
from longtake.models.codecs import ENCODED, Streaming, clamped, no_latents
from longtake.models.open_sora.autoencoder import GROUP_FRAMES, GROUP_LATENTS


class OpenSoraDecoder(Streaming):
    """Decodes with AutoencoderOpenSora: every five latents become 17 frames. Equals `vae.decode` to rounding."""

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        latents = self.whole(latents, GROUP_LATENTS)
        if latents.shape[2] == 0:
            height, width = (side * self._vae.spatial_compression_ratio for side in latents.shape[3:])
            return latents.new_empty(len(latents), 3, 0, height, width, dtype=torch.float32)
        num_frames = latents.shape[2] // GROUP_LATENTS * GROUP_FRAMES
        return clamped(self._vae.decode(latents.to(self._vae.device), num_frames))


class OpenSoraEncoder(Streaming):
    """Encodes with AutoencoderOpenSora: every 17 frames become five latents. Equals `vae.encode` to rounding."""

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        frames = self.whole(frames, GROUP_FRAMES)
        if frames.shape[2] == 0:
            return no_latents(frames, self._vae.config.z_dim, self._vae.spatial_compression_ratio)
        return require_finite(self._vae.encode(frames.to(self._vae.device, self._vae.dtype)), ENCODED)
