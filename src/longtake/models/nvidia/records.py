"""NVIDIA's families, Cosmos Predict 2 and 2.5, Cosmos 3 and SANA-Video: what is read of their configurations, and
their records; without torch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from longtake.models.base import Count, ModelDefaults
from longtake.models.configs import SHIFTS, FlowConfig, NetworkConfig, TextEncoderConfig
from longtake.models.hub import NEEDS_A_LORA, HubModel
from longtake.models.records import T5, Family, TextEncoder, encoder, tokenizer

Patches = Annotated[list[Count], Field(min_length=3, max_length=3)]
One = Annotated[float, Field(ge=1, le=1)]


class CosmosConfig(NetworkConfig):
    """Of a Cosmos transformer. Its latents have a channel less than it takes: that one says which of them are known."""

    text_width: Count = Field(1024, alias="text_embed_dim")
    out_channels: Count = 16
    patch_size: Patches
    extra_pos_embed_type: str | None = "learnable"
    img_context_dim_in: Count | None = None
    controlnet_block_every_n: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _projected(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Where text is projected first, it comes as wide as the projection takes it."""
        if not content.get("use_crossattn_projection"):
            return content
        return content | {"text_embed_dim": content.get("crossattn_proj_in_channels", 1024)}

    @property
    def latent_channels(self) -> int:
        return self.in_channels - 1

    @property
    def patch(self) -> int:
        return math.lcm(*self.patch_size[1:])

    @property
    def refusal(self) -> str | None:
        if self.extra_pos_embed_type is not None:
            return "it has learnt positions, which count from a clip's beginning, and a window moves on"
        if self.img_context_dim_in or self.controlnet_block_every_n:
            return "it follows control video, which a film here cannot give"
        if self.in_channels == self.out_channels:
            return "it makes single pictures; take the Video2World model"
        return None


class Cosmos3Config(NetworkConfig):
    """Of a Cosmos 3 transformer, which fills sides up to whole patches itself."""

    in_channels: Count = Field(48, alias="latent_channel")
    text_width: Count = Field(4096, alias="hidden_size")
    hidden_act: str = "silu"

    @property
    def refusal(self) -> str | None:
        if self.hidden_act != "silu":
            return "it reads another chat than Qwen's, which nothing here writes"
        return None


class WordsConfig(TextEncoderConfig):
    """Of the same, as what reads the prompt."""

    width: Count = Field(4096, alias="hidden_size")
    vocab_size: Count = 151936


class AnyFlowConfig(FlowConfig):
    """Of a scheduler of Cosmos 3. Its Karras' levels are for pictures; films have the flow levels that its authors'
    examples for video ask for, whatever it says."""

    use_karras_sigmas: bool | None = None  # type: ignore[assignment]
    sigma_max: float | None = None  # type: ignore[assignment]
    sigma_min: float | None = None  # type: ignore[assignment]

    def given_shift(self, class_name: str) -> float | None:
        return None


class SanaVideoConfig(NetworkConfig):
    """Of a SANA-Video transformer."""

    text_width: Count = Field(2304, alias="caption_channels")
    out_channels: Count | None = None
    patch_size: Patches
    guidance_embeds: Literal[False] | None = None

    @property
    def patch(self) -> int:
        return math.lcm(*self.patch_size[1:])

    @property
    def refusal(self) -> str | None:
        if self.in_channels != (self.out_channels or self.in_channels):
            return "it predicts the noise's deviation besides, which nothing here uses"
        return None


class KarrasConfig(FlowConfig):
    """Of a scheduler of Cosmos Predict 2: the levels of the schedule "karras", and no others."""

    use_karras_sigmas: Literal[True]  # type: ignore[assignment]
    shift: One = 1.0
    final_sigmas_type: Literal["sigma_min", "zero"] | None = None  # type: ignore[assignment]
    sigma_max: Annotated[float, Field(ge=80, le=80)] | None = None  # type: ignore[assignment]
    sigma_min: Annotated[float, Field(ge=0.002, le=0.002)] | None = None  # type: ignore[assignment]

    def given_shift(self, class_name: str) -> float | None:
        return None


