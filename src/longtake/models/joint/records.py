"""The records of models with joint attention: CogVideoX, HunyuanVideo and Kandinsky 5. Without torch."""

from __future__ import annotations

from dataclasses import replace

from longtake.models.base import ModelDefaults
from longtake.models.configs import SchedulerConfig
from longtake.models.hub import NEEDS_A_LORA, HubModel
from longtake.models.joint.configs import (
    CogVideoXConfig,
    CogVideoXSchedulerConfig,
    CogVideoXVaeConfig,
    HunyuanVideo15Config,
    HunyuanVideo15VaeConfig,
    HunyuanVideoConfig,
    HunyuanVideoVaeConfig,
    Kandinsky5Config,
    LanguageModelConfig,
)
from longtake.models.records import T5, Autoencoder, Family, Part, TextEncoder, encoder, tokenizer


def small(*classes: str, module: str | None = None) -> Part:
    """A tokenizer that comes without tokenizer.json."""
    names = tuple(f"transformers.{name}" for name in classes)
    return Part(names, config="tokenizer_config.json", files=("tokenizer_config.json",), module=module)


CLIP = {
    "text_encoder_2": encoder("CLIPTextModel"),
    "tokenizer_2": small("CLIPTokenizer", "CLIPTokenizerFast"),
}
LLAMA = TextEncoder(
    code="longtake.models.joint.hunyuan_text:HunyuanVideoPromptEncoder",
    parts={
        "text_encoder": encoder("LlamaModel"),
        "tokenizer": tokenizer("LlamaTokenizerFast", "LlamaTokenizer"),
        **CLIP,
    },
    config=LanguageModelConfig,
    most_tokens=256,
)
QWEN = TextEncoder(
    code="longtake.models.joint.hunyuan_text:HunyuanVideo15PromptEncoder",
    parts={
        "text_encoder": encoder("Qwen2_5_VLTextModel"),
        "tokenizer": tokenizer("Qwen2TokenizerFast", "Qwen2Tokenizer"),
        "text_encoder_2": encoder("T5EncoderModel"),
        "tokenizer_2": small("ByT5Tokenizer"),
    },
    config=LanguageModelConfig,
    most_tokens=995,  # of 1000, of which 5 come behind the prompt
    extra_tokens=261,  # these, and 256 letters
)

KANDINSKY = TextEncoder(
    code="longtake.models.joint.kandinsky_text:KandinskyPromptEncoder",
    parts={
        "text_encoder": encoder("Qwen2_5_VLForConditionalGeneration"),
        "tokenizer": replace(
            tokenizer("Qwen2VLProcessor", "Qwen2_5_VLProcessor"),
            module="longtake.models.joint.kandinsky_text",
        ),
        **CLIP,
    },
    config=LanguageModelConfig,
)

AUTOENCODERS = {
    "AutoencoderKLCogVideoX": Autoencoder(
        code="diffusers:AutoencoderKLCogVideoX",
        codec="longtake.models.joint.cogvideox_codec:CogVideoX",
        first_frames=1,
        config=CogVideoXVaeConfig,
        statistics="longtake.models.codecs:of_factors",
    ),
    "AutoencoderKLHunyuanVideo": Autoencoder(
        code="diffusers:AutoencoderKLHunyuanVideo",
        codec="longtake.models.joint.hunyuan_codec:HunyuanVideo",
        first_frames=1,
        config=HunyuanVideoVaeConfig,
        statistics="longtake.models.codecs:of_factors",
        not_tiled=None,
    ),
    "AutoencoderKLHunyuanVideo15": Autoencoder(
        code="diffusers:AutoencoderKLHunyuanVideo15",
        codec="longtake.models.joint.hunyuan15_codec:HunyuanVideo15",
        first_frames=1,
        config=HunyuanVideo15VaeConfig,
        statistics="longtake.models.codecs:of_factors",
    ),
}

