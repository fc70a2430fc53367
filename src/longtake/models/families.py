"""The records of all families of models: one a network, one an autoencoder.

A new family is a file of its own, which holds its adapter, and a record here. Without torch.
"""

from __future__ import annotations

from dataclasses import replace

from longtake.models import joint_families
from longtake.models.base import ModelDefaults
from longtake.models.configs import OpenSoraConfig, WanConfig
from longtake.models.ltx_records import LTX2_AUTOENCODER, LTX_2, LTX_AUTOENCODER, LTX_VIDEO
from longtake.models.nvidia import COSMOS, COSMOS_3, SANA
from longtake.models.records import T5, Autoencoder, Converted, Family, Part, library
from longtake.models.weights import OF_DIFFUSERS

# By their classes, in the words of model_index.json.
AUTOENCODERS = {
    "AutoencoderKLWan": Autoencoder(
        code="diffusers:AutoencoderKLWan",
        codec="longtake.models.wan_codec:Wan",
        first_frames=1,
        check="longtake.models.wan_codec:check_config",
    ),
    "AutoencoderTubelet": Autoencoder(
        code="longtake.models.tubelet:AutoencoderTubelet",
        codec="longtake.models.tubelet:Tubelet",
        first_frames=4,
    ),
    "AutoencoderLapped": Autoencoder(
        code="longtake.models.lapped:AutoencoderLapped",
        codec="longtake.models.lapped:Lapped",
        first_frames=2,
        lookahead_latents=1,
    ),
    "AutoencoderOpenSora": Autoencoder(
        code="longtake.models.open_sora.autoencoder:AutoencoderOpenSora",
        codec="longtake.models.open_sora.autoencoder:OpenSora",
        first_frames=1,
        group_latents=5,
    ),
    "AutoencoderKLLTXVideo": LTX_AUTOENCODER,
    "AutoencoderKLLTX2Video": LTX2_AUTOENCODER,
    **joint_families.AUTOENCODERS,
}
OF_WAN = ("AutoencoderKLWan", "AutoencoderTubelet", "AutoencoderLapped")

