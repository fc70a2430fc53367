"""A lapped autoencoder: 4 frames x 16 x 16 pixels to one latent, which reaches into its neighbours in time and space.

Tubelets that are coded each by itself cannot know their neighbours: their borders show as a grid in the picture and as
a beat in time. Here neighbours first turn the pixels on either side of a border, 2 frames and 8 pixels deep, into one
another (a lapped orthogonal transform); what is left to each is coded, and the turn undone afterwards. So a border is
drawn by both, and what the code loses is lost smoothly. Source: Malvar and Staelin, "The LOT: transform coding without
blocking effects", IEEE Trans. ASSP 37 (1989); as a filter before a block transform: Tran, Liang and Tu, "Lapped
transform via time-domain pre- and post-filtering", IEEE Trans. Signal Processing 51 (2003).

Latents are a linear map of turned pixels, which starts as their principal components, and a small network on top. A
latent of frames 4i to 4i + 3 is known when frame 4i + 5 is, and gives frames up to 4i + 1: n latents are 4n - 2 frames.

B batch, C channels, N pixel frames, F latent frames, H W latent height and width
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

FRAMES, PIXELS = 4, 16  # of a tubelet
LAP_FRAMES, LAP_PIXELS = 2, 8  # how deep neighbours reach into one another
TURNED = 3 * FRAMES  # planes of a latent's frames


class ChannelNorm(nn.Module):
    """Root-mean-square normalisation over the channels of each place (B, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6) * self.gain


class Block(nn.Module):
    """A depthwise 3x3 and two pointwise convolutions around a shortcut (ConvNeXt's block); starts as the identity."""

    def __init__(self, width: int, expansion: int = 2) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = ChannelNorm(width)
        self.rise = nn.Conv2d(width, expansion * width, 1)
        self.fall = _silent(nn.Conv2d(expansion * width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fall(functional.gelu(self.rise(self.norm(self.mix(x)))))


class AutoencoderLapped(ModelMixin, ConfigMixin):
    """Encoder and decoder of lapped tubelets, as a diffusers model.

    `latents_mean` and `latents_std` (one number a channel) are what the diffusion model's latents are normalised
    with, as in `AutoencoderKLWan`; `encode` and `decode` themselves speak of raw latents.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        z_dim: int = 64,
        encoder_width: int = 192,
        decoder_widths: tuple[int, int, int] = (256, 128, 64),
        last_width: int = 40,
        scale_factor_spatial: int = PIXELS,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        wide, middle, narrow = decoder_widths
        self.linear_in = nn.Conv2d(TURNED * PIXELS**2, z_dim, 1)
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * TURNED, 96, 1),
            Block(96),
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * 96, encoder_width, 1),
            Block(encoder_width),
            Block(encoder_width),
            ChannelNorm(encoder_width),
            _silent(nn.Conv2d(encoder_width, z_dim, 1)),
        )
        self.linear_out = nn.Conv2d(z_dim, TURNED * PIXELS**2, 1)
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
            nn.Conv2d(TURNED + 16, last_width, 3, padding=1),
            nn.GELU(),
            _silent(nn.Conv2d(last_width, TURNED, 3, padding=1)),
        )

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, N, height, width) in [-1, 1], N a multiple of 4, sides of 16, to latents (B, z, N/4, H, W).

        The first and the last latent of a clip have no neighbour there, and are as if it had gone on smoothly."""
        return self.code(lapped(frames, 2, FRAMES, LAP_FRAMES))

    def code(self, turned: Tensor) -> Tensor:
        """The same of frames that are turned in time already."""
        b, c, n, height, width = turned.shape
        planes = turned.reshape(b, c, n // FRAMES, FRAMES, height, width).transpose(1, 2).flatten(2, 3).flatten(0, 1)
        blocks = functional.pixel_unshuffle(in_space(planes), PIXELS)
        latents = self.linear_in(blocks) + self.encoder(planes)
        return latents.reshape(b, -1, *latents.shape[1:]).transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, z, F, H, W) to frames (B, 3, 4F, 16H, 16W), nominally in [-1, 1]."""
        return lapped(self.draw(latents), 2, FRAMES, LAP_FRAMES, back=True)

    def draw(self, latents: Tensor) -> Tensor:
        """The same, but for the turn in time: every latent's frames are its own."""
        b, _, f, _, _ = latents.shape
        flat = latents.transpose(1, 2).flatten(0, 1)
        base = in_space(functional.pixel_shuffle(self.linear_out(flat), PIXELS), back=True)
        planes = base + self.last(torch.cat([base, self.decoder(flat)], dim=1))
        return planes.reshape(b, f, 3, FRAMES, *planes.shape[2:]).transpose(1, 2).flatten(2, 3)

    def forward(self, frames: Tensor) -> Tensor:
        """Reconstruct frames (B, 3, N, height, width)."""
        return self.decode(self.encode(frames))


def in_space(planes: Tensor, back: bool = False) -> Tensor:
    """Planes (…, height, width), turned at the borders of their tubelets in both directions, or turned back."""
    rows = lapped(planes, -2, PIXELS, LAP_PIXELS, back)
    return lapped(rows, -1, PIXELS, LAP_PIXELS, back)


def lapped(x: Tensor, dim: int, size: int, reach: int, back: bool = False) -> Tensor:
    """Turn what lies on either side of each inner border, at multiples of `size` along `dim`, into one another.

    Sums of two places as far from a border stay, their differences are turned among the `reach` places: so what is
    the same on both sides is left alone. The turn is orthogonal; `back` undoes it.
    """
    blocks = x.movedim(dim, -1).unflatten(-1, (-1, size))
    left, right = blocks[..., :-1, -reach:].flip(-1), blocks[..., 1:, :reach]
    with torch.autocast(x.device.type, enabled=False):
        turn = _turn(reach).to(x.device)
        change = ((right - left).float() / 2) @ (turn if back else turn.T) - (right - left).float() / 2
    turned = blocks.clone()
    turned[..., 1:, :reach] += change.to(x.dtype)
    turned[..., :-1, -reach:] -= change.to(x.dtype).flip(-1)
    return turned.flatten(-2).movedim(-1, dim)


@lru_cache
def _turn(n: int) -> Tensor:
    """The orthogonal matrix (n, n) of a lapped transform of cosines: C_II^T C_IV, counted from the border."""
    k, t = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64) + 0.5
    second, fourth = (math.sqrt(2 / n) * torch.cos(math.pi / n * t * row) for row in (k, k + 0.5))
    second[0] /= math.sqrt(2)
    return (second.T @ fourth).flip(0, 1).float()


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that adds nothing yet."""
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
