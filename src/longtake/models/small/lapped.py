"""A lapped autoencoder: 4 frames x 16 x 16 pixels to one latent, which reaches into its neighbours in time and space.

Tubelets that are coded each by itself cannot know their neighbours: their borders show as a grid in the picture and as
a beat in time. Here neighbours first turn the pixels on either side of a border, 2 frames and 8 pixels deep, into one
another (a lapped orthogonal transform); what is left to each is coded, and the turn undone afterwards. So a border is
drawn by both, and what the code loses is lost smoothly. Source: Malvar and Staelin, "The LOT: transform coding without
blocking effects", IEEE Trans. ASSP 37 (1989); as a filter before a block transform: Tran, Liang and Tu, "Lapped
transform via time-domain pre- and post-filtering", IEEE Trans. Signal Processing 51 (2003).

Latents are a linear map of turned pixels, which starts as their principal components, and a small network on top.
Decoding is that map turned over, a network that sees each latent and the one before it, and a last one, at the
resolution of the picture, that sees the frames on both sides of a border in time. The latent of frames 4i to 4i + 3 is
known when frame 4i + 5 is, and gives frames up to 4i + 1: n latents are 4n - 2 frames.

B batch, C channels, N pixel frames, F latent frames, H W latent height and width
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from longtake.models.codecs import WAITING, Streaming, clamped, denormalised, no_latents, normalised

FRAMES, PIXELS = 4, 16  # of a tubelet
LAP_FRAMES, LAP_PIXELS = 2, 8  # how deep neighbours reach into one another
PLANES = 3 * FRAMES  # of four frames


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


class Memory(NamedTuple):
    """What decoding knows of what came before: the last latent (B, z, 1, H, W), the four frames (B, 3, 4, height,
    width) that it drew, still turned, and the planes (B, 1, 12, height, width) of the four frames before the last two
    of these."""

    latent: Tensor
    turned: Tensor
    hop: Tensor


class AutoencoderLapped(ModelMixin, ConfigMixin):
    """Encoder and decoder of lapped tubelets, as a diffusers model.

    `latents_mean` and `latents_std` (one number a channel) are what the diffusion model's latents are normalised
    with, as in `AutoencoderKLWan`; `encode` and `decode` themselves speak of raw latents.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        z_dim: int = 128,
        encoder_width: int = 192,
        decoder_widths: tuple[int, int, int] = (256, 128, 64),
        last_width: int = 40,
        scale_factor_spatial: int = PIXELS,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        wide, middle, narrow = decoder_widths
        self.linear_in = nn.Conv2d(PLANES * PIXELS**2, z_dim, 1)
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * PLANES, 96, 1),
            Block(96),
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * 96, encoder_width, 1),
            Block(encoder_width),
            Block(encoder_width),
            ChannelNorm(encoder_width),
            _silent(nn.Conv2d(encoder_width, z_dim, 1)),
        )
        self.linear_out = nn.Conv2d(z_dim, PLANES * PIXELS**2, 1)
        self.decoder = nn.Sequential(
            nn.Conv2d(2 * z_dim, wide, 3, padding=1),
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
            _silent(nn.Conv2d(narrow, 16 * 2 * PLANES, 3, padding=1)),
            nn.PixelShuffle(4),
        )
        self.last = nn.Sequential(
            nn.Conv2d(3 * PLANES, last_width, 3, padding=1),
            nn.GELU(),
            _silent(nn.Conv2d(last_width, PLANES, 3, padding=1)),
        )

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, N, height, width) in [-1, 1], N a multiple of 4, sides of 16, to latents (B, z, N/4, H, W).

        The first and the last latent of a clip have no neighbour there, and are as if it had gone on smoothly."""
        return self.code(lapped(frames, 2, FRAMES, LAP_FRAMES))

    def code(self, turned: Tensor) -> Tensor:
        """The same of frames that are turned in time already."""
        b, c, n, height, width = turned.shape
        planes = (
            turned.reshape(b, c, n // FRAMES, FRAMES, height, width)
            .transpose(1, 2)
            .flatten(2, 3)
            .flatten(0, 1)
        )
        blocks = functional.pixel_unshuffle(in_space(planes), PIXELS)
        latents = self.linear_in(blocks) + self.encoder(planes)
        return latents.reshape(b, -1, *latents.shape[1:]).transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, z, F, H, W) to frames (B, 3, 4F - 2, 16H, 16W), nominally in [-1, 1].

        What came before the first latent was as it is."""
        frames, _ = self.decode_after(latents, None)
        return frames[:, :, LAP_FRAMES:]

    def decode_after(self, latents: Tensor, before: Memory | None) -> tuple[Tensor, Memory]:
        """The frames (B, 3, 4F, height, width) up to the last two of the latents, from two before their first on,
        and what the next call has to know of them. Without a memory the first two frames are none of the film."""
        b, _, f, _, _ = latents.shape
        last = latents[:, :, :1] if before is None else before.latent
        pairs = torch.cat([torch.cat([last, latents[:, :, :-1]], dim=2), latents], dim=1)
        drawn = self.decoder(pairs.transpose(1, 2).flatten(0, 1))
        blocks = functional.pixel_shuffle(self.linear_out(latents.transpose(1, 2).flatten(0, 1)), PIXELS)
        planes = in_space(blocks, back=True) + drawn[:, :PLANES]
        turned = planes.reshape(b, f, 3, FRAMES, *planes.shape[2:]).transpose(1, 2).flatten(2, 3)
        if before is None:
            frames = lapped(turned, 2, FRAMES, LAP_FRAMES, back=True)
            frames = torch.cat([frames[:, :, :1].expand(-1, -1, LAP_FRAMES, -1, -1), frames], dim=2)
        else:
            frames = lapped(torch.cat([before.turned, turned], dim=2), 2, FRAMES, LAP_FRAMES, back=True)
            frames = frames[:, :, LAP_FRAMES:]
        hops = frames[:, :, :-LAP_FRAMES].unflatten(2, (f, FRAMES)).transpose(1, 2).flatten(2, 3)
        hop = hops[:, :1] if before is None else before.hop
        seen = torch.cat([torch.cat([hop, hops[:, :-1]], dim=1), hops], dim=2).flatten(0, 1)
        hops_out = hops.flatten(0, 1) + self.last(torch.cat([seen, drawn[:, PLANES:]], dim=1))
        memory = Memory(latents[:, :, -1:], turned[:, :, -FRAMES:], hops[:, -1:])
        return hops_out.reshape(b, f, 3, FRAMES, *planes.shape[2:]).transpose(1, 2).flatten(2, 3), memory

    def forward(self, frames: Tensor) -> Tensor:
        """Reconstruct frames (B, 3, N, height, width), all but the last two."""
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
@torch.inference_mode(False)  # what is kept may be trained through
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


