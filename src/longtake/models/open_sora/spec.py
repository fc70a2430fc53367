"""Open-Sora v1.2 in numbers. Imports no torch."""

from longtake.models.base import ModelDefaults, ModelSpec
from longtake.models.open_sora.shift import timestep_shift

NAME = "open-sora-v1.2"
TRANSFORMER, VAE = "hpcai-tech/OpenSora-STDiT-v3", "hpcai-tech/OpenSora-VAE-v1.2"
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


def open_sora_spec(
    name: str = NAME,
    defaults: ModelDefaults = DEFAULTS,
    latent_channels: int = 4,
    spatial_factor: int = 8,
    max_prompt_tokens: int = 300,
) -> ModelSpec:
    """The description of a model of Open-Sora's kind; of the released one where nothing is given."""
    return ModelSpec(
        name=name,
        latent_channels=latent_channels,
        spatial_factor=spatial_factor,
        temporal_factor=4,
        first_frames=1,
        alignment=spatial_factor,
        max_prompt_tokens=max_prompt_tokens,
        defaults=defaults,
        group_latents=5,
    )