# The picture and frame rate that Wan was made for, and a window of 17 noisy and 4 clean latents, the 21 it was trained
# on. None of it was tuned for this method.
WAN_2_1 = ModelDefaults(
    width=832,
    height=480,
    fps=16,
    num_inference_steps=34,
    steps_per_chunk=2,
    chunk_size=1,
    context_size=4,
    shift=1.0,
    guidance_scale=5.0,
)
WAN_2_2 = replace(WAN_2_1, width=1280, height=704, fps=24)
# The window of 25 latents and blocks of 5 that SkyReels-V2 knows, and the shift of its authors' script.
SKYREELS_V2 = ModelDefaults(
    width=960,
    height=544,
    fps=24,
    num_inference_steps=30,
    steps_per_chunk=8,
    chunk_size=5,
    context_size=5,
    shift=8.0,
    guidance_scale=6.0,
)
FAMILIES = {
    "WanTransformer3DModel": Family(
        code="diffusers:WanTransformer3DModel",
        adapter="longtake.models.wan:WanModel",
        config=WanConfig,
        autoencoders=OF_WAN,
        text=T5,
        text_per_latent=True,
        lora_names="longtake.models.spellings:AUTHORS_OF_WAN",
        defaults={("AutoencoderKLWan", 8): WAN_2_1, ("AutoencoderKLWan", 16): WAN_2_2},
        scheduler_shift=True,
        hub={
            "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": "Wan 2.1, 1.3 billion parameters, 832x480 at 16 fps",
            "Wan-AI/Wan2.1-T2V-14B-Diffusers": "Wan 2.1, 14 billion parameters, 832x480 at 16 fps",
            "Wan-AI/Wan2.2-TI2V-5B-Diffusers": "Wan 2.2, 5 billion parameters, 1280x704 at 24 fps",
        },
    ),
    "SkyReelsV2Transformer3DModel": Family(
        code="diffusers:SkyReelsV2Transformer3DModel",
        adapter="longtake.models.skyreels:SkyReelsModel",
        config=WanConfig,
        autoencoders=OF_WAN,
        text=T5,
        text_per_latent=True,
        lora_names="longtake.models.spellings:AUTHORS_OF_WAN",
        defaults={("AutoencoderKLWan", 8): SKYREELS_V2, ("AutoencoderKLWan", 16): SKYREELS_V2},
        hub={
            "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers": "SkyReels-V2, 1.3 billion parameters, 960x544 at 24 fps",
            "Skywork/SkyReels-V2-DF-14B-540P-Diffusers": "SkyReels-V2, 14 billion parameters, 960x544 at 24 fps",
        },
    ),
    "CosmosTransformer3DModel": COSMOS,
    "Cosmos3OmniTransformer": COSMOS_3,
    "SanaVideoTransformer3DModel": SANA,
    "OpenSoraTransformer3DModel": Family(
        code="longtake.models.open_sora.transformer:OpenSoraTransformer3DModel",
        adapter="longtake.models.open_sora.model:OpenSoraModel",
        config=OpenSoraConfig,
        autoencoders=("AutoencoderOpenSora",),
        text=replace(T5, code="longtake.models.open_sora.model:OpenSoraPromptEncoder"),
        converted=Converted(
            name="open-sora-v1.2",
            about="Open-Sora v1.2, 1.2 billion parameters, 424x240 at 24 fps; longtake convert makes it",
            command="longtake convert open-sora hpcai-tech/OpenSora-STDiT-v3 hpcai-tech/OpenSora-VAE-v1.2",
            spec="longtake.models.open_sora.spec:SPEC",
        ),
        presets={
            "pa-o-base": "progressive denoising, training-free",
            "rn-o-base": "replacement with clean context, its windows as long as those of pa-o-base",
            "rn-o-base-as-released": "replacement with windows of 15 latents and context that was decoded and encoded",
        },
    ),
    "LTXVideoTransformer3DModel": LTX_VIDEO,
    "LTX2VideoTransformer3DModel": LTX_2,
    **joint_families.FAMILIES,
}

# All of them, relatives too.
ALL = [member for family in FAMILIES.values() for member in (family, *family.relatives.values())]
NETWORKS = Part(tuple(f"{library(f.code)}.{name}" for name, f in FAMILIES.items()), weights=OF_DIFFUSERS)
VAES = Part(tuple(f"{library(vae.code)}.{name}" for name, vae in AUTOENCODERS.items()), weights=OF_DIFFUSERS)
# What the folders of any family hold, by name; a name may come twice.
PARTS = [("transformer", NETWORKS), ("vae", VAES)]
PARTS += [part for family in ALL for part in family.parts.items()]
CONVERTED = {family.converted.name: family.converted for family in ALL if family.converted}

# Why other networks cannot be filmed with: the beginnings of their classes' names.
ONE_TIMESTEP = "it takes one timestep for the whole clip, not one for each latent frame"
NO_ADAPTER = "it could take a timestep for each latent frame, but longtake has no adapter for it yet"
REFUSALS = {
    **dict.fromkeys(("Allegro", "ConsisID", "EasyAnimate", "Latte"), ONE_TIMESTEP),
    **dict.fromkeys(("Mochi", "WanVACE"), ONE_TIMESTEP),
    **dict.fromkeys(("UNet3DConditionModel", "UNetMotionModel"), ONE_TIMESTEP),
    "UNetSpatioTemporalConditionModel": ONE_TIMESTEP,
    **dict.fromkeys(("ChronoEdit",), NO_ADAPTER),
    "AutoencoderKLCosmos": "it is Cosmos 1's, whose network has learnt positions, which count from a clip's beginning,"
    " and a window moves on",
    "SanaWM": "it films along a camera path from a photo, which a film here cannot give",
}
