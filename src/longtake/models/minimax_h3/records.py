"""The records of MiniMax-H3, and what is read of the JSON files of its folders; without torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AliasPath, Field

from longtake.models.base import Count, ModelDefaults
from longtake.models.configs import (
    Latents,
    NetworkConfig,
    Positive,
    Row,
    SchedulerConfig,
    TextEncoderConfig,
    VaeConfig,
)
from longtake.models.hub import HubModel
from longtake.models.records import Autoencoder, Family, TextEncoder, encoder, tokenizer


class MiniMaxH3Config(NetworkConfig):
    """Of a MiniMaxH3Transformer3DModel."""

    text_width: Count = Field(5120, alias="text_dim")
    audio_in_channels: Literal[32] = 32
    patch_size: Annotated[list[Count], Field(min_length=3, max_length=3)] = Field([1, 2, 2])

    @property
    def patch(self) -> int:
        return 2

    @property
    def refusal(self) -> str | None:
        if self.patch_size != [1, 2, 2]:
            return f"its network reads patches of {self.patch_size}, not of [1, 2, 2]"
        return None


class MiniMaxH3VaeConfig(VaeConfig):
    """Of an AutoencoderKLMiniMaxH3."""

    latent_channels: Count = 24
    spatial_downsample_factors: list[Count] = Field([2, 2, 2, 2, 1, 1])
    temporal_downsample_factors: list[Count] = Field([1, 2, 2, 1, 1, 1])
    clip_length: Literal[17] = 17
    token_drop: Literal[3] = 3
    latents_mean: Row | None = None
    latents_std: list[Positive] | None = None

    @property
    def latents(self) -> Latents:
        return Latents(self.latent_channels, math.prod(self.spatial_downsample_factors), 4)

    @property
    def refusal(self) -> str | None:
        if math.prod(self.temporal_downsample_factors) != 4:
            return "its autoencoder's latents are not of 4 frames"
        if not len(self.latents_mean or ()) == len(self.latents_std or ()) == self.latent_channels:
            return "its vae/config.json gives no latents_mean and latents_std for each latent channel"
        return None

    @property
    def delay_latents(self) -> int:
        """How many latents must follow one until it is decoded: a group is, with the two behind it."""
        return 2


class Qwen3VLConfig(TextEncoderConfig):
    """Of a Qwen3-VL, whose states behind layer 50 are read, not its last."""

    width: Count = Field(validation_alias=AliasPath("text_config", "hidden_size"))
    vocab_size: Count = Field(validation_alias=AliasPath("text_config", "vocab_size"))
    layers: Annotated[int, Field(ge=51)] = Field(
        validation_alias=AliasPath("text_config", "num_hidden_layers")
    )


class MiniMaxH3SchedulerConfig(SchedulerConfig):
    """Of a MiniMaxH3Scheduler: even levels that are shifted."""

    shift: Positive = 12.0

    def given_shift(self, class_name: str) -> float | None:
        return self.shift


# The authors' picture, frame rate and shift, and guidance in the weights; a window of 30 noisy and 5 clean latents, 5
# seconds, the shortest clip that the network knows. Its chunks and its context are groups of the autoencoder.
DEFAULTS = ModelDefaults(
    width=1344,
    height=768,
    fps=24,
    num_inference_steps=30,
    steps_per_chunk=5,
    chunk_size=5,
    context_size=5,
    shift=12.0,
    guidance_scale=1.0,
)

AUTOENCODER = Autoencoder(
    code="diffusers:AutoencoderKLMiniMaxH3",
    codec="longtake.models.minimax_h3.codec:MiniMaxH3",
    first_frames=1,
    config=MiniMaxH3VaeConfig,
    group_latents=5,
    not_tiled="always makes its pictures in tiles",
)
MINIMAX_H3 = Family(
    code="diffusers:MiniMaxH3Transformer3DModel",
    adapter="longtake.models.minimax_h3.model:MiniMaxH3Model",
    config=MiniMaxH3Config,
    autoencoders=("AutoencoderKLMiniMaxH3",),
    text=TextEncoder(
        code="longtake.models.minimax_h3.model:Qwen3VLPromptEncoder",
        parts={
            "text_encoder": encoder("Qwen3VLForConditionalGeneration"),
            "tokenizer": tokenizer("Qwen2TokenizerFast", "Qwen2Tokenizer"),
        },
        config=Qwen3VLConfig,
        most_tokens=1024,
    ),
    schedulers={"MiniMaxH3Scheduler": MiniMaxH3SchedulerConfig},
    left_out={"audio_vae": "sound"},
    defaults={("AutoencoderKLMiniMaxH3", 16): DEFAULTS},
    scheduler_shift=True,
    whole_groups=True,
    # https://huggingface.co/MiniMaxAI/MiniMax-H3/raw/main/LICENSE, "Excluded Territories"
    hub={
        "MiniMaxAI/MiniMax-H3": HubModel(
            "MiniMax-H3, pictures alone, 33 billion parameters, 1344x768 at 24 fps",
            licence="MiniMax H3 Community License, which excludes the European Union, the United Kingdom, the Republic"
            " of Korea and the United States",
            trained_on="clean frames",
            expect="it never saw levels that rise through a clip, nor pictures without sound; untried with these"
            " weights",
            weights_gib=129.0,
            peak_gib={"none": 135.2, "text": 129.0, "model": 73.1, "group": 15.4, "sequential": 11.9},
        ),
    },
)
