"""Films of one window and equal levels against diffusers' own pipelines: CogVideoX, HunyuanVideo and HunyuanVideo 1.5.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from typing import Any

import pytest
import torch
from diffusers import (
    ClassifierFreeGuidance,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15Pipeline,
    HunyuanVideoPipeline,
)
from torch import Tensor

from filming import chunks_of
from joint import CHANNELS, NETWORKS, SCHEDULE, cogvideox_vae, hunyuan15_vae, hunyuan_vae
from longtake import schedules
from longtake.models.joint import cogvideox
from longtake.noise import sigma_table
from longtake.solvers import Velocity
from portable import close, rounding

pytestmark = pytest.mark.slow

STEPS, SCALE, SHIFT = 4, 3.0, 7.0
LATENT = {"output_type": "latent", "num_inference_steps": STEPS}


def quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def guided(kind: Any, network: Any, told: tuple[Tensor, ...], scale: float = SCALE) -> Velocity:
    """told: rows of the prompt and of the empty one, one each."""

    def velocity(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        both, timestep = torch.cat([latents, latents]), (sigma * 1000).expand(2, -1)
        cond, uncond = kind.velocity(network, both, timestep, *told).chunk(2)
        return uncond + scale * (cond - uncond)

    return velocity


def same_film(expected: Tensor, velocity: Velocity, noise: Tensor, sigmas: Tensor, *moved: Any) -> None:
    """The film of one window whose latents (B, C, F, H, W) all have the same level is what a pipeline gives."""

    def filmed() -> Tensor:
        with torch.no_grad():
            (latents,) = chunks_of(velocity, lambda k: noise, sigmas, 1, steps_per_chunk=STEPS)
        return latents

    assert expected.std() > 0.1
    close(filmed(), expected, rounding(filmed, noise, sigmas, *moved))


@pytest.mark.parametrize("name", ["CogVideoX-2B", "CogVideoX-5B", "CogVideoX1.5-5B"])
def test_cogvideox(name: str) -> None:
    """Euler on our levels is DDIM on the network's."""
    torch.manual_seed(8)
    kind = NETWORKS[name]
    network, noise, (text,) = kind.make(), torch.randn(1, CHANNELS, 4, 4, 6), kind.told()
    shift = cogvideox.SNR_SHIFT[network.config.use_rotary_positional_embeddings]
    scheduler = CogVideoXDDIMScheduler(**SCHEDULE, snr_shift_scale=shift)
    pipeline = quiet(CogVideoXPipeline(None, None, cogvideox_vae(), network, scheduler))
    expected = pipeline(
        prompt_embeds=text[:1],
        negative_prompt_embeds=text[1:],
        height=32,
        width=48,
        num_frames=13,
        latents=noise.transpose(1, 2),
        guidance_scale=SCALE,
        **LATENT,
    ).frames.transpose(1, 2)
    kind.prepared(network)
    sigmas = torch.tensor([*schedules.cogvideox(STEPS, shift), 0.0])
    same_film(expected, guided(kind, network, (text,)), noise, sigmas, network, text)


def test_hunyuan_video() -> None:
    """With the distilled guidance alone, which costs no second row, and with a true one beside it."""
    torch.manual_seed(8)
    kind = NETWORKS["HunyuanVideo"]
    network, noise = kind.make(), torch.randn(1, CHANNELS, 3, 4, 6)
    text, mask, pooled = kind.told()
    pipeline = quiet(
        HunyuanVideoPipeline(
            None, None, network, hunyuan_vae(), FlowMatchEulerDiscreteScheduler(shift=SHIFT), None, None
        )
    )
    told = {"prompt_embeds": text[:1], "prompt_attention_mask": mask[:1], "pooled_prompt_embeds": pooled[:1]}
    null = {
        "negative_prompt_embeds": text[1:],
        "negative_prompt_attention_mask": mask[1:],
        "negative_pooled_prompt_embeds": pooled[1:],
    }
    size = {"height": 32, "width": 48, "num_frames": 9, "latents": noise, **LATENT}
    alone = pipeline(**told, **size).frames
    true = pipeline(**told, **null, true_cfg_scale=SCALE, **size).frames
    kind.prepared(network)
    sigmas = sigma_table(STEPS, SHIFT)
    same_film(true, guided(kind, network, (text, mask, pooled)), noise, sigmas, network, text)

    def velocity(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        return kind.velocity(network, latents, (sigma * 1000)[None], text[:1], mask[:1], pooled[:1])

    same_film(alone, velocity, noise, sigmas, network, text)


def test_hunyuan_video_15() -> None:
    """No picture is shown, whose 729 tokens of stock are masked out; glyphs are, where the prompt has some."""
    torch.manual_seed(8)
    kind = NETWORKS["HunyuanVideo-1.5"]
    network, noise = kind.make(), torch.randn(1, CHANNELS, 3, 4, 6)
    text, mask, glyphs, glyphs_mask = kind.told()
    guider = ClassifierFreeGuidance(guidance_scale=SCALE)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    pipeline = quiet(
        HunyuanVideo15Pipeline(None, None, network, hunyuan15_vae(), scheduler, None, None, guider)
    )
    expected = pipeline(
        prompt_embeds=text[:1],
        prompt_embeds_mask=mask[:1],
        prompt_embeds_2=glyphs[:1],
        prompt_embeds_mask_2=glyphs_mask[:1],
        negative_prompt_embeds=text[1:],
        negative_prompt_embeds_mask=mask[1:],
        negative_prompt_embeds_2=glyphs[1:],
        negative_prompt_embeds_mask_2=glyphs_mask[1:],
        height=64,
        width=96,
        num_frames=9,
        latents=noise,
        **LATENT,
    ).frames
    kind.prepared(network)
    velocity = guided(kind, network, (text, mask, glyphs, glyphs_mask))
    same_film(expected, velocity, noise, sigma_table(STEPS, SHIFT), network, text)
