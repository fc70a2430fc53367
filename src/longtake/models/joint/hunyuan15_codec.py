"""Streaming codecs of HunyuanVideo 1.5's autoencoder, diffusers' AutoencoderKLHunyuanVideo15.

It is causal throughout: its convolutions see two frames back, its attention, at the size of latents, every one before.
diffusers hands no cache through it, so its layers are called here one by one, and what each must remember is kept by
name. The attention remembers SEEN latents, as many as a clip of the authors has: up to there the codecs give what
`vae.decode` and `vae.encode` do, and beyond that they take constant memory.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames, P places in a latent
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.models.codecs import Streaming, clamped, denormalised, no_latents, normalised

FRAMES_PER_LATENT = 4
SEEN = 31  # latents, of 121 frames


class _Causal(Streaming):
    """The layers of both halves. x is (B, C, N, H, W) throughout, the frames that come next."""

    @property
    def _later(self) -> bool:
        """Whether a film's first frame has been seen."""
        return "conv_in" in self._kept

    def _blocks(self, blocks: Any, x: Tensor, later: bool) -> Tensor:
        for i, block in enumerate(blocks):
            for j, layer in enumerate(block.resnets):
                x = self._residual(f"{i}.{j}", layer, x)
            for layer in getattr(block, "downsamplers", None) or getattr(block, "upsamplers", None) or ():
                x = self._resized(str(i), layer, x, later)
        return x

    def _last(self, half: Any, x: Tensor) -> Tensor:
        return self._convolved("conv_out", half.conv_out, half.conv_act(half.norm_out(x)))

    def _convolved(self, name: str, layer: Any, x: Tensor) -> Tensor:
        *sides, back, _ = layer.time_causal_padding
        before = self._kept.get(name)
        x = torch.cat([x[:, :, :1].expand(-1, -1, back, -1, -1) if before is None else before, x], dim=2)
        self._kept[name] = x[:, :, -back:].clone()
        made: Tensor = layer.conv(F.pad(x, (*sides, 0, 0), mode=layer.pad_mode))
        return made

    def _residual(self, name: str, block: Any, x: Tensor) -> Tensor:
        y = self._convolved(f"{name}.conv1", block.conv1, block.nonlinearity(block.norm1(x)))
        y = self._convolved(f"{name}.conv2", block.conv2, block.nonlinearity(block.norm2(y)))
        return y + (x if block.conv_shortcut is None else block.conv_shortcut(x))

    def _resized(self, name: str, layer: Any, x: Tensor, later: bool) -> Tensor:
        """Up or down in size. diffusers' layer takes what comes first for a film's first frame, which is not paired:
        later on a frame that is not used is put there."""
        y = self._convolved(name, layer.conv, x)
        if later:
            x, y = (torch.cat([frames[:, :, :1], frames], dim=2) for frames in (x, y))
        resized: Tensor = type(layer).forward(_Convolved(layer, y), x)
        return resized[:, :, 1:] if later else resized

    def _middle(self, block: Any, x: Tensor) -> Tensor:
        x = self._residual("mid.0", block.resnets[0], x)
        for i, (attention, layer) in enumerate(zip(block.attentions, block.resnets[1:], strict=True), 1):
            x = self._residual(
                f"mid.{i}", layer, x if attention is None else self._attended(f"mid.{i}", attention, x)
            )
        return x

    def _attended(self, name: str, block: Any, x: Tensor) -> Tensor:
        """Every frame by itself, with itself and the SEEN - 1 before it."""
        y = block.norm(x)
        asked, *told = (
            layer(y).flatten(3).permute(0, 2, 3, 1) for layer in (block.to_q, block.to_k, block.to_v)
        )
        told = [
            torch.cat([self._kept.get(f"{name}.{i}", new[:, :0]), new], dim=1) for i, new in enumerate(told)
        ]  # (B, N, P, C) each, the earlier frames' too
        earlier, frames = told[0].shape[1] - asked.shape[1], []
        for i in range(asked.shape[1]):
            end = earlier + i + 1
            keys, values = (each[:, max(0, end - SEEN) : end].flatten(1, 2)[:, None] for each in told)
            frames.append(F.scaled_dot_product_attention(asked[:, i : i + 1], keys, values))
        self._kept |= {f"{name}.{i}": each[:, 1 - SEEN :].clone() for i, each in enumerate(told)}
        seen = torch.cat(frames, dim=1).permute(0, 3, 1, 2).unflatten(3, x.shape[3:])
        return x + block.proj_out(seen)


class _Convolved:
    """A layer whose convolution has been made."""

    def __init__(self, layer: Any, made: Tensor) -> None:
        self._layer, self.conv = layer, lambda x: made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)


class HunyuanVideo15Decoder(_Causal):
    """Decodes with AutoencoderKLHunyuanVideo15: the first latent becomes one frame, every later one four."""

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        vae, raw = self._vae, denormalised(self._vae, latents)
        return clamped(
            torch.cat([self._frames(vae.decoder, latent) for latent in raw.split(1, dim=2)], dim=2)
        )

    def _frames(self, half: Any, raw: Tensor) -> Tensor:
        later = self._later
        x = self._convolved("conv_in", half.conv_in, raw) + raw.repeat_interleave(half.repeat, dim=1)
        return self._last(half, self._blocks(half.up_blocks, self._middle(half.mid_block, x), later))


class HunyuanVideo15Encoder(_Causal):
    """Encodes with AutoencoderKLHunyuanVideo15: the first frame becomes one latent, then every four."""

    @torch.no_grad()
    def push(self, frames: Tensor) -> Tensor:
        vae, alone = self._vae, int(not self._later)
        frames = self.whole(frames, FRAMES_PER_LATENT, alone)
        if frames.shape[2] == 0:
            return no_latents(frames, vae.config.latent_channels, vae.spatial_compression_ratio)
        sizes = [1] * alone + [FRAMES_PER_LATENT] * (frames.shape[2] // FRAMES_PER_LATENT)
        portions = frames.to(vae.device, vae.dtype).split(sizes, dim=2)
        means = [self._moments(vae.encoder, portion).chunk(2, dim=1)[0] for portion in portions]
        return normalised(vae, torch.cat(means, dim=2))

    def _moments(self, half: Any, frames: Tensor) -> Tensor:
        later = self._later
        x = self._blocks(half.down_blocks, self._convolved("conv_in", half.conv_in, frames), later)
        x = self._middle(half.mid_block, x)
        return self._last(half, x) + x.unflatten(1, (-1, half.group_size)).mean(dim=2)
