"""A tubelet autoencoder: 4 frames × 8 × 8 pixels to one latent, each latent frame independent of the others.

Shapes: B batch, C channels, N pixel frames, F latent frames, H W latent height and width.

Because no latent frame looks at another, streaming is exact by construction and nothing can drift; what it lacks
against causal video autoencoders is compression. It is the codec of the small embedded model.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from longtake.models.codecs import Streaming, clamped, denormalised, no_latents, normalised

FRAMES, PIXELS = 4, 8


class ResidualBlock(nn.Module):
    """A depthwise 3×3 and two pointwise convolutions around a shortcut (ConvNeXt's block); starts as the identity."""

    def __init__(self, width: int, expansion: int = 3) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.rise = nn.Conv2d(width, expansion * width, 1)
        self.fall = nn.Conv2d(expansion * width, width, 1)
        for parameter in self.fall.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fall(functional.gelu(self.rise(self.norm(self.mix(x)))))


class AutoencoderTubelet(ModelMixin, ConfigMixin):
    """Encoder and decoder of tubelets, as a diffusers model.

    `latents_mean` and `latents_std` (one number a channel) are what the diffusion model's latents are normalised
    with, as in `AutoencoderKLWan`; `encode` and `decode` themselves speak of raw latents.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        z_dim: int = 32,
        encoder_width: int = 256,
        decoder_width: int = 384,
        encoder_blocks: int = 2,
        decoder_blocks: int = 3,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        pixels = 3 * FRAMES * PIXELS**2
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(PIXELS),
            nn.Conv2d(pixels, encoder_width, 1),
            *(ResidualBlock(encoder_width) for _ in range(encoder_blocks)),
            nn.Conv2d(encoder_width, z_dim, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(z_dim, decoder_width, 1),
            *(ResidualBlock(decoder_width) for _ in range(decoder_blocks)),
            nn.Conv2d(decoder_width, pixels, 1),
            nn.PixelShuffle(PIXELS),
        )

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, N, height, width) in [-1, 1], N a multiple of 4, sides of 8, to latents (B, z, N/4, H, W)."""
        b, c, n, height, width = frames.shape
        tubelets = frames.reshape(b, c, n // FRAMES, FRAMES, height, width).permute(0, 2, 1, 3, 4, 5)
        latents = self.encoder(tubelets.reshape(-1, c * FRAMES, height, width))
        return latents.reshape(b, n // FRAMES, *latents.shape[1:]).transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, z, F, H, W) to frames (B, 3, 4F, 8H, 8W), nominally in [-1, 1]."""
        b, z, f, h, w = latents.shape
        tubelets = self.decoder(latents.transpose(1, 2).reshape(b * f, z, h, w))
        frames = tubelets.reshape(b, f, 3, FRAMES, h * PIXELS, w * PIXELS).transpose(1, 2)
        return frames.reshape(b, 3, f * FRAMES, h * PIXELS, w * PIXELS)

    def forward(self, frames: Tensor) -> Tensor:
        """Reconstruct frames (B, 3, N, height, width)."""
        return self.decode(self.encode(frames))


class TubeletDecoder(Streaming):
    """Decodes with AutoencoderTubelet, whose latents are independent in time: nothing to remember."""

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        return clamped(self._vae.decode(denormalised(self._vae, latents)))


class TubeletEncoder(Streaming):
    """Encodes with AutoencoderTubelet: every four frames become a latent."""

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        frames = self.whole(frames, FRAMES)
        if frames.shape[2] == 0:
            return no_latents(frames, self._vae.config.z_dim, PIXELS)
        return normalised(self._vae, self._vae.encode(frames.to(self._vae.device, self._vae.dtype)))
