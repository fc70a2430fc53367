"""The Cosmos adapter on tiny real networks: against diffusers' own, and against its pipelines.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width
"""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    Cosmos2_5_PredictBasePipeline,
    Cosmos2VideoToWorldPipeline,
    CosmosTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
)
from PIL import Image
from torch import Tensor

from filming import chunks_of
from longtake.guidance import guided_velocity
from longtake.models.nvidia.cosmos import KNOWN, CosmosModel, per_frame_times
from longtake.models.text import Text
from longtake.schedules import SCHEDULES
from longtake.solvers import SOLVERS
from nvidia import TEXT_WIDTH, StandIn, let_stock_cosmos_run, tiny_cosmos, wide_karras
from portable import close, rounding

# diffusers' schedulers make arrays of tensors in a way that numpy will give up.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

WIDE, FPS = 48, 16
CONFIGS = Path(__file__).parents[1] / "data" / "configs"


@pytest.fixture(autouse=True)
def _stock_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    let_stock_cosmos_run(monkeypatch)


@pytest.fixture(scope="module", params=[False, True], ids=["2", "2.5"])
def stock(request: pytest.FixtureRequest) -> CosmosTransformer3DModel:
    """Of Predict 2, or of 2.5, which projects wider text states."""
    return tiny_cosmos(projected=request.param)


def window(stock: CosmosTransformer3DModel, batch: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents (B, 4, F, 4, 6), unequal timesteps (B, F), the first two clean, and text (B, 5, D)."""
    width = WIDE if stock.config.use_crossattn_projection else TEXT_WIDTH
    timestep = torch.rand(batch, frames) * 1000
    timestep[:, :2] = 0
    return torch.randn(batch, 4, frames, 4, 6), timestep, torch.randn(batch, 5, width)


def run_stock(stock: CosmosTransformer3DModel, latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
    """As its pipelines call it, with a time for each latent frame."""
    known = (timestep == 0).float()[:, None, :, None, None]
    velocity: Tensor = stock(
        latents,
        (timestep / 1000)[:, None, :, None, None] * (1 - known) + KNOWN * known,
        text,
        fps=None if stock.config.use_crossattn_projection else FPS,
        condition_mask=known.expand(-1, -1, -1, *latents.shape[3:]),
        padding_mask=torch.zeros(1, 1, 32, 48),
        return_dict=False,
    )[0]
    return velocity


def test_per_frame_equals_untouched_cosmos(stock: CosmosTransformer3DModel) -> None:
    """Unequal times, clean latents among them; equal ones too. What a frame's time is does matter."""
    ours = per_frame_times(copy.deepcopy(stock))
    latents, timestep, text = window(stock, 2, 5)
    tolerance = rounding(lambda: ours(latents, timestep, text, FPS), ours, latents, timestep, text)
    expected = run_stock(stock, latents, timestep, text)
    close(ours(latents, timestep, text, FPS), expected, tolerance)
    assert (ours(latents, timestep + 1, text, FPS) - expected).abs().max() > 10 * tolerance
    level = torch.full_like(timestep, 531.25)
    close(ours(latents, level, text, FPS), run_stock(stock, latents, level, text), tolerance)


def test_a_frame_is_told_of_its_own_time_alone(stock: CosmosTransformer3DModel) -> None:
    """Another time for frame 3 changes the modulations of frame 3; none of them is repeated over tokens."""
    ours = per_frame_times(copy.deepcopy(stock))
    latents, timestep, text = window(stock, 1, 5)
    told: list[Tensor] = []
    for block in ours.transformer_blocks:
        block.register_forward_pre_hook(lambda block, args: told.append(args[3]))
    ours(latents, timestep, text, FPS)
    timestep[:, 3] += 50
    ours(latents, timestep, text, FPS)
    moved = (told[2] - told[0]).abs().amax((0, 2, 3))
    assert told[0].shape == (1, 5, 1, 96)
    assert moved[3] > 0 == moved[[0, 1, 2, 4]].max()


def test_a_text_a_frame(stock: CosmosTransformer3DModel) -> None:
    """The same text for every frame is as one for the clip; another from frame 3 on moves most where it is said."""
    ours = per_frame_times(copy.deepcopy(stock))
    latents, timestep, text = window(stock, 2, 5)
    one = ours(latents, timestep, text, FPS)
    each = text[:, None].repeat(1, 5, 1, 1)
    tolerance = rounding(lambda: ours(latents, timestep, text, FPS), ours, latents, text)
    close(ours(latents, timestep, each, FPS), one, tolerance)
    each[:, 3:] = torch.randn(2, 2, *text.shape[1:])
    moved = (ours(latents, timestep, each, FPS) - one).abs().amax((0, 1, 3, 4))
    assert moved[3:].min() > 2 * moved[:3].max() > 0


def test_gradients_and_checkpointing(stock: CosmosTransformer3DModel) -> None:
    """Gradients are those of stock Cosmos, and the same with gradient checkpointing."""
    latents, timestep, text = window(stock, 1, 3)

    def gradient(model: CosmosTransformer3DModel, velocity: Tensor) -> Tensor:
        model.zero_grad()
        velocity.square().mean().backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    stock = copy.deepcopy(stock).train().requires_grad_(True)
    expected = gradient(stock, run_stock(stock, latents, timestep, text))
    ours = per_frame_times(copy.deepcopy(stock))

    def found() -> Tensor:
        return gradient(ours, ours(latents, timestep, text, FPS))

    plain = found()
    close(plain, expected, rounding(found, ours, latents, timestep, text))
    ours.enable_gradient_checkpointing()
    assert torch.equal(found(), plain)


def test_weights_keep_their_names(stock: CosmosTransformer3DModel, tmp_path: Path) -> None:
    """What is trained through the adapter is saved as a plain diffusers model; patching twice is as once."""
    ours = per_frame_times(per_frame_times(copy.deepcopy(stock)))
    ours.save_pretrained(tmp_path / "ours")
    stock.save_config(tmp_path)
    assert (tmp_path / "ours" / "config.json").read_bytes() == (tmp_path / "config.json").read_bytes()
    saved = CosmosTransformer3DModel.from_pretrained(tmp_path / "ours")
    assert all(torch.equal(saved.state_dict()[name], weight) for name, weight in stock.state_dict().items())


def test_lockstep_equals_predict_2() -> None:
    """One window behind a photo, all levels equal: the pipeline's latents to rounding, EDM and all. Its guidance counts
    from 0 what is counted from 1 here. As released, its last step moves nothing; it is let go to 0 like ours."""
    stock = tiny_cosmos(projected=False)
    pipeline = Cosmos2VideoToWorldPipeline(
        None, None, stock, tiny_vae(), FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True), StandIn()
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler.register_to_config(final_sigmas_type="zero")
    given: list[Tensor] = []
    hook = stock.register_forward_pre_hook(
        lambda module, args, kwargs: given.append(kwargs["hidden_states"][:, :, :1]), with_kwargs=True
    )
    noise, text, null_text = torch.randn(1, 4, 3, 4, 6), *torch.randn(2, 1, 5, TEXT_WIDTH)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8))
    expected = pipeline(
        image=photo,
        prompt_embeds=text,
        negative_prompt_embeds=null_text,
        height=32,
        width=48,
        num_frames=9,
        latents=noise,
        num_inference_steps=8,
        guidance_scale=3.0,
        fps=FPS,
        output_type="latent",
    ).frames[:, :, 1:]
    hook.remove()
    sigmas = table(8, "karras")
    filmed = filming(stock, sigmas, noise[:, :, 1:] * sigmas[0], (text, null_text), given[0], "euler")
    assert expected.std() > 0.1
    close(filmed(), expected, rounding(filmed, stock, noise, text, null_text))


