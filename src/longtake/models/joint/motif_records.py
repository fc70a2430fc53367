"""The records of Motif-Video, and what is read of the JSON files of its folders; without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasPath, Field

from longtake.models.base import Count, ModelDefaults
from longtake.models.configs import STARTS_FROM_IMAGE, NetworkConfig, TextEncoderConfig
from longtake.models.hub import NEEDS_A_LORA, HubModel
from longtake.models.records import Family, TextEncoder, encoder, tokenizer


class MotifVideoConfig(NetworkConfig):
    """Of a MotifVideoTransformer3DModel: besides latents it takes those of a picture, and a mask."""

    text_width: Count = Field(4096, alias="text_embed_dim")
    in_channels: Count = 33
    out_channels: Count = 16
    patch_size: Count = 2
    patch_size_t: Literal[1] = 1

    @property
    def latent_channels(self) -> int:
        return self.out_channels

    @property
    def patch(self) -> int:
        return self.patch_size

    @property
    def refusal(self) -> str | None:
        return None if self.in_channels == 2 * self.out_channels + 1 else STARTS_FROM_IMAGE


class T5Gemma2Config(TextEncoderConfig):
    """Of a T5Gemma2Encoder."""

    width: Count = Field(validation_alias=AliasPath("text_config", "hidden_size"))
    vocab_size: Count = Field(validation_alias=AliasPath("text_config", "vocab_size"))


# The picture, the frame rate and the 50 steps of the example of diffusers' MotifVideoPipeline, and the scale of its
# AdaptiveProjectedGuidance, which here is plain guidance. The window, of 25 noisy and 6 clean latents, is the 31 that
# the network knows.
DEFAULTS = ModelDefaults(
    width=1280,
    height=736,
    fps=24,
    num_inference_steps=50,
    steps_per_chunk=2,
    chunk_size=1,
    context_size=6,
    shift=1.0,
    guidance_scale=7.5,
)
MOTIF_VIDEO = Family(
    code="diffusers:MotifVideoTransformer3DModel",
    adapter="longtake.models.joint.motif:MotifVideoModel",
    config=MotifVideoConfig,
    autoencoders=("AutoencoderKLWan",),
    text=TextEncoder(
        code="longtake.models.t5:T5PromptEncoder",
        parts={
            "text_encoder": encoder("T5Gemma2Encoder"),
            "tokenizer": tokenizer("GemmaTokenizer", "GemmaTokenizerFast"),
        },
        config=T5Gemma2Config,
    ),
    left_out={"feature_extractor": None, "image_encoder": None},
    defaults={("AutoencoderKLWan", 8): DEFAULTS},
    scheduler_shift=True,
    hub={
        "Motif-Technologies/Motif-Video-2B": HubModel(
            "Motif-Video, 2 billion parameters, 1280x736 at 24 fps",
            licence="Apache-2.0",
            trained_on="clean frames",
            expect=NEEDS_A_LORA,
        ),
    },
)