class LappedDecoder(Streaming):
    """Decodes with AutoencoderLapped: the first latent gives two frames, every later one four.

    Equals `vae.decode` to rounding.
    """

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        before = Memory(**self._kept) if self._kept else None
        frames, memory = self._vae.decode_after(denormalised(self._vae, latents), before)
        self._kept = memory._asdict()
        return clamped(frames if before else frames[:, :, LAP_FRAMES:])


class LappedEncoder(Streaming):
    """Encodes with AutoencoderLapped: every four frames become a latent once two more are there.

    Equals the latents that `vae.encode` makes of all the frames, to rounding. What waits begins with the frames of the
    last latent, into which those of the next one are turned.
    """

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        waiting = self._kept.get(WAITING, frames[:, :, :0])
        frames = torch.cat([waiting, frames], dim=2)
        coded, ready = _latents_in(waiting), _latents_in(frames)
        self._kept[WAITING] = frames[:, :, max(0, ready - 1) * FRAMES :].clone()
        if ready <= coded:
            return no_latents(frames, self._vae.config.z_dim, PIXELS)
        seen = frames[:, :, : ready * FRAMES + LAP_FRAMES].to(self._vae.device, self._vae.dtype)
        seen = functional.pad(seen, (0, 0, 0, 0, 0, FRAMES - LAP_FRAMES))
        turned = lapped(seen, 2, FRAMES, LAP_FRAMES)
        new = turned[:, :, coded * FRAMES : ready * FRAMES]
        return normalised(self._vae, self._vae.code(new))


def _latents_in(frames: Tensor) -> int:
    """The latents that a lapped encoder can make of frames."""
    return max(0, (frames.shape[2] - LAP_FRAMES) // FRAMES)