# Picture, frame rate, steps, guidance: the model cards' of zai-org/CogVideoX-2b and -5b (480x720, 8 fps, 50 steps, 6),
# and of CogVideoX1.5-5B (768x1360, 16 fps). The window is as long as a clip of theirs, context included: 13 latents of
# 49 frames, or 22 of 81, the first a copy. None of it was tuned for this method; so for the others here.
COGVIDEOX_2B = ModelDefaults(
    width=720,
    height=480,
    fps=8,
    num_inference_steps=50,
    steps_per_chunk=5,
    chunk_size=1,
    context_size=3,
    shift=3.0,
    guidance_scale=6.0,
)
COGVIDEOX_5B = replace(COGVIDEOX_2B, shift=1.0)
COGVIDEOX_1_5 = replace(
    COGVIDEOX_5B, width=1360, height=768, fps=16, steps_per_chunk=6, chunk_size=2, context_size=4
)
# tencent/HunyuanVideo's card: 720x1280, 129 frames of 33 latents, 24 fps, 50 steps, flow shift 7; its guidance of 6 is
# embedded, so a second row is none of its own.
HUNYUAN_VIDEO = ModelDefaults(
    width=1280,
    height=720,
    fps=24,
    num_inference_steps=50,
    steps_per_chunk=2,
    chunk_size=1,
    context_size=8,
    shift=7.0,
    guidance_scale=1.0,
)
# tencent/HunyuanVideo-1.5's card, and scripts/convert_hunyuan_video1_5_to_diffusers.py of diffusers: 121 frames of 31
# latents, 50 steps, guidance 6, shift 5 for 480p and 9 for 720p.
HUNYUAN_VIDEO_15 = ModelDefaults(
    width=848,
    height=480,
    fps=24,
    num_inference_steps=50,
    steps_per_chunk=2,
    chunk_size=1,
    context_size=6,
    shift=5.0,
    guidance_scale=6.0,
)
HUNYUAN_VIDEO_15_720P = replace(HUNYUAN_VIDEO_15, width=1280, height=720, shift=9.0)

TENCENT = "Tencent's licence, which leaves out the EU, the UK and South Korea"
# Kandinsky5T2VPipeline of diffusers: 512x768, 121 frames of 31 latents, 24 fps, 50 steps, guidance 5. The shift is the
# folder's.
KANDINSKY_5 = replace(HUNYUAN_VIDEO_15, width=768, height=512, guidance_scale=5.0)

