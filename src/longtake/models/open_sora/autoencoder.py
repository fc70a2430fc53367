"""The autoencoder of Open-Sora v1.2: a picture autoencoder, and one in time over its latents, 17 frames to 5.

Film is cut into groups of 17 frames, or what is left at its end. Groups never see each other, so group by group
equals one shot; a group cannot be divided, as its normalisations run over all of its frames.

B batch, C channels, N pixel frames, F latent frames, H W latent height and width
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn
from torch.nn import functional

from longtake.errors import OptionError
from longtake.finite import require_finite
from longtake.models.codecs import ENCODED, Streaming, clamped, no_latents

GROUP_FRAMES, GROUP_LATENTS = 17, 5
FRAMES_PER_LATENT = 4
PICTURES_AT_ONCE = 4
PICTURE_SCALE = 0.18215  # of the picture autoencoder's latents; the 0.13025 of SDXL's is not meant
LEVELS = (1, 2, 2, 4)


class CausalConv3d(nn.Conv3d):
    """A convolution with zeros around: in space on both sides, in time before the first frame alone."""

    def __init__(self, before: int, after: int, kernel: int, time_stride: int = 1, bias: bool = True) -> None:
        space = kernel // 2
        super().__init__(before, after, kernel, (time_stride, 1, 1), (0, space, space), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, (0, 0, 0, 0, self.kernel_size[0] - self.stride[0], 0)))


class DoubleTime(CausalConv3d):
    """A convolution to twice the channels, of which each pair becomes two frames of one channel."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 2 * width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).unflatten(1, (-1, 2)).movedim(2, 3).flatten(2, 3)


