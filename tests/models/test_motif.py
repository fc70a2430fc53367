"""Motif-Video against stock diffusers: the same network, but a timestep for each latent frame.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, MotifVideoPipeline, MotifVideoTransformer3DModel
from diffusers.guiders import ClassifierFreeGuidance
from torch import Tensor

from filming import chunks_of
from longtake.guidance import guided_velocity
from longtake.models.joint.motif import MotifVideoModel
from longtake.models.joint.tokens import with_text
from longtake.models.load import load_model
from longtake.models.text import Text
from more_folders import TEXT_WIDTH, motif_network, save_motif
from portable import close, rounding

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stock() -> MotifVideoTransformer3DModel:
    return motif_network()


@pytest.fixture(scope="module")
def ours(stock: MotifVideoTransformer3DModel) -> Any:
    return MotifVideoModel.prepared(copy.deepcopy(stock))


def window(batch: int) -> tuple[Tensor, Tensor, Text]:
    """Latents (B, 4, 3, 4, 6), unequal timesteps (B, 3), and text of 5 tokens and fewer."""
    mask = torch.arange(5) < torch.arange(5, 5 - batch, -1)[:, None]
    return (
        torch.randn(batch, 4, 3, 4, 6),
        torch.rand(batch, 3) * 1000,
        Text(torch.randn(batch, 5, TEXT_WIDTH), mask),
    )


@torch.no_grad()
def test_equal_timesteps_are_one_for_the_clip(stock: Any, ours: Any) -> None:
    """What stock makes at one timestep, to rounding; and it still takes one a clip."""
    latents, timestep, text = window(2)
    timestep = timestep[:, :1].expand(-1, 3)
    told = torch.cat([latents, torch.zeros(2, 5, 3, 4, 6)], dim=1)
    (expected,) = stock(told, timestep[:, 0], text.zero_padded(), text.mask, return_dict=False)

    def made() -> Tensor:
        return MotifVideoModel.network_velocity(ours, latents, timestep, text, 24)

    tolerance = rounding(made, ours, latents, text.states)
    close(made(), expected, tolerance)
    (clip,) = ours(told, timestep[:, 0], text.zero_padded(), text.mask, return_dict=False)
    close(clip, expected, tolerance)
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert MotifVideoModel.prepared(ours) is ours


@torch.no_grad()
def test_one_frame_is_told_its_level_alone(ours: Any) -> None:
    """Every block modulates the frame whose timestep changes, and no other, and the text by the mean."""
    latents, timestep, text = window(1)
    seen: list[Tensor] = []
    hook = ours.time_text_embed.register_forward_hook(lambda module, args, made: seen.append(made))
    for level in (300.0, 700.0):
        timestep[:, 1] = level
        MotifVideoModel.network_velocity(ours, latents, timestep, text, 24)
    hook.remove()
    moved = (seen[0] - seen[1]).abs().amax((0, 2))
    assert seen[0].shape == (1, 4, 24)
    assert (moved > 0).tolist() == [True, False, True, False]
    assert torch.equal(with_text(timestep)[:, 1:], timestep)


@torch.no_grad()
def test_modulations_are_held_a_frame(ours: Any) -> None:
    """Of 1 + F rows, never a token's: in blocks of both kinds, in those that see frames, and at the end."""
    latents, timestep, text = window(1)
    rows: list[int] = []
    norms = [
        ours.transformer_blocks[0].norm1,
        *(b.norm for b in ours.single_transformer_blocks),
        ours.norm_out,
    ]
    hooks = [
        norm.linear.register_forward_hook(lambda m, a, made: rows.append(made[..., 0].numel()))
        for norm in norms
    ]
    MotifVideoModel.network_velocity(ours, latents, timestep, text, 24)
    for hook in hooks:
        hook.remove()
    assert rows == [3, 3, 1, 3, 3, 3, 3, 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_motif(tmp_path_factory.mktemp("motif"))


def test_lockstep_equals_its_pipeline(folder: Path) -> None:
    """One window of equal levels: MotifVideoPipeline's latents to rounding, prompts encoded and guided."""
    model = load_model(folder)
    assert isinstance(model, MotifVideoModel)
    stock = MotifVideoTransformer3DModel.from_pretrained(folder / "transformer")
    pipeline = MotifVideoPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=model.vae,
        text_encoder=model.text_encoder.parts["text_encoder"],
        tokenizer=model.text_encoder.tokenizer,
        transformer=stock,
        guider=ClassifierFreeGuidance(guidance_scale=4.0),
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 3, 4, 6)
    expected = pipeline(
        "a red car",
        negative_prompt="a bus",
        height=32,
        width=48,
        num_frames=9,
        num_inference_steps=6,
        latents=noise,
        max_sequence_length=12,
        output_type="latent",
    ).frames
    text, other = model.encode_prompt(["a red car"]), model.encode_prompt(["a bus"])
    velocity = guided_velocity(model.velocity, [text], [other], guidance_scale=4.0)

    def filmed() -> Tensor:
        (latents,) = chunks_of(velocity, lambda k: noise, pipeline.scheduler.sigmas, 1, steps_per_chunk=6)
        return latents

    close(filmed(), expected, rounding(filmed, model.transformer, noise, text.states, other.states))


def test_a_film_of_it(folder: Path, cli: Callable[..., Any]) -> None:
    size = ("--size", "48x32", "--frames", "9", "--steps", "4", "--steps-per-chunk", "2", "--context", "1")
    made = cli("generate", "a red car", "--model", folder, "-o", "film.mp4", *size)
    assert made.code == 0, made.err


def test_at_its_published_size() -> None:
    """12 blocks of two streams, 16 of one and 8 that see frames, as diffusers' page tells."""
    with torch.device("meta"):
        network = MotifVideoModel.prepared(
            MotifVideoTransformer3DModel(num_layers=12, num_single_layers=24, num_decoder_layers=8)
        )
    assert [block.sees_frames for block in network.single_transformer_blocks] == [False] * 16 + [True] * 8
