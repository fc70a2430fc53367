"""A model that is made up, to plan films with."""

from longtake.models.base import ModelDefaults, ModelSpec

SPEC = ModelSpec(
    name="tiny",
    latent_channels=4,
    spatial_factor=8,
    temporal_factor=4,
    first_frames=4,
    alignment=16,
    max_prompt_tokens=12,
    defaults=ModelDefaults(
        width=128,
        height=80,
        fps=24,
        num_inference_steps=24,
        steps_per_chunk=2,
        chunk_size=1,
        context_size=4,
        shift=3.0,
        guidance_scale=2.5,
    ),
)