class WideKarrasConfig(KarrasConfig):
    """Of a scheduler of Cosmos Predict 2.5: the levels of the schedule "karras-200", and no others."""

    use_flow_sigmas: Literal[True]
    flow_shift: One = 1.0
    final_sigmas_type: Literal["zero"] | None = None
    sigma_max: Annotated[float, Field(ge=200, le=200)]
    sigma_min: Annotated[float, Field(ge=0.01, le=0.01)]


class DpmConfig(FlowConfig):
    """Of the scheduler of SANA-Video, a DPM-Solver of flow matching, whose shift alone counts here."""

    use_flow_sigmas: Literal[True]

    def given_shift(self, class_name: str) -> float | None:
        return self.flow_shift


class QwenConfig(TextEncoderConfig):
    """Of a Qwen2.5-VL, of which the states of all layers are read, side by side. What it says of its language may stand
    by itself, or not."""

    @model_validator(mode="before")
    @classmethod
    def _of_language(cls, content: dict[str, Any]) -> dict[str, Any]:
        language = content | (content.get("text_config") or {})
        match language.get("hidden_size"), language.get("num_hidden_layers"):
            case int(width), int(layers):
                return {"width": width * layers, "vocab_size": language.get("vocab_size")}
        return {"vocab_size": language.get("vocab_size")}


class GemmaConfig(TextEncoderConfig):
    """Of a Gemma 2."""

    width: Count = Field(alias="hidden_size")


# The pictures, steps and guidance of Cosmos2VideoToWorldPipeline and Cosmos2_5_PredictBasePipeline, whose guidance 7
# counts from 0; of the examples for video in diffusers' page on Cosmos 3, with their shift; and of SanaVideoPipeline.
# Windows are no longer than the 24, 48 and 21 latents of their clips, with as many known ones as those of Cosmos had.
# None of it was tuned for this method.
COSMOS_2 = ModelDefaults(
    width=1280,
    height=704,
    fps=16,
    num_inference_steps=35,
    steps_per_chunk=2,
    chunk_size=1,
    context_size=2,
    shift=1.0,
    guidance_scale=8.0,
)
COSMOS_2_5 = replace(COSMOS_2, num_inference_steps=36)
COSMOS_3_VIDEO = ModelDefaults(
    width=1280,
    height=720,
    fps=24,
    num_inference_steps=35,
    steps_per_chunk=2,
    chunk_size=1,
    context_size=2,
    shift=10.0,
    guidance_scale=6.0,
)
SANA_VIDEO = ModelDefaults(
    width=832,
    height=480,
    fps=16,
    num_inference_steps=50,
    steps_per_chunk=3,
    chunk_size=1,
    context_size=4,
    shift=8.0,
    guidance_scale=6.0,
)

