"""What is read of the JSON files of LTX-Video's and LTX-2's folders; without torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AliasPath, Field

from longtake.models.base import Count
from longtake.models.configs import FlowConfig, Latents, NetworkConfig, TextEncoderConfig, VaeConfig

Truths = list[bool]


class LTXConfig(NetworkConfig):
    """Of an LTXVideoTransformer3DModel."""

    text_width: Count = Field(4096, alias="caption_channels")
    patch_size: Literal[1] = 1
    patch_size_t: Literal[1] = 1


class LTX2Config(LTXConfig):
    """Of an LTX2VideoTransformer3DModel."""

    text_width: Count = Field(3840, alias="caption_channels")
    cross_attention_dim: Count = 4096
    use_prompt_embeddings: bool = True

    @property
    def states_width(self) -> int:
        """From LTX-2.3 on the connectors make them as wide as attention takes them."""
        return self.text_width if self.use_prompt_embeddings else self.cross_attention_dim


class LTXVaeConfig(VaeConfig):
    """Of an AutoencoderKLLTXVideo. What is left out is as in LTX-Video 0.9.0."""

    latent_channels: Count = 128
    patch_size: Literal[4] = 4
    patch_size_t: Literal[1] = 1
    spatio_temporal_scaling: Truths = Field([True, True, True, False])
    decoder_block_out_channels: list[Count] = Field([128, 256, 512, 512])
    decoder_layers_per_block: list[Count] = Field([4, 3, 3, 3, 4])
    decoder_spatio_temporal_scaling: Truths = Field([True, True, True, False])
    upsample_type: list[str] = Field(["spatiotemporal"] * 4)
    upsample_factor: list[Count] = Field([1, 1, 1, 1])
    encoder_causal: Literal[True] = True
    decoder_causal: bool = False
    spatial_compression_ratio: Count | None = None
    temporal_compression_ratio: Count | None = None

    @property
    def latents(self) -> Latents:
        halvings = sum(self.spatio_temporal_scaling)
        return Latents(
            self.latent_channels,
            self.spatial_compression_ratio or self.patch_size * 2**halvings,
            self.temporal_compression_ratio or self.patch_size_t * 2**halvings,
        )

    @property
    def refusal(self) -> str | None:
        if (self.latents.spatial_factor, self.latents.temporal_factor) != (32, 8):
            return "its autoencoder's latents are not of 8 frames of 32x32 pixels"
        return None

    @property
    def delay_latents(self) -> int:
        """How many latents must follow one until it is decoded: the sum of what its layers reach ahead, each at its own
        rate. It is ltx_layers.delay_latents of the autoencoder itself."""
        if self.decoder_causal:
            return 0
        widths, depths, scaled, factors = (
            row[::-1]
            for row in (
                self.decoder_block_out_channels,
                self.decoder_layers_per_block,
                self.decoder_spatio_temporal_scaling,
                self.upsample_factor,
            )
        )
        width, rate, ahead = widths[0], 1, 1.0 + 2 * depths[0]
        for i, made in enumerate(widths):
            inside, width = width // factors[i], made // factors[i]
            ahead += (2 * (inside != width) + scaled[i]) / rate
            rate *= 2 if scaled[i] and self.upsample_type[i] != "spatial" else 1
            ahead += 2 * depths[i + 1] / rate
        return math.ceil(ahead + 1 / rate)


class LTX2VaeConfig(LTXVaeConfig):
    """Of an AutoencoderKLLTX2Video. What is left out is as in LTX-2."""

    spatio_temporal_scaling: Truths = Field([True, True, True, True])
    decoder_block_out_channels: list[Count] = Field([256, 512, 1024])
    decoder_layers_per_block: list[Count] = Field([5, 5, 5, 5])
    decoder_spatio_temporal_scaling: Truths = Field([True, True, True])
    upsample_factor: list[Count] = Field([2, 2, 2])
    decoder_causal: bool = True


class GemmaConfig(TextEncoderConfig):
    """Of a Gemma that reads pictures too, of which the half that reads text counts."""

    width: Count = Field(validation_alias=AliasPath("text_config", "hidden_size"))
    vocab_size: Count = Field(validation_alias=AliasPath("text_config", "vocab_size"))


class LTXSchedulerConfig(FlowConfig):
    """Of a FlowMatchEulerDiscreteScheduler of LTX: its levels are shifted by how many tokens a clip has, and stretched
    to end at 0.1, or they are those that the pipeline of LTX-Video 0.9.5 and later makes itself."""

    use_dynamic_shifting: bool = False  # type: ignore[assignment]
    shift_terminal: Annotated[float, Field(ge=0.1, le=0.1)] | None = None  # type: ignore[assignment]

    @property
    def schedule(self) -> str:
        return "ltx" if self.use_dynamic_shifting else "linear-quadratic"


def shift_of(tokens: int) -> float:
    """The shift of LTX's scheduler, in its published configuration, for clips of so many tokens."""
    return math.exp(0.95 + (tokens - 1024) / (4096 - 1024) * (2.05 - 0.95))