class ResidualBlock(nn.Module):
    """Two normalised convolutions around a shortcut."""

    def __init__(self, before: int, after: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, before)
        self.conv1 = CausalConv3d(before, after, 3, bias=False)
        self.norm2 = nn.GroupNorm(groups, after)
        self.conv2 = CausalConv3d(after, after, 3, bias=False)
        self.shortcut = nn.Identity() if before == after else CausalConv3d(before, after, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(functional.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(functional.silu(self.norm2(y)))


def _blocks(before: int, after: int, count: int, groups: int) -> nn.Sequential:
    """Residual blocks, of which the first changes the width."""
    return nn.Sequential(*(ResidualBlock(after if i else before, after, groups) for i in range(count)))


class TemporalEncoder(nn.Module):
    """Picture latents (B, C, 4F, H, W) to (B, 2C, F, H, W)."""

    def __init__(self, channels: int, width: int, count: int, groups: int) -> None:
        super().__init__()
        first, second, third, last = (width * level for level in LEVELS)
        self.conv_in = CausalConv3d(channels, first, 3, bias=False)
        self.levels = nn.ModuleList(
            _blocks(before, after, count, groups)
            for before, after in ((first, first), (first, second), (second, third), (third, last))
        )
        self.resamplers = nn.ModuleList(
            [
                nn.Identity(),
                CausalConv3d(second, second, 3, time_stride=2),
                CausalConv3d(third, third, 3, time_stride=2),
                nn.Identity(),
            ]
        )
        self.middle = _blocks(last, last, count, groups)
        self.norm_out = nn.GroupNorm(groups, last)
        self.conv_out = CausalConv3d(last, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level, resampler in zip(self.levels, self.resamplers, strict=True):
            x = resampler(level(x))
        return self.conv_out(functional.silu(self.norm_out(self.middle(x))))


class TemporalDecoder(nn.Module):
    """(B, C, F, H, W) to picture latents (B, C, 4F, H, W). Its levels count from the output, as the encoder's."""

    def __init__(self, channels: int, width: int, count: int, groups: int) -> None:
        super().__init__()
        first, second, third, last = (width * level for level in LEVELS)
        self.conv_in = CausalConv3d(channels, last, 3)
        self.middle = _blocks(last, last, count, groups)
        self.levels = nn.ModuleList(
            _blocks(before, after, count, groups)
            for before, after in ((second, first), (third, second), (last, third), (last, last))
        )
        self.resamplers = nn.ModuleList([nn.Identity(), DoubleTime(third), DoubleTime(last)])
        self.norm_out = nn.GroupNorm(groups, first)
        self.conv_out = CausalConv3d(first, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self.conv_in(x))
        for i in (3, 2, 1):
            x = self.resamplers[i - 1](self.levels[i](x))
        return self.conv_out(functional.silu(self.norm_out(self.levels[0](x))))


class TemporalAutoencoder(nn.Module):
    """The picture latents of one group of frames to moments of fewer latents, and back."""

    def __init__(self, channels: int, width: int, count: int, groups: int) -> None:
        super().__init__()
        self.encoder = TemporalEncoder(channels, width, count, groups)
        self.quant_conv = CausalConv3d(2 * channels, 2 * channels, 1)
        self.post_quant_conv = CausalConv3d(channels, channels, 1)
        self.decoder = TemporalDecoder(channels, width, count, groups)

    def encode(self, pictures: Tensor) -> Tensor:
        """(B, C, N, H, W) to moments (B, 2C, ⌈N / 4⌉, H, W); zeros in front fill the first latent."""
        zeros = -pictures.shape[2] % FRAMES_PER_LATENT
        return self.quant_conv(self.encoder(functional.pad(pictures, (0, 0, 0, 0, zeros, 0))))

    def decode(self, latents: Tensor, num_frames: int) -> Tensor:
        """(B, C, ⌈N / 4⌉, H, W) to (B, C, N, H, W), without the frames that stand for the zeros in front."""
        return self.decoder(self.post_quant_conv(latents))[:, :, -num_frames % FRAMES_PER_LATENT :]


class AutoencoderOpenSora(ModelMixin, ConfigMixin):
    """Frames to latents an eighth as large, about a quarter as many, and back, as a diffusers model.

    The defaults are those of Open-Sora v1.2, 393,341,007 parameters. block_out_channels, layers_per_block and
    norm_num_groups are those of the picture autoencoder, an AutoencoderKL in the layout of SDXL's; temporal_width,
    temporal_layers_per_block and temporal_norm_num_groups those of the one in time. Latents are normalised, in
    float32, by latents_mean and latents_std: (raw - mean) / std.

    Source: Zheng et al., "Open-Sora: Democratizing Efficient Video Production for All", arXiv 2412.20404.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        z_dim: int = 4,
        block_out_channels: tuple[int, ...] = (128, 256, 512, 512),
        layers_per_block: int = 2,
        norm_num_groups: int = 32,
        temporal_width: int = 128,
        temporal_layers_per_block: int = 4,
        temporal_norm_num_groups: int = 32,
        latents_mean: tuple[float, ...] = (-0.10, 0.34, 0.27, 0.98),
        latents_std: tuple[float, ...] = (3.85, 2.32, 2.33, 3.06),
    ) -> None:
        super().__init__()
        self.spatial_vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * len(block_out_channels),
            up_block_types=("UpDecoderBlock2D",) * len(block_out_channels),
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            latent_channels=z_dim,
            norm_num_groups=norm_num_groups,
            scaling_factor=PICTURE_SCALE,
        )
        self.temporal_vae = TemporalAutoencoder(
            z_dim, temporal_width, temporal_layers_per_block, temporal_norm_num_groups
        )

    @property
    def spatial_compression_ratio(self) -> int:
        """Pixels to a latent, on either side of a picture: 8 for four widths of blocks."""
        return 2 ** (len(self.config.block_out_channels) - 1)

    def encode(self, frames: Tensor, noise: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Frames (B, 3, N ≥ 1, 8H, 8W) in [-1, 1] to normalised latents (B, C, F, H, W), float32.

        F is 5 for each 17 frames, and a quarter, rounded up, of those left over. Both autoencoders' latents are
        means, or drawn with `noise`, standard normal: of the frames, (B, C, N, H, W), and of the latents,
        (B, C, F, H, W).
        """
        groups = frames.split(GROUP_FRAMES, dim=2)
        if noise is None:
            raw = [self._encode_group(group) for group in groups]
        else:
            of_frames, of_latents = noise[0].split(GROUP_FRAMES, dim=2), noise[1].split(GROUP_LATENTS, dim=2)
            raw = [self._encode_group(*group) for group in zip(groups, of_frames, of_latents, strict=True)]
        mean, std = self._statistics()
        return (torch.cat(raw, dim=2).float() - mean) / std

    def decode(self, latents: Tensor, num_frames: int) -> Tensor:
        """Normalised latents (B, C, F, H, W) to frames (B, 3, num_frames, 8H, 8W), nominally in [-1, 1].

        OptionError unless `encode` makes F latents of so many frames.
        """
        if not 1 <= latents.shape[2] == latents_of(num_frames):
            raise OptionError(
                f"{num_frames} frames are {latents_of(num_frames)} latents, not {latents.shape[2]}"
            )
        mean, std = self._statistics()
        raw = (latents.float() * std + mean).to(self.dtype)
        return torch.cat(
            [
                self._decode_group(group, min(GROUP_FRAMES, num_frames - i * GROUP_FRAMES))
                for i, group in enumerate(raw.split(GROUP_LATENTS, dim=2))
            ],
            dim=2,
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Reconstruct frames (B, 3, N, 8H, 8W)."""
        return self.decode(self.encode(frames), frames.shape[2])

    def _encode_group(
        self, frames: Tensor, frame_noise: Tensor | None = None, latent_noise: Tensor | None = None
    ) -> Tensor:
        moments = [
            self.spatial_vae.encode(some).latent_dist.parameters
            for some in frames.transpose(1, 2).flatten(0, 1).split(PICTURES_AT_ONCE)
        ]
        pictures = _drawn(torch.cat(moments).unflatten(0, (len(frames), -1)).transpose(1, 2), frame_noise)
        return _drawn(self.temporal_vae.encode(pictures * PICTURE_SCALE), latent_noise)

    def _decode_group(self, raw: Tensor, num_frames: int) -> Tensor:
        pictures = self.temporal_vae.decode(raw, num_frames) / PICTURE_SCALE
        frames = [
            self.spatial_vae.decode(some).sample
            for some in pictures.transpose(1, 2).flatten(0, 1).split(PICTURES_AT_ONCE)
        ]
        return torch.cat(frames).unflatten(0, (len(raw), -1)).transpose(1, 2)

    def _statistics(self) -> tuple[Tensor, Tensor]:
        mean, std = (
            torch.tensor(row, device=self.device).view(1, -1, 1, 1, 1)
            for row in (self.config.latents_mean, self.config.latents_std)
        )
        return mean, std


def latents_of(num_frames: int) -> int:
    """How many latents `encode` makes of so many frames."""
    groups, rest = divmod(num_frames, GROUP_FRAMES)
    return groups * GROUP_LATENTS + -(-rest // FRAMES_PER_LATENT)


def _drawn(moments: Tensor, noise: Tensor | None) -> Tensor:
    """The means (B, C, …) of moments (B, 2C, …), or what their distribution gives for standard normal noise."""
    posterior = DiagonalGaussianDistribution(moments)
    return posterior.mean if noise is None else posterior.mean + posterior.std * noise.to(moments)


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