COGVIDEOX_VAE, HUNYUAN_VAE, HUNYUAN_15_VAE = AUTOENCODERS
COGVIDEOX_SCHEDULERS: dict[str, type[SchedulerConfig]] = dict.fromkeys(
    ("CogVideoXDDIMScheduler", "CogVideoXDPMScheduler"), CogVideoXSchedulerConfig
)
FAMILIES: dict[str, Family] = {
    "CogVideoXTransformer3DModel": Family(
        code="diffusers:CogVideoXTransformer3DModel",
        adapter="longtake.models.joint.cogvideox:CogVideoXModel",
        config=CogVideoXConfig,
        autoencoders=(COGVIDEOX_VAE,),
        text=replace(T5, code="longtake.models.joint.cogvideox:CogVideoXPromptEncoder"),
        schedulers=COGVIDEOX_SCHEDULERS,
        schedule="cogvideox",
        defaults={
            (COGVIDEOX_VAE, 8): COGVIDEOX_2B,
            (COGVIDEOX_VAE, 8, "turned"): COGVIDEOX_5B,
            (COGVIDEOX_VAE, 8, "joined"): COGVIDEOX_1_5,
        },
        scheduler_shift=True,
        hub={
            "zai-org/CogVideoX-2b": HubModel(
                "CogVideoX, 1.7 billion parameters, 720x480 at 8 fps",
                licence="Apache 2.0",
                trained_on="equal levels",
                expect=NEEDS_A_LORA,
                weights_gib=12.7,
                peak_gib={"none": 23.7, "text": 14.9, "model": 14.9, "group": 12.0, "sequential": 11.5},
            ),
            "zai-org/CogVideoX-5b": HubModel(
                "CogVideoX, 5.6 billion parameters, 720x480 at 8 fps",
                licence="CogVideoX licence",
                trained_on="equal levels",
                expect=NEEDS_A_LORA,
                weights_gib=19.6,
                peak_gib={"none": 30.7, "text": 21.8, "model": 21.8, "group": 12.0, "sequential": 11.5},
            ),
            "zai-org/CogVideoX1.5-5B": HubModel(
                "CogVideoX 1.5, 5.6 billion parameters, 1360x768 at 16 fps, latents in pairs",
                licence="CogVideoX licence",
                trained_on="equal levels",
                expect=NEEDS_A_LORA,
                weights_gib=19.6,
            ),
        },
    ),
    "HunyuanVideoTransformer3DModel": Family(
        code="diffusers:HunyuanVideoTransformer3DModel",
        adapter="longtake.models.joint.hunyuan:HunyuanVideoModel",
        config=HunyuanVideoConfig,
        autoencoders=(HUNYUAN_VAE,),
        text=LLAMA,
        lora_converter="diffusers.loaders.lora_conversion_utils:_convert_hunyuan_video_lora_to_diffusers",
        defaults={(HUNYUAN_VAE, 8): HUNYUAN_VIDEO},
        scheduler_shift=True,
        hub={
            "hunyuanvideo-community/HunyuanVideo": HubModel(
                "HunyuanVideo, 12.8 billion parameters, 1280x720 at 24 fps",
                licence=TENCENT,
                trained_on="equal levels",
                expect=NEEDS_A_LORA,
                weights_gib=38.5,
                peak_gib={"none": 47.6, "text": 38.3, "model": 33.3, "group": 11.4, "sequential": 9.6},
            ),
        },
    ),
    "Kandinsky5Transformer3DModel": Family(
        code="diffusers:Kandinsky5Transformer3DModel",
        adapter="longtake.models.joint.kandinsky:KandinskyModel",
        config=Kandinsky5Config,
        autoencoders=(HUNYUAN_VAE,),
        text=KANDINSKY,
        schedule="kandinsky",
        defaults={(HUNYUAN_VAE, 8): KANDINSKY_5},
        scheduler_shift=True,
        hub={
            "kandinskylab/Kandinsky-5.0-T2V-Lite-sft-5s-Diffusers": HubModel(
                "Kandinsky 5 Lite, 2.0 billion parameters, 768x512 at 24 fps",
                licence="MIT",
                trained_on="equal levels",
                expect=NEEDS_A_LORA,
                weights_gib=20.4,
                peak_gib={"none": 22.9, "text": 20.2, "model": 15.9, "group": 3.2, "sequential": 3.0},
            ),
        },
    ),
    "HunyuanVideo15Transformer3DModel": Family(
        code="diffusers:HunyuanVideo15Transformer3DModel",
        adapter="longtake.models.joint.hunyuan:HunyuanVideo15Model",
        config=HunyuanVideo15Config,
        autoencoders=(HUNYUAN_15_VAE,),
        text=QWEN,
        left_out={"guider": None},
        defaults={
            (HUNYUAN_15_VAE, 16): HUNYUAN_VIDEO_15,
            (HUNYUAN_15_VAE, 16, "720p"): HUNYUAN_VIDEO_15_720P,
        },
        scheduler_shift=True,
        hub={
            "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v": HubModel(
                "HunyuanVideo 1.5, 8.3 billion parameters, 848x480 at 24 fps",
                licence=TENCENT,
                trained_on="equal levels",
                expect=NEEDS_A_LORA,
                weights_gib=31.4,
            ),
            "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-720p_t2v": HubModel(
                "HunyuanVideo 1.5, 8.3 billion parameters, 1280x720 at 24 fps",
                licence=TENCENT,
                trained_on="equal levels",
                expect=NEEDS_A_LORA,
                weights_gib=31.4,
            ),
        },
    ),
}
