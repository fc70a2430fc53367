"""Open-Sora v1.2 in numbers, as it is known before its weights are on the disk. Imports no torch."""

from longtake.models.base import ModelDefaults, ModelSpec
from longtake.models.open_sora.shift import timestep_shift

WINDOW_FRAMES = 119  # seven groups of 17: five latents of context and thirty noisy ones

# The settings of PA-VDM's training-free runs, arXiv 2410.08151, §4.
DEFAULTS = ModelDefaults(
    width=424,
    height=240,
    fps=24,
    num_inference_steps=30,
    steps_per_chunk=5,
    chunk_size=5,
    context_size=5,
    shift=timestep_shift(240, 424, WINDOW_FRAMES),
    guidance_scale=7.0,
)
SPEC = ModelSpec(
    name="open-sora-v1.2",
    latent_channels=4,
    spatial_factor=8,
    temporal_factor=4,
    first_frames=1,
    alignment=8,
    max_prompt_tokens=300,
    defaults=DEFAULTS,
    group_latents=5,
)
