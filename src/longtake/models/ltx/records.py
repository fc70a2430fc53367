"""The records of LTX-Video and LTX-2, and of their autoencoders. Without torch.

Sources: configs/*.yaml of Lightricks/LTX-Video; ltx_pipelines/utils/constants.py of Lightricks/LTX-2; for sizes and
rates diffusers' pipelines. The configurations that are tested are those of convert_ltx_to_diffusers.py and
convert_ltx2_to_diffusers.py in diffusers' scripts.
"""

from __future__ import annotations

from dataclasses import replace

from longtake.models.base import ModelDefaults
from longtake.models.hub import NEEDS_A_LORA, HubModel
from longtake.models.ltx.config import (
    GemmaConfig,
    LTX2Config,
    LTX2VaeConfig,
    LTXConfig,
    LTXSchedulerConfig,
    LTXVaeConfig,
    shift_of,
)
from longtake.models.records import T5, Autoencoder, Family, Part, TextEncoder, encoder, tokenizer
from longtake.models.weights import OF_DIFFUSERS
from longtake.schedules import TABLES

LTX_AUTOENCODER = Autoencoder(
    code="diffusers:AutoencoderKLLTXVideo",
    codec="longtake.models.ltx.codec:LTX",
    first_frames=1,
    config=LTXVaeConfig,
    statistics="longtake.models.codecs:of_buffers",
)
LTX2_AUTOENCODER = replace(LTX_AUTOENCODER, code="diffusers:AutoencoderKLLTX2Video", config=LTX2VaeConfig)

# What their authors film by: steps and guidance, 768x512 at 24 frames/s. The windows, of 24 and 19 latents, are ours;
# the longest clips that the networks know are of 257 frames, and of 20 seconds. The shift is that of their schedulers
# for as many tokens as such a window has; LTX-Video 0.9.5 and later have none.
LTX_VIDEO_DEFAULTS = ModelDefaults(
    width=768,
    height=512,
    fps=24,
    num_inference_steps=40,
    steps_per_chunk=2,
    chunk_size=1,
    context_size=4,
    shift=shift_of(24 * 384),
    guidance_scale=3.0,
)
LTX_2_DEFAULTS = replace(LTX_VIDEO_DEFAULTS, num_inference_steps=30, shift=shift_of(19 * 384))

# Those for few steps, which were trained without guidance: windows of 24 latents of eight levels, three latents each.
LTX_VIDEO_DISTILLED, LTX_2_DISTILLED = (
    replace(
        own,
        num_inference_steps=8,
        steps_per_chunk=1,
        chunk_size=chunk_size,
        guidance_scale=1.0,
        sigmas=TABLES["ltx"].sigmas,
    )
    for own, chunk_size in ((LTX_VIDEO_DEFAULTS, 3), (LTX_2_DEFAULTS, 2))
)

# In the words of their model cards, from memory.
LTX_LICENCE, LTX_2_LICENCE = (
    "LTX-Video Open Weights licence",
    "LTX-2 Community licence, not free for large companies",
)

