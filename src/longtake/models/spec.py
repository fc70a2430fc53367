"""The description of a model, from the JSON files of its folder alone; without torch."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from longtake.errors import ModelError
from longtake.models.base import ModelDefaults, ModelSpec
from longtake.models.configs import (
    OpenSoraConfig,
    SchedulerConfig,
    TokenizerConfig,
    TransformerConfig,
    checked,
    settings,
)
from longtake.models.folder import (
    OPEN_SORA,
    SKYREELS,
    WAN_VAE,
    part_config,
    part_place,
    read_json,
    vae_config,
)
from longtake.models.open_sora import spec as open_sora

# What a Wan folder without longtake.json is filmed with, by the spatial factor of its autoencoder: the
# picture and frame rate it was made for, and a window of 17 noisy and 4 clean latents, the 21 it was trained
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
WAN_DEFAULTS = {8: WAN_2_1, 16: replace(WAN_2_1, width=1280, height=704, fps=24)}
# The same for SkyReels-V2: its window of 25 latents and blocks of 5, and the shift of its authors' script.
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
WAN_PROMPT_TOKENS = 512
# By autoencoder: the frames of the first latent, and lookahead_latents.
STARTS = {WAN_VAE: (1, 0), "AutoencoderTubelet": (4, 0), "AutoencoderLapped": (2, 1)}
# By which name each scheduler knows its shift. Under another's name diffusers does not see it.
SHIFTS = {"FlowMatchEulerDiscreteScheduler": "shift", "UniPCMultistepScheduler": "flow_shift"}


def folder_spec(folder: Path, classes: dict[str, str], name: str) -> ModelSpec:
    """The description of the model in a folder, whose classes are checked, under a name.

    Raises ModelError for a value that is missing, of the wrong type or out of its range, and for a scheduler whose
    noise levels or predictions are not those of a film.
    """
    vae, tokenizer = (
        vae_config(folder),
        checked(TokenizerConfig, part_config(folder, "tokenizer"), part_place(folder, "tokenizer")),
    )
    shift, prediction = _scheduler(folder, classes["scheduler"])
    network, place = part_config(folder, "transformer"), part_place(folder, "transformer")
    if classes["vae"] == OPEN_SORA[1]:
        return open_sora.open_sora_spec(
            name,
            read_settings(folder),
            latent_channels=vae.z_dim,
            max_prompt_tokens=checked(OpenSoraConfig, network, place).max_caption_tokens,
        )
    first_frames, lookahead = STARTS[classes["vae"]]
    spatial_factor = vae.scale_factor_spatial
    patch = checked(TransformerConfig, network, place).patch_size
    return ModelSpec(
        name=name,
        latent_channels=vae.z_dim,
        spatial_factor=spatial_factor,
        temporal_factor=4,
        first_frames=first_frames,
        alignment=spatial_factor * math.lcm(*patch[1:]),
        max_prompt_tokens=min(tokenizer.model_max_length or WAN_PROMPT_TOKENS, WAN_PROMPT_TOKENS),
        defaults=_defaults(
            folder, classes["transformer"], spatial_factor if classes["vae"] == WAN_VAE else None, shift
        ),
        lookahead_latents=lookahead,
        prediction=prediction,
        text_per_latent=True,
    )


def read_settings(folder: Path) -> ModelDefaults:
    """The longtake.json of a folder, of a model or of a LoRA."""
    return settings(read_json(folder, "longtake.json"), folder)


def _defaults(
    folder: Path, transformer: str, spatial_factor: int | None, shift: float | None
) -> ModelDefaults:
    """The folder's longtake.json. Folders of the hub may do without: SkyReels-V2, and Wan by the factor of its
    autoencoder and with the shift of its scheduler."""
    wan = WAN_DEFAULTS.get(spatial_factor) if spatial_factor else None
    if (folder / "longtake.json").exists() or not wan:
        return read_settings(folder)
    if transformer == SKYREELS:
        return SKYREELS_V2
    return wan if shift is None else replace(wan, shift=shift)


def _scheduler(folder: Path, scheduler: str) -> tuple[float | None, str]:
    """The shift that a folder's scheduler gives, if any: under its own name for it, else under the other's; and what
    its network predicts."""
    content, place = part_config(folder, "scheduler"), part_place(folder, "scheduler")
    if content.get("_class_name", scheduler) != scheduler:
        raise ModelError(
            f"{place} is of a {content['_class_name']}, model_index.json says {scheduler}: mend one"
        )
    config, own = checked(SchedulerConfig, content, place), SHIFTS[scheduler]
    given: dict[str, float | None] = {"shift": config.shift, "flow_shift": config.flow_shift}
    shift = next((shift for shift in (given.pop(own), *given.values()) if shift is not None), None)
    return shift, config.prediction_type or "flow_prediction"
