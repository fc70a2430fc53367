"""Streaming codecs of MiniMax-H3's autoencoder, diffusers' AutoencoderKLMiniMaxH3.

It encodes groups of 17 frames to 5 latents, by themselves. It decodes a group together with the 2 latents behind it, to
22 frames, of which the last 5 are faded into the next group's first: so pictures come 2 latents late. Its pictures are
normalised as ImageNet's are.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from longtake.models.codecs import WAITING, Streaming, clamped, denormalised, no_latents, normalised

GROUP_FRAMES, GROUP_LATENTS = 17, 5
BEHIND = 2  # latents behind a group that it is decoded with
TAIL = "tail"  # the name, in a decoder's state, of the frames that are faded into the next group's first
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green and blue in 0 to 1


class MiniMaxH3Decoder(Streaming):
    """Decodes with AutoencoderKLMiniMaxH3: every five latents become 17 frames, once two more are there.

    With what `rest` gives it is what `vae.decode` gives of whole groups, to rounding.
    """

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        latents = torch.cat([self._kept.get(WAITING, latents[:, :, :0]), latents], dim=2)
        frames = [self._no_frames(latents)]
        while latents.shape[2] >= GROUP_LATENTS + BEHIND:
            frames.append(self._group(latents[:, :, : GROUP_LATENTS + BEHIND]))
            latents = latents[:, :, GROUP_LATENTS:]
        self._kept[WAITING] = latents.clone()
        return torch.cat(frames, dim=2)

    @torch.no_grad()
    def rest(self) -> Iterator[Tensor]:
        """The frames of a last whole group, whose last latent stands for those behind it, too."""
        latents = self._kept[WAITING]
        if latents.shape[2] >= GROUP_LATENTS:
            group = latents[:, :, :GROUP_LATENTS]
            yield self._group(torch.cat([group, *[group[:, :, -1:]] * BEHIND], dim=2))

    def _group(self, latents: Tensor) -> Tensor:
        """The frames (B, 3, 17, height, width) of a group and what is behind it."""
        vae = self._vae
        made = vae._decode_clip(denormalised(vae, latents)).float()
        head, tail = (part[:, :, vae.frame_pre_padding :] for part in made.split(GROUP_LATENTS * 4, dim=2))
        if TAIL in self._kept:
            head = vae._blend(self._kept[TAIL], head, vae.frame_overlap, dim=-3)
        self._kept[TAIL] = tail.clone()
        mean, std = _colours(head)
        return clamped(2 * (head * std + mean) - 1)

    def _no_frames(self, latents: Tensor) -> Tensor:
        height, width = (side * self._vae.spatial_compression_ratio for side in latents.shape[3:])
        return latents.new_empty(
            len(latents), 3, 0, height, width, dtype=torch.float32, device=self._vae.device
        )


class MiniMaxH3Encoder(Streaming):
    """Encodes with AutoencoderKLMiniMaxH3: every 17 frames become five latents.

    Gives what `vae.encode` does of more frames: that keeps the last three of its own to itself.
    """

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        vae, frames = self._vae, self.whole(frames, GROUP_FRAMES)
        if frames.shape[2] == 0:
            return no_latents(frames, vae.config.latent_channels, vae.spatial_compression_ratio)
        pixels = frames.to(vae.device, torch.float32)
        mean, std = _colours(pixels)
        groups = (((pixels + 1) / 2 - mean) / std).split(GROUP_FRAMES, dim=2)
        moments = torch.cat([vae._encode_clip(group.to(_precision(vae.encoder))) for group in groups], dim=2)
        return normalised(vae, moments.chunk(2, dim=1)[0])


def _colours(like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (1, 3, 1, 1, 1) of ImageNet's pixels."""
    mean, std = (like.new_tensor(row).view(1, 3, 1, 1, 1) for row in (IMAGENET_MEAN, IMAGENET_STD))
    return mean, std


def _precision(module: Any) -> torch.dtype:
    """Of a part of the autoencoder: its encoder stays in float32 whatever the rest is in."""
    dtype: torch.dtype = next(module.parameters()).dtype
    return dtype
