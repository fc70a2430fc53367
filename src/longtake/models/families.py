"""The records of all families of models: one a network, one an autoencoder.

A new family is a file of its own, which holds its adapter, and a record here. Without torch.
"""

from __future__ import annotations

from dataclasses import replace

from longtake.models.base import ModelDefaults
from longtake.models.configs import OpenSoraConfig, WanConfig
from longtake.models.hub import MADE_FOR_IT, NEEDS_A_LORA, HubModel
from longtake.models.joint import records as joint
from longtake.models.joint.motif_records import MOTIF_VIDEO
from longtake.models.ltx.records import LTX2_AUTOENCODER, LTX_2, LTX_AUTOENCODER, LTX_VIDEO
from longtake.models.minimax_h3.records import AUTOENCODER as MINIMAX_H3_AUTOENCODER
from longtake.models.minimax_h3.records import MINIMAX_H3
from longtake.models.nvidia.records import COSMOS, COSMOS_3, SANA
from longtake.models.records import T5, Autoencoder, Converted, Experts, Family, Part, library
from longtake.models.weights import OF_DIFFUSERS

# By their classes, in the words of model_index.json.
AUTOENCODERS = {
    "AutoencoderKLWan": Autoencoder(
        code="diffusers:AutoencoderKLWan",
        codec="longtake.models.wan.codec:Wan",
        first_frames=1,
        check="longtake.models.wan.codec:check_config",
        not_tiled=None,
    ),
    "AutoencoderTubelet": Autoencoder(
        code="longtake.models.small.tubelet:AutoencoderTubelet",
        codec="longtake.models.small.tubelet:Tubelet",
        first_frames=4,
    ),
    "AutoencoderLapped": Autoencoder(
        code="longtake.models.small.lapped:AutoencoderLapped",
        codec="longtake.models.small.lapped:Lapped",
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
    **joint.AUTOENCODERS,
    "AutoencoderKLMiniMaxH3": MINIMAX_H3_AUTOENCODER,
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
# Of two experts: guidance 4 of the first and 3 of the second, as in its authors' wan/configs/wan_t2v_A14B.py.
WAN_2_2_A14B = replace(WAN_2_1, guidance_scale=4.0)
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
        adapter="longtake.models.wan.model:WanModel",
        config=WanConfig,
        autoencoders=OF_WAN,
        text=T5,
        text_per_latent=True,
        lora_names="longtake.models.spellings:AUTHORS_OF_WAN",
        defaults={("AutoencoderKLWan", 8): WAN_2_1, ("AutoencoderKLWan", 16): WAN_2_2},
        scheduler_shift=True,
        experts=Experts("longtake.models.wan.experts:WanExperts", WAN_2_2_A14B, guidance_scale_2=3.0),
        hub={
            "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": HubModel(
                "Wan 2.1, 1.3 billion parameters, 832x480 at 16 fps",
                licence="Apache-2.0",
                trained_on="equal levels",
                expect=NEEDS_A_LORA,
                weights_gib=13.5,
                peak_gib={"none": 18.8, "text": 13.5, "model": 10.8, "group": 5.8, "sequential": 5.6},
            ),
            "Wan-AI/Wan2.1-T2V-14B-Diffusers": HubModel(
                "Wan 2.1, 14 billion parameters, 832x480 at 16 fps",
                licence="Apache-2.0",
                trained_on="equal levels",
                expect=NEEDS_A_LORA,
                weights_gib=37.5,
                peak_gib={"none": 47.5, "text": 37.5, "model": 36.9, "group": 12.0, "sequential": 10.5},
            ),
            "Wan-AI/Wan2.2-TI2V-5B-Diffusers": HubModel(
                "Wan 2.2, 5 billion parameters, 1280x704 at 24 fps",
                licence="Apache-2.0",
                trained_on="clean frames",
                expect=NEEDS_A_LORA,
                weights_gib=21.2,
                peak_gib={"none": 31.5, "text": 21.2, "model": 20.9, "group": 12.4, "sequential": 11.7},
            ),
            "Wan-AI/Wan2.2-T2V-A14B-Diffusers": HubModel(
                "Wan 2.2, two experts of 14 billion parameters, 832x480 at 16 fps",
                licence="Apache-2.0",
                trained_on="equal levels",
                expect="it never saw levels that rise through a clip; each pass asks both experts; untried with these"
                " weights",
                weights_gib=64.2,
                peak_gib={"none": 74.2, "text": 64.2, "model": 36.9, "group": 12.5, "sequential": 10.5},
            ),
        },
    ),
    "SkyReelsV2Transformer3DModel": Family(
        code="diffusers:SkyReelsV2Transformer3DModel",
        adapter="longtake.models.wan.skyreels:SkyReelsModel",
        config=WanConfig,
        autoencoders=OF_WAN,
        text=T5,
        text_per_latent=True,
        lora_names="longtake.models.spellings:AUTHORS_OF_WAN",
        defaults={("AutoencoderKLWan", 8): SKYREELS_V2, ("AutoencoderKLWan", 16): SKYREELS_V2},
        hub={
            "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers": HubModel(
                "SkyReels-V2, 1.3 billion parameters, 960x544 at 24 fps",
                licence="Skywork licence",
                trained_on="unequal levels",
                expect=MADE_FOR_IT,
                weights_gib=13.5,
                peak_gib={"none": 21.9, "text": 13.5, "model": 11.3, "group": 8.9, "sequential": 8.7},
            ),
            "Skywork/SkyReels-V2-DF-14B-540P-Diffusers": HubModel(
                "SkyReels-V2, 14 billion parameters, 960x544 at 24 fps",
                licence="Skywork licence",
                trained_on="unequal levels",
                expect=MADE_FOR_IT,
                weights_gib=37.5,
                peak_gib={"none": 53.6, "text": 43.0, "model": 43.0, "group": 18.1, "sequential": 16.6},
            ),
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
            told=HubModel(
                "Open-Sora v1.2, 1.2 billion parameters, 424x240 at 24 fps; longtake convert makes it",
                licence="Apache-2.0",
                trained_on="clean frames",
                expect="what the paper shows, training-free: see its presets",
                weights_gib=11.9,
                peak_gib={"none": 12.8, "text": 11.9, "model": 9.6, "group": 1.7, "sequential": 1.6},
            ),
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
    **joint.FAMILIES,
    "MiniMaxH3Transformer3DModel": MINIMAX_H3,
    "MotifVideoTransformer3DModel": MOTIF_VIDEO,
}

# All of them, relatives too.
ALL = [member for family in FAMILIES.values() for member in (family, *family.relatives.values())]
SECOND = "transformer_2"  # a second network, where there are two
NETWORKS = Part(tuple(f"{library(f.code)}.{name}" for name, f in FAMILIES.items()), weights=OF_DIFFUSERS)
VAES = Part(tuple(f"{library(vae.code)}.{name}" for name, vae in AUTOENCODERS.items()), weights=OF_DIFFUSERS)
# What the folders of any family hold, by name; a name may come twice.
PARTS = [("transformer", NETWORKS), ("vae", VAES)]
PARTS += [part for family in ALL for part in family.parts.items()]
PARTS += [(SECOND, NETWORKS)]
CONVERTED = {family.converted.name: family.converted for family in ALL if family.converted}
