"""The SANA-Video adapter on a tiny real network: against diffusers' own, and against its pipeline.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width
"""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    SanaVideoPipeline,
    SanaVideoTransformer3DModel,
)
from torch import Tensor

from filming import chunks_of
from longtake.guidance import guided_velocity
from longtake.models.nvidia.sana_video import SanaVideoModel, per_frame_timesteps
from longtake.models.text import Text
from nvidia import TEXT_WIDTH, tiny_sana
from portable import close, rounding

pytestmark = pytest.mark.slow

TOKENS = 6  # of a frame
CONFIGS = Path(__file__).parents[1] / "data" / "configs"


@pytest.fixture(scope="module")
def stock() -> SanaVideoTransformer3DModel:
    return tiny_sana()


@pytest.fixture(scope="module")
def ours(stock: SanaVideoTransformer3DModel) -> SanaVideoTransformer3DModel:
    return per_frame_timesteps(copy.deepcopy(stock))


def window(batch: int, frames: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents (B, 4, F, 4, 6), unequal timesteps (B, F), and text (B, 5, D), the last one two tokens shorter."""
    mask = torch.ones(batch, 5, dtype=torch.bool)
    mask[-1, 3:] = False
    latents = torch.randn(batch, 4, frames, 4, 6)
    return latents, torch.rand(batch, frames) * 1000, torch.randn(batch, 5, TEXT_WIDTH), mask


def velocity(
    network: SanaVideoTransformer3DModel, latents: Tensor, timestep: Tensor, text: Tensor, mask: Tensor
) -> Tensor:
    """As a film asks for it."""
    return SanaVideoModel.network_velocity(network, latents, timestep, Text(text, mask), 16.0)


def run_stock(
    stock: SanaVideoTransformer3DModel, latents: Tensor, timestep: Tensor, text: Tensor, mask: Tensor
) -> Tensor:
    """As its pipeline calls it, with a timestep a clip, (B,), or a token."""
    predicted: Tensor = stock(latents, text, timestep, encoder_attention_mask=mask.long(), return_dict=False)[
        0
    ]
    return predicted


@pytest.mark.parametrize("size", [(1, 1), (2, 5)])
def test_per_frame_equals_per_token(
    stock: SanaVideoTransformer3DModel, ours: SanaVideoTransformer3DModel, size: tuple[int, int]
) -> None:
    """Unequal timesteps; equal ones are those of a clip. What a frame's is does matter."""
    latents, timestep, text, mask = window(*size)
    tolerance = rounding(lambda: velocity(ours, latents, timestep, text, mask), ours, latents, timestep, text)
    expected = run_stock(stock, latents, timestep.repeat_interleave(TOKENS, 1), text, mask)
    close(velocity(ours, latents, timestep, text, mask), expected, tolerance)
    assert (velocity(ours, latents, timestep + 50, text, mask) - expected).abs().max() > 10 * tolerance
    level = torch.full_like(timestep, 531.25)
    close(
        velocity(ours, latents, level, text, mask),
        run_stock(stock, latents, level[:, 0], text, mask),
        tolerance,
    )


def test_one_timestep_a_clip_still_works(
    stock: SanaVideoTransformer3DModel, ours: SanaVideoTransformer3DModel
) -> None:
    """A network that was given per-frame timesteps can still be put into a stock pipeline."""
    latents, timestep, text, mask = window(2, 3)
    expected = run_stock(stock, latents, timestep[:, 0], text, mask)
    close(
        run_stock(ours, latents, timestep[:, 0], text, mask),
        expected,
        rounding(lambda: run_stock(stock, latents, timestep[:, 0], text, mask), stock, latents, text),
    )


def test_a_frame_is_told_of_its_own_timestep_alone(ours: SanaVideoTransformer3DModel) -> None:
    """Another timestep for frame 3 changes the modulations of frame 3; none of them is repeated over tokens."""
    latents, timestep, text, mask = window(1, 5)
    told: list[Tensor] = []
    hooks = [
        block.register_forward_pre_hook(lambda block, args: told.append(args[4]))
        for block in ours.transformer_blocks
    ]
    velocity(ours, latents, timestep, text, mask)
    timestep[:, 3] += 50
    velocity(ours, latents, timestep, text, mask)
    for hook in hooks:
        hook.remove()
    moved = (told[2] - told[0]).abs().amax((0, 2))
    assert told[0].shape == (1, 5, 6 * 24)
    assert moved[3] > 0 == moved[[0, 1, 2, 4]].max()


def test_a_text_a_frame(ours: SanaVideoTransformer3DModel) -> None:
    """The same text for every frame is as one for the clip; another from frame 3 on moves most where it is said, and
    what is no token says nothing."""
    latents, timestep, text, mask = window(2, 5)
    one = velocity(ours, latents, timestep, text, mask)
    each, masks = text[:, None].repeat(1, 5, 1, 1), mask[:, None].repeat(1, 5, 1)
    tolerance = rounding(lambda: velocity(ours, latents, timestep, text, mask), ours, latents, text)
    each[1, :, 3:] = 7.0
    close(velocity(ours, latents, timestep, each, masks), one, tolerance)
    each[:, 3:] = torch.randn(2, 2, 5, TEXT_WIDTH)
    moved = (velocity(ours, latents, timestep, each, masks) - one).abs().amax((0, 1, 3, 4))
    assert moved[3:].min() > 2 * moved[:3].max() > 0


def test_places_count_from_anywhere(
    ours: SanaVideoTransformer3DModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window that begins at place 9 gives what one that begins at 0 does: linear attention sees differences alone."""
    latents, timestep, text, mask = window(1, 4)
    expected = velocity(ours, latents, timestep, text, mask)
    tolerance = rounding(lambda: velocity(ours, latents, timestep, text, mask), ours, latents, timestep, text)
    places = ours.rope.forward

    def later(x: Tensor) -> tuple[Tensor, ...]:
        behind = torch.cat([x.new_empty(*x.shape[:2], 9, *x.shape[3:]), x], dim=2)
        return tuple(turn[:, 9 * TOKENS :] for turn in places(behind))

    monkeypatch.setattr(ours.rope, "forward", later)
    close(velocity(ours, latents, timestep, text, mask), expected, tolerance)


def test_gradients_and_checkpointing(stock: SanaVideoTransformer3DModel) -> None:
    """Gradients are those of the stock network, and the same with gradient checkpointing."""
    latents, timestep, text, mask = window(2, 3)

    def gradient(model: SanaVideoTransformer3DModel, predicted: Tensor) -> Tensor:
        model.zero_grad()
        predicted.square().mean().backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    stock = copy.deepcopy(stock).train().requires_grad_(True)
    tokens = timestep.repeat_interleave(TOKENS, 1)
    expected = gradient(stock, run_stock(stock, latents, tokens, text, mask))
    ours = per_frame_timesteps(copy.deepcopy(stock))

    def found() -> Tensor:
        return gradient(ours, velocity(ours, latents, timestep, text, mask))

    plain = found()
    close(plain, expected, rounding(found, ours, latents, timestep, text))
    ours.enable_gradient_checkpointing()
    assert torch.equal(found(), plain)


def test_weights_keep_their_names(stock: SanaVideoTransformer3DModel, tmp_path: Path) -> None:
    """What is trained through the adapter is saved as a plain diffusers model; patching twice is as once."""
    ours = per_frame_timesteps(per_frame_timesteps(copy.deepcopy(stock)))
    ours.save_pretrained(tmp_path)
    saved = SanaVideoTransformer3DModel.from_pretrained(tmp_path)
    assert all(torch.equal(saved.state_dict()[name], weight) for name, weight in stock.state_dict().items())


def test_lockstep_equals_its_pipeline(stock: SanaVideoTransformer3DModel) -> None:
    """One window, all levels equal, is SanaVideoPipeline: its latents to rounding."""
    vae = AutoencoderKLWan(base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=8.0)
    pipeline = SanaVideoPipeline(None, None, vae, stock, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    noise, texts = torch.randn(1, 4, 3, 4, 8), torch.randn(2, 5, TEXT_WIDTH)
    masks = torch.ones(2, 5, dtype=torch.bool)
    masks[1, 2:] = False
    expected = pipeline(
        prompt=None,
        negative_prompt=None,
        prompt_embeds=texts[:1],
        prompt_attention_mask=masks[:1].long(),
        negative_prompt_embeds=texts[1:],
        negative_prompt_attention_mask=masks[1:].long(),
        sigmas=np.linspace(1, 1 / 8, 8),
        height=32,
        width=64,
        frames=9,
        latents=noise,
        guidance_scale=4.0,
        output_type="latent",
        use_resolution_binning=False,
    ).frames
    ours = per_frame_timesteps(copy.deepcopy(stock))

    def told(latents: Tensor, sigma: Tensor, text: Text) -> Tensor:
        timestep = (sigma * 1000).expand(latents.shape[0], -1)
        return SanaVideoModel.network_velocity(ours, latents, timestep, text, 16.0)

    cond, uncond = Text(texts[:1], masks[:1]), Text(texts[1:], masks[1:])
    guided = guided_velocity(told, [cond], [uncond], guidance_scale=4.0)

    def filmed() -> Tensor:
        (latents,) = chunks_of(guided, lambda k: noise, scheduler.sigmas, 1, steps_per_chunk=8)
        return latents

    assert expected.std() > 0.1
    close(filmed(), expected, rounding(filmed, ours, noise, texts))


def test_published_size() -> None:
    """The network of SANA-Video_2B_480p_diffusers, as scripts/convert_sana_video_to_diffusers.py of diffusers'
    repository makes it, becomes ours."""
    config = json.loads((CONFIGS / "sana-video-2b-480p.json").read_bytes())["transformer"]
    with torch.device("meta"):
        network = per_frame_timesteps(SanaVideoTransformer3DModel.from_config(config))
        latents, text = torch.empty(1, 16, 2, 4, 4), torch.empty(1, 3, 2304)
        mask = torch.ones(1, 3, dtype=torch.bool)
        assert velocity(network, latents, torch.empty(1, 2), text, mask).shape == latents.shape
    assert sum(parameter.numel() for parameter in network.parameters()) == 2_056_862_144