PREDICT_2 = Family(
    code="diffusers:CosmosTransformer3DModel",
    adapter="longtake.models.nvidia.cosmos:CosmosModel",
    config=CosmosConfig,
    autoencoders=("AutoencoderKLWan",),
    text=T5,
    schedulers={"FlowMatchEulerDiscreteScheduler": KarrasConfig},
    left_out={"safety_checker": None},  # it is not left out: it is another library
    schedule="karras",
    text_per_latent=True,
    check="longtake.models.nvidia.guardrail:check_guardrail",
    defaults={("AutoencoderKLWan", 8): COSMOS_2},
    hub={
        "nvidia/Cosmos-Predict2-2B-Video2World": HubModel(
            "Cosmos Predict 2, 2 billion parameters, 1280x704 at 16 fps, from a photo or clip on",
            licence="NVIDIA Open Model License, which forbids to film without its guardrail",
            trained_on="clean frames",
            expect=NEEDS_A_LORA,
            weights_gib=12.9,
            peak_gib={"none": 25.1, "text": 16.0, "model": 16.0, "group": 12.7, "sequential": 12.4},
        ),
        "nvidia/Cosmos-Predict2-14B-Video2World": HubModel(
            "Cosmos Predict 2, 14 billion parameters, 1280x704 at 16 fps, from a photo or clip on",
            licence="NVIDIA Open Model License, which forbids to film without its guardrail",
            trained_on="clean frames",
            expect=NEEDS_A_LORA,
            weights_gib=35.9,
            peak_gib={"none": 57.5, "text": 48.4, "model": 48.4, "group": 23.5, "sequential": 22.0},
        ),
    },
)
PREDICT_2_5 = replace(
    PREDICT_2,
    text=TextEncoder(
        code="longtake.models.nvidia.cosmos_text:QwenPromptEncoder",
        parts={
            "text_encoder": encoder("Qwen2_5_VLForConditionalGeneration"),
            "tokenizer": tokenizer("Qwen2Tokenizer", "Qwen2TokenizerFast"),
        },
        config=QwenConfig,
    ),
    schedulers={"UniPCMultistepScheduler": WideKarrasConfig},
    schedule="karras-200",
    defaults={("AutoencoderKLWan", 8): COSMOS_2_5},
    hub={
        "nvidia/Cosmos-Predict2.5-2B@diffusers/base/post-trained": HubModel(
            "Cosmos Predict 2.5, 2 billion parameters, 1280x704 at 16 fps",
            licence="NVIDIA Open Model License, which forbids to film without its guardrail",
            trained_on="clean frames",
            expect=NEEDS_A_LORA,
            weights_gib=19.5,
            peak_gib={"none": 31.6, "text": 19.5, "model": 16.2, "group": 12.9, "sequential": 12.6},
        ),
    },
)
COSMOS = replace(PREDICT_2, relatives={"Qwen2_5_VLForConditionalGeneration": PREDICT_2_5})
COSMOS_3_EXPECT = (
    "it never saw levels that rise through a clip, and cannot be trained here yet; untried with these weights"
)
COSMOS_3 = Family(
    code="diffusers:Cosmos3OmniTransformer",
    adapter="longtake.models.nvidia.cosmos3:Cosmos3Model",
    config=Cosmos3Config,
    autoencoders=("AutoencoderKLWan",),
    text=TextEncoder(
        code="longtake.models.nvidia.cosmos3_text:Cosmos3PromptEncoder",
        parts={"text_tokenizer": tokenizer("Qwen2Tokenizer", "Qwen2TokenizerFast")},
        config=WordsConfig,
        most_tokens=4096,
        reader="transformer",
        words="text_tokenizer",
    ),
    schedulers={"UniPCMultistepScheduler": AnyFlowConfig},
    left_out={"sound_tokenizer": "sound", "safety_checker": None},
    defaults={("AutoencoderKLWan", 16): COSMOS_3_VIDEO},
    hub={
        "nvidia/Cosmos3-Nano": HubModel(
            "Cosmos 3, 16 billion parameters, 1280x720 at 24 fps, silent",
            licence="OpenMDW-1.1",
            trained_on="clean frames",
            expect=COSMOS_3_EXPECT,
        ),
        "nvidia/Cosmos3-Super": HubModel(
            "Cosmos 3, 64 billion parameters, 1280x720 at 24 fps, silent",
            licence="OpenMDW-1.1",
            trained_on="clean frames",
            expect=COSMOS_3_EXPECT,
        ),
    },
)
SANA = Family(
    code="diffusers:SanaVideoTransformer3DModel",
    adapter="longtake.models.nvidia.sana_video:SanaVideoModel",
    config=SanaVideoConfig,
    autoencoders=("AutoencoderKLWan",),
    text=TextEncoder(
        code="longtake.models.nvidia.sana_text:SanaPromptEncoder",
        parts={
            "text_encoder": encoder("Gemma2Model"),
            "tokenizer": tokenizer("GemmaTokenizer", "GemmaTokenizerFast"),
        },
        config=GemmaConfig,
        most_tokens=299,  # of the 300 that are read, one is the instruction's
    ),
    schedulers={**dict.fromkeys(SHIFTS, FlowConfig), "DPMSolverMultistepScheduler": DpmConfig},
    text_per_latent=True,
    defaults={("AutoencoderKLWan", 8): SANA_VIDEO},
    scheduler_shift=True,
    hub={
        "Efficient-Large-Model/SANA-Video_2B_480p_diffusers": HubModel(
            "SANA-Video, 2 billion parameters, 832x480 at 16 fps",
            licence="NVIDIA Open Model License",
            trained_on="clean frames",
            expect=NEEDS_A_LORA,
            weights_gib=8.9,
            peak_gib={"none": 15.1, "text": 10.3, "model": 10.3, "group": 6.9, "sequential": 6.5},
        ),
    },
)
