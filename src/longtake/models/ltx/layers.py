"""The layers of LTX's autoencoders, diffusers' AutoencoderKLLTXVideo and AutoencoderKLLTX2Video, one by one.

B batch, C channels, T frames of a layer, H W its height and width
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from longtake.models.ltx.layered import Layer, delay

# Of decoders that are told a timestep: the authors', https://github.com/Lightricks/LTX-Video, configs/*.yaml.
DECODE_TIMESTEP = 0.05


def delay_latents(vae: Any) -> int:
    """How many latents must follow one until its last frame is decoded."""
    return math.ceil(delay(decoder_layers(vae)))


def decoder_layers(vae: Any) -> list[Layer]:
    """The layers of a decoder, from denormalised latents to frames."""
    decoder, ahead, told = vae.decoder, 0 if vae.config.decoder_causal else 1, _told(vae.decoder)
    scale, places = decoder.timestep_scale_multiplier, count()

    def residual(layer: nn.Module, time_embedder: nn.Module | None = None) -> Layer:
        return Layer(partial(_residual, layer, time_embedder, scale, next(places), told), 4, 2 * ahead)

    def layers() -> Iterator[Layer]:
        yield Layer(partial(decoder.conv_in, **told), kept=2, ahead=ahead)
        yield from (residual(layer, decoder.mid_block.time_embedder) for layer in decoder.mid_block.resnets)
        for up in decoder.up_blocks:
            if up.conv_in is not None:
                yield residual(up.conv_in)
            for upsampler in up.upsamplers or ():
                yield Layer(partial(upsampler, **told), kept=2, ahead=ahead, up=upsampler.stride[0])
            yield from (residual(layer, up.time_embedder) for layer in up.resnets)
        yield Layer(partial(_end_of_decoder, decoder), kept=2, ahead=ahead)

    return list(layers())


def encoder_layers(vae: Any) -> list[Layer]:
    """The layers of an encoder, from patched frames to the moments of latents."""
    encoder, told = vae.encoder, _told(vae.encoder)

    def layers() -> Iterator[Layer]:
        yield Layer(partial(encoder.conv_in, **told), kept=2)
        for down in encoder.down_blocks:
            yield from (Layer(partial(layer, **told), kept=4) for layer in down.resnets)
            for sampler in down.downsamplers or ():
                stride = (sampler.stride if hasattr(sampler, "stride") else sampler.conv.stride)[0]
                yield Layer(partial(sampler, **told), kept=stride + 1, down=stride)
            if getattr(down, "conv_out", None) is not None:
                yield Layer(partial(down.conv_out, **told), kept=4)
        yield from (Layer(partial(layer, **told), kept=4) for layer in encoder.mid_block.resnets)
        yield Layer(partial(_end_of_encoder, encoder), kept=2)

    return list(layers())


def _told(coder: Any) -> dict[str, bool]:
    """LTX-2's layers are told by each call whether they are causal, LTX-Video's when they are made."""
    return {"causal": coder.is_causal} if hasattr(coder, "is_causal") else {}


def _residual(
    layer: nn.Module,
    time_embedder: nn.Module | None,
    scale: Any,
    place: int,
    told: dict[str, bool],
    frames: Tensor,
) -> Tensor:
    """A residual layer of a decoder, told the timestep of its block; the noise that it may add is its place's."""
    time, noise = None, None if frames.is_meta else torch.Generator(frames.device).manual_seed(place)
    if time_embedder is not None:
        time = time_embedder(_time(frames) * scale, None, None, len(frames), frames.dtype)
        time = time.view(len(frames), -1, 1, 1, 1)
    made: Tensor = layer(frames, time, noise, **told)
    return made


def _time(frames: Tensor) -> Tensor:
    return torch.full((len(frames),), DECODE_TIMESTEP, device=frames.device)


def _end_of_decoder(decoder: Any, frames: Tensor) -> Tensor:
    """All of a decoder behind its last block."""
    end = _without(decoder, "conv_in", "mid_block", up_blocks=nn.ModuleList())
    made: Tensor = end(frames, _time(frames))
    return made


def _end_of_encoder(encoder: Any, frames: Tensor) -> Tensor:
    """All of an encoder behind its last block."""
    end = _without(encoder, "conv_in", "mid_block", down_blocks=nn.ModuleList())
    end.patch_size = 1
    made: Tensor = end(frames)
    return made


class _Left(nn.Module):
    """A layer that is left out."""

    def forward(self, frames: Tensor, *told: Any, **named: Any) -> Tensor:
        return frames


def _without(module: Any, *names: str, **others: nn.Module) -> Any:
    """The same module, with the same weights, but some of its layers left out, and others in the place of some."""
    part = copy.copy(module)
    part.__dict__["_modules"] = {**module._modules, **dict.fromkeys(names, _Left()), **others}
    return part