LTX_VIDEO = Family(
    code="diffusers:LTXVideoTransformer3DModel",
    adapter="longtake.models.ltx.model:LTXModel",
    config=LTXConfig,
    autoencoders=("AutoencoderKLLTXVideo",),
    text=replace(T5, most_tokens=256),
    schedulers={"FlowMatchEulerDiscreteScheduler": LTXSchedulerConfig},
    text_per_latent=True,
    lora_names="longtake.models.spellings:AUTHORS_OF_LTX",
    defaults={("AutoencoderKLLTXVideo", 32): LTX_VIDEO_DEFAULTS},
    named={"Lightricks/LTX-Video-0.9.8-13B-distilled": LTX_VIDEO_DISTILLED},
    hub={
        "Lightricks/LTX-Video": HubModel(
            "LTX-Video 0.9.0, 1.9 billion parameters, 768x512 at 24 fps",
            licence=LTX_LICENCE,
            trained_on="equal levels",
            expect=NEEDS_A_LORA,
            weights_gib=13.2,
            peak_gib={"none": 14.4, "text": 13.2, "model": 9.7, "group": 2.3, "sequential": 2.0},
        ),
        "Lightricks/LTX-Video-0.9.5": HubModel(
            "LTX-Video 0.9.5, 1.9 billion parameters, 768x512 at 24 fps",
            licence=LTX_LICENCE,
            trained_on="clean frames",
            expect=NEEDS_A_LORA,
            weights_gib=14.8,
            peak_gib={"none": 15.9, "text": 14.8, "model": 11.2, "group": 3.8, "sequential": 3.5},
        ),
        "Lightricks/LTX-Video-0.9.7-dev": HubModel(
            "LTX-Video 0.9.7, 13 billion parameters, 768x512 at 24 fps",
            licence=LTX_LICENCE,
            trained_on="clean frames",
            expect=NEEDS_A_LORA,
            weights_gib=35.5,
            peak_gib={"none": 37.8, "text": 35.5, "model": 28.9, "group": 5.9, "sequential": 4.8},
        ),
        "Lightricks/LTX-Video-0.9.8-13B-distilled": HubModel(
            "LTX-Video 0.9.8 in eight steps, 13 billion parameters, 768x512",
            licence=LTX_LICENCE,
            trained_on="clean frames",
            expect=NEEDS_A_LORA,
            weights_gib=35.5,
            peak_gib={"none": 36.8, "text": 35.5, "model": 28.0, "group": 4.9, "sequential": 3.8},
        ),
    },
)
LTX_2 = Family(
    code="diffusers:LTX2VideoTransformer3DModel",
    adapter="longtake.models.ltx.model2:LTX2Model",
    config=LTX2Config,
    autoencoders=("AutoencoderKLLTX2Video",),
    text=TextEncoder(
        code="longtake.models.ltx.gemma:GemmaPromptEncoder",
        parts={
            "text_encoder": encoder("Gemma3ForConditionalGeneration"),
            "tokenizer": tokenizer("GemmaTokenizer", "GemmaTokenizerFast"),
            "connectors": Part(
                ("ltx2.LTX2TextConnectors",),
                weights=OF_DIFFUSERS,
                module="diffusers.pipelines.ltx2.connectors",
            ),
        },
        config=GemmaConfig,
        most_tokens=1024,
    ),
    schedulers={"FlowMatchEulerDiscreteScheduler": LTXSchedulerConfig},
    left_out={"audio_vae": "sound", "vocoder": None},
    text_per_latent=True,
    lora_names="longtake.models.spellings:AUTHORS_OF_LTX",
    defaults={("AutoencoderKLLTX2Video", 32): LTX_2_DEFAULTS},
    named={"diffusers/LTX-2.3-Distilled-Diffusers": LTX_2_DISTILLED},
    hub={
        "Lightricks/LTX-2": HubModel(
            "LTX-2, pictures alone, 19 billion parameters, 768x512 at 24 fps",
            licence=LTX_2_LICENCE,
            trained_on="clean frames",
            expect=NEEDS_A_LORA,
            weights_gib=52.3,
            peak_gib={"none": 54.0, "text": 49.6, "model": 28.7, "group": 6.0, "sequential": 4.2},
        ),
        "diffusers/LTX-2.3-Diffusers": HubModel(
            "LTX-2.3, pictures alone, 19 billion parameters, 768x512 at 24 fps",
            licence=LTX_2_LICENCE,
            trained_on="clean frames",
            expect=NEEDS_A_LORA,
            weights_gib=54.8,
            peak_gib={"none": 58.3, "text": 48.9, "model": 29.7, "group": 6.7, "sequential": 5.2},
        ),
        "diffusers/LTX-2.3-Distilled-Diffusers": HubModel(
            "LTX-2.3 in eight steps, pictures alone, 19 billion parameters",
            licence=LTX_2_LICENCE,
            trained_on="clean frames",
            expect=NEEDS_A_LORA,
            weights_gib=54.8,
            peak_gib={"none": 56.6, "text": 48.9, "model": 28.0, "group": 5.1, "sequential": 3.5},
        ),
    },
)
