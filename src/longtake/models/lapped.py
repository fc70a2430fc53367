"""A lapped autoencoder: 4 frames × 16 × 16 pixels to one latent, each seen and drawn together with its surroundings.

Shapes: B batch, C channels, N pixel frames, F latent frames, H W latent height and width.

A latent is made of a window of 8 frames, its own 4 and 2 on either side, and decodes to as many, which are added where
windows overlap: a lapped transform, as sound codecs have, so there is no border between latents at which a film could
jerk. In space the same is done by kernels that reach half a tubelet into their neighbours. Both ways begin as a
principal component analysis, and convolutions add to it.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

FRAMES, LAP, PIXELS = 4, 2, 16
WINDOW = FRAMES + 2 * LAP


class ChannelNorm(nn.Module):
    """Every place's channels divided by their root mean square; looks at no neighbour, so it knows no size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6) * self.gain


class Block(nn.Module):
    """A depthwise 3×3 and two pointwise convolutions around a shortcut (ConvNeXt's block); starts as the identity."""

    def __init__(self, width: int, expansion: int = 2) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = ChannelNorm(width)
        self.rise = nn.Conv2d(width, expansion * width, 1)
        self.fall = _silent(nn.Conv2d(expansion * width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fall(functional.gelu(self.rise(self.norm(self.mix(x)))))


class AutoencoderLapped(ModelMixin, ConfigMixin):
    """Encoder and decoder, as a diffusers model.

    `latents_mean` and `latents_std` (one number a channel) are what the diffusion model's latents are normalised with,
    as in `AutoencoderKLWan`; `encode` and `decode` themselves speak of raw latents.
    lap: pixels that a tubelet reaches into its neighbours on either side.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        z_dim: int = 64,
        lap: int = 8,
        encoder_width: int = 192,
        decoder_widths: tuple[int, int, int] = (256, 128, 64),
        last_width: int = 40,
        scale_factor_spatial: int = PIXELS,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        pixels, kernel = 3 * WINDOW, PIXELS + 2 * lap
        wide, middle, narrow = decoder_widths
        self.mean = nn.Parameter(torch.zeros(3, 1, 1, 1))
        self.linear_in = nn.Conv2d(pixels, z_dim, kernel, PIXELS)
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * pixels, 96, 3, padding=1),
            Block(96),
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * 96, encoder_width, 1),
            Block(encoder_width),
            Block(encoder_width),
            ChannelNorm(encoder_width),
            _silent(nn.Conv2d(encoder_width, z_dim, 1)),
        )
        self.linear_out = nn.ConvTranspose2d(z_dim, pixels, kernel, PIXELS, bias=False)
        self.decoder = nn.Sequential(
            nn.Conv2d(z_dim, wide, 3, padding=1),
            Block(wide),
            Block(wide),
            nn.Conv2d(wide, 4 * middle, 1),
            nn.PixelShuffle(2),
            Block(middle),
            Block(middle),
            nn.Conv2d(middle, 4 * narrow, 1),
            nn.PixelShuffle(2),
            Block(narrow),
            Block(narrow),
            nn.Conv2d(narrow, 16 * 16, 3, padding=1),
            nn.PixelShuffle(4),
        )
        self.last = nn.Sequential(
            nn.Conv2d(pixels + 16, last_width, 3, padding=1),
            nn.GELU(),
            _silent(nn.Conv2d(last_width, pixels, 3, padding=1)),
        )

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, N, height, width) in [-1, 1], N a multiple of 4, sides of 16, to latents (B, z, N/4, H, W).

        What lies before the first frame and behind the last one looks like them."""
        before, behind = (frames[:, :, n : n + 1].expand(-1, -1, LAP, -1, -1) for n in (0, frames.shape[2] - 1))
        return self.encode_windows(torch.cat([before, frames, behind], dim=2))

    def encode_windows(self, frames: Tensor) -> Tensor:
        """The same of frames (B, 3, 4F + 4, height, width) that begin 2 before those of the latents and end 2 behind."""
        b, _, _, height, width = frames.shape
        windows = frames.unfold(2, WINDOW, FRAMES).permute(0, 2, 1, 5, 3, 4).reshape(-1, 3 * WINDOW, height, width)
        lap = (self.config["lap"],) * 4
        latents = self.linear_in(functional.pad(windows, lap, mode="replicate")) + self.encoder(windows)
        return latents.reshape(b, -1, *latents.shape[1:]).transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, z, F, H, W) to frames (B, 3, 4F, 16H, 16W), nominally in [-1, 1].

        What lies before the first latent and behind the last one is like them."""
        around = torch.cat([latents[:, :, :1], latents, latents[:, :, -1:]], dim=2)
        return self.added(self.draw(around))[:, :, LAP:-LAP]

    def draw(self, latents: Tensor) -> Tensor:
        """What each latent adds to a film: (B, 3, F, 8, height, width)."""
        b, z, f, h, w = latents.shape
        flat = latents.transpose(1, 2).reshape(-1, z, h, w)
        edge = PIXELS + self.config["lap"]
        base = self.linear_out(functional.pad(flat, (1,) * 4, mode="replicate"))
        base = base[:, :, edge : edge + h * PIXELS, edge : edge + w * PIXELS]
        drawn = base + self.last(torch.cat([base, self.decoder(flat)], dim=1))
        return drawn.reshape(b, f, 3, WINDOW, h * PIXELS, w * PIXELS).transpose(1, 2)

    def added(self, drawn: Tensor) -> Tensor:
        """Frames (B, 3, 4 (F - 1), height, width) of what F latents drew: those that no other latent touches."""
        sums = drawn[:, :, :-1, FRAMES:] + drawn[:, :, 1:, : 2 * LAP]
        return sums.flatten(2, 3) + self.mean

    def forward(self, frames: Tensor) -> Tensor:
        """Reconstruct frames (B, 3, N, height, width)."""
        return self.decode(self.encode(frames))


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that adds nothing yet."""
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