def test_lockstep_equals_predict_2_5() -> None:
    """One window from noise alone, all levels equal, its own solver: the pipeline's latents to rounding."""
    stock = tiny_cosmos(projected=True)
    scheduler = wide_karras()
    pipeline = Cosmos2_5_PredictBasePipeline(None, None, stock, tiny_vae(), scheduler, StandIn())
    pipeline.set_progress_bar_config(disable=True)
    noise, text, null_text = torch.randn(1, 4, 3, 4, 6), *torch.randn(2, 1, 5, WIDE)
    expected = pipeline(
        prompt_embeds=text,
        negative_prompt_embeds=null_text,
        height=32,
        width=48,
        num_frames=9,
        latents=noise,
        num_inference_steps=8,
        guidance_scale=3.0,
        output_type="latent",
    ).frames
    filmed = filming(stock, table(8, "karras-200"), noise, (text, null_text), None, "unipc")
    assert expected.std() > 0.1
    close(filmed(), expected, rounding(filmed, stock, noise, text, null_text))


def table(steps: int, schedule: str) -> Tensor:
    """The noise levels of a film."""
    return torch.tensor([*SCHEDULES[schedule].levels(steps, 1.0), 0.0])


def filming(
    stock: CosmosTransformer3DModel,
    sigmas: Tensor,
    noise: Tensor,
    texts: tuple[Tensor, Tensor],
    known: Tensor | None,
    solver: str,
) -> Any:
    """A film of one chunk, guided by 4, behind what is known."""
    ours = per_frame_times(copy.deepcopy(stock))

    def velocity(latents: Tensor, sigma: Tensor, text: Text) -> Tensor:
        timestep = (sigma * 1000).expand(latents.shape[0], -1)
        return CosmosModel.network_velocity(ours, latents, timestep, text, FPS)

    told, null_told = ([Text.of_zero_padded(states)] for states in texts)
    guided = guided_velocity(velocity, told, null_told, guidance_scale=4.0)

    def filmed() -> Tensor:
        steps = len(sigmas) - 1
        size = 0 if known is None else known.shape[2]
        (latents,) = chunks_of(guided, lambda k: noise, sigmas, 1, steps, known, size, solver=SOLVERS[solver])
        return latents

    return filmed


def tiny_vae() -> AutoencoderKLWan:
    torch.manual_seed(1)
    return AutoencoderKLWan(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cosmos-predict2-2b", 1_956_413_440),
        ("cosmos-predict2-14b", 14_265_285_632),
        ("cosmos-predict2.5-2b", 2_059_174_912),
        ("cosmos-predict2.5-14b", 14_368_047_104),
    ],
)
def test_published_sizes(name: str, parameters: int) -> None:
    """The networks of NVIDIA's Video2World and Predict 2.5 folders, as scripts/convert_cosmos_to_diffusers.py of
    diffusers' repository makes them, become ours."""
    config = json.loads((CONFIGS / f"{name}.json").read_bytes())["transformer"]
    with torch.device("meta"):
        network = per_frame_times(CosmosTransformer3DModel.from_config(config))
        width = 100352 if network.config.use_crossattn_projection else 1024
        latents, text = torch.empty(1, 16, 2, 4, 4), torch.empty(1, 3, width)
        assert network(latents, torch.empty(1, 2), text, FPS).shape == latents.shape
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
