"""The Cosmos 3 adapter on a tiny real network: against diffusers' own, and against its pipeline.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D network width
"""

import copy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import Cosmos3OmniPipeline, Cosmos3OmniTransformer, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from filming import chunks_of
from longtake import LongTake
from longtake.errors import ModelError, OptionError
from longtake.guidance import guided_velocity
from longtake.models.load import load_encoders, load_model, read_spec
from longtake.models.nvidia import cosmos3_text
from longtake.models.nvidia.cosmos3 import Cosmos3Model, per_frame_times
from longtake.models.nvidia.cosmos3_text import Cosmos3PromptEncoder
from longtake.models.text import Text
from nvidia import save_cosmos_3, tiny_cosmos3, tiny_wan_2_2_vae, words
from portable import close, rounding

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

FPS, PATCHES = 16.0, 6


@pytest.fixture(scope="module")
def stock() -> Cosmos3OmniTransformer:
    return tiny_cosmos3()


@pytest.fixture(scope="module")
def ours(stock: Cosmos3OmniTransformer) -> Cosmos3OmniTransformer:
    return per_frame_times(copy.deepcopy(stock))


@pytest.fixture(scope="module")
def pipeline(stock: Cosmos3OmniTransformer) -> Cosmos3OmniPipeline:
    parts = (stock, words(""), tiny_wan_2_2_vae(), FlowMatchEulerDiscreteScheduler(shift=10.0))
    pipeline = Cosmos3OmniPipeline(*parts, enable_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def window(frames: int) -> tuple[Tensor, Tensor, list[int]]:
    """Latents (1, 4, F, 4, 6), unequal timesteps (1, F), the first one clean, and numbers of words."""
    timestep = torch.rand(1, frames) * 1000
    timestep[:, 0] = 0
    return torch.randn(1, 4, frames, 4, 6), timestep, [3, 8, 9, 5]


def run_stock(pipeline: Cosmos3OmniPipeline, latents: Tensor, timestep: Tensor, ids: list[int]) -> Tensor:
    """As its pipeline calls it, with a time for each patch."""
    text = pipeline._prepare_text_segment(ids, "cpu")
    known = [int(i) for i in (timestep[0] == 0).nonzero()]
    place = (text["vision_start_temporal_offset"], FPS, text["und_len"], "cpu", known)
    vision = pipeline._prepare_vision_segment(latents, bool(known), *place)
    places = torch.cat([text["text_mrope_ids"], vision["vision_mrope_ids"]], dim=1)
    told = (
        "vision_token_shapes",
        "vision_sequence_indexes",
        "vision_mse_loss_indexes",
        "vision_noisy_frame_indexes",
    )
    velocity: Tensor = pipeline.transformer(
        text["input_ids"],
        text["text_indexes"],
        places,
        text["und_len"],
        len(places[0]),
        [latents],
        vision_timesteps=timestep[timestep > 0].repeat_interleave(PATCHES),
        **{name: vision[name] for name in told},
        return_dict=False,
    )[0][0]
    return velocity


def run(network: Cosmos3OmniTransformer, latents: Tensor, timestep: Tensor, ids: list[int]) -> Tensor:
    """Behind its words, others that are none."""
    words = network.embed_tokens(torch.tensor([[*ids, 7, 7]]))
    mask = torch.tensor([[True] * len(ids) + [False] * 2])
    return Cosmos3Model.network_velocity(network, latents, timestep, Text(words, mask), FPS)


def test_per_frame_equals_untouched_cosmos(
    ours: Cosmos3OmniTransformer, pipeline: Cosmos3OmniPipeline
) -> None:
    """Unequal times, a clean frame among them; equal ones too. What a frame's time is does matter."""
    latents, timestep, ids = window(5)
    tolerance = rounding(lambda: run(ours, latents, timestep, ids), ours, latents, timestep)
    expected = run_stock(pipeline, latents, timestep, ids)[:, :, 1:]
    close(run(ours, latents, timestep, ids)[:, :, 1:], expected, tolerance)
    assert (run(ours, latents, timestep + 50, ids)[:, :, 1:] - expected).abs().max() > 10 * tolerance
    level = torch.full_like(timestep, 531.25)
    close(run(ours, latents, level, ids), run_stock(pipeline, latents, level, ids), tolerance)


def test_rows_are_by_themselves(ours: Cosmos3OmniTransformer) -> None:
    """Texts of different lengths in one call, as guidance makes it."""
    latents, timestep, _ = window(3)
    rows = [[3, 8, 9, 5], [3, 4]]
    told = [ours.embed_tokens(torch.tensor([ids + [0] * (4 - len(ids))])) for ids in rows]
    text = Text(torch.cat(told), torch.tensor([[True] * 4, [True, True, False, False]]))
    twice = latents.repeat(2, 1, 1, 1, 1), timestep.repeat(2, 1)
    both = Cosmos3Model.network_velocity(ours, *twice, text, FPS)
    for i, ids in enumerate(rows):
        tolerance = rounding(partial(run, ours, latents, timestep, ids), ours, latents, timestep)
        close(both[i : i + 1], run(ours, latents, timestep, ids), tolerance)


def test_a_frame_is_told_of_its_own_time_alone(
    ours: Cosmos3OmniTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another time for frame 3 changes the patches of frame 3, and a time is embedded once a frame."""
    latents, timestep, ids = window(5)
    told, embedded = list[Tensor](), list[Tensor]()
    stack = ours._run_decoder_stack

    def watched(words: Tensor, patches: Tensor, turns: Any) -> Any:
        told.append(patches)
        return stack(words, patches, turns)

    monkeypatch.setattr(ours, "_run_decoder_stack", watched)
    hook = ours.time_embedder.register_forward_pre_hook(lambda module, args: embedded.append(args[0]))
    run(ours, latents, timestep, ids)
    timestep[:, 3] += 50
    run(ours, latents, timestep, ids)
    hook.remove()
    moved = (told[1] - told[0]).abs().amax(dim=1).unflatten(0, (5, PATCHES)).amax(dim=1)
    assert embedded[0].shape[0] == 5
    assert moved[3] > 0 == moved[[0, 1, 2, 4]].max()


def test_gradients_and_names(stock: Cosmos3OmniTransformer, tmp_path: Path) -> None:
    """Gradients reach what reads words and what makes pictures; weights keep their names."""
    ours = per_frame_times(per_frame_times(copy.deepcopy(stock))).requires_grad_(True).train()
    latents, timestep, ids = window(3)
    ours.enable_gradient_checkpointing()
    run(ours, latents, timestep, ids).square().mean().backward()
    assert all(layer.self_attn.to_k.weight.grad.any() for layer in ours.layers)
    ours.save_pretrained(tmp_path)
    saved = Cosmos3OmniTransformer.from_pretrained(tmp_path)
    assert all(torch.equal(saved.state_dict()[name], weight) for name, weight in stock.state_dict().items())


def test_lockstep_equals_its_pipeline(
    ours: Cosmos3OmniTransformer, pipeline: Cosmos3OmniPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One window, all levels equal, prompts and all, is Cosmos3OmniPipeline: its latents to rounding."""
    noise = torch.randn(1, 4, 3, 4, 6)
    expected = pipeline(
        "a red car.",
        "a blue bus",
        num_frames=9,
        height=64,
        width=96,
        fps=FPS,
        latents=noise,
        num_inference_steps=8,
        guidance_scale=4.0,
        output_type="latent",
    ).video
    monkeypatch.setattr(cosmos3_text, "CLIP_FRAMES", 9)
    own = SimpleNamespace(height=64, width=96, fps=FPS)
    spec: Any = SimpleNamespace(name="tiny", max_prompt_tokens=120, defaults=own)
    reader = Cosmos3PromptEncoder(spec, {"text_tokenizer": pipeline.text_tokenizer})
    numbers = reader.encode(["a red car."]), reader.encode_negative(["a blue bus"])
    cond, uncond = (Text(ours.embed_tokens(text.states[..., 0].long()), text.mask) for text in numbers)

    def velocity(latents: Tensor, sigma: Tensor, text: Text) -> Tensor:
        timestep = (sigma * 1000).expand(latents.shape[0], -1)
        return Cosmos3Model.network_velocity(ours, latents, timestep, text, FPS)

    guided = guided_velocity(velocity, [cond], [uncond], guidance_scale=4.0)

    def filmed() -> Tensor:
        (latents,) = chunks_of(guided, lambda k: noise, pipeline.scheduler.sigmas, 1, steps_per_chunk=8)
        return latents

    assert expected.std() > 0.1
    close(filmed(), expected, rounding(filmed, ours, noise))
    with pytest.raises(OptionError, match=r"with those of the chat .* tiny takes 120"):
        reader.check_length("car " * 100)


def test_a_folder_to_a_film(wan_folder: Path, tmp_path: Path) -> None:
    """A model without a text encoder, whose sound is left out; it cannot be trained."""
    folder = save_cosmos_3(wan_folder, tmp_path / "cosmos3")
    spec = read_spec(folder)
    own = spec.defaults
    assert (own.width, own.height, own.fps, own.shift, own.guidance_scale) == (1280, 720, 24, 10.0, 6.0)
    assert (spec.alignment, spec.text_per_latent, spec.schedule) == (16, False, "flow")
    small: dict[str, Any] = {
        "num_inference_steps": 4,
        "steps_per_chunk": 2,
        "chunk_size": 1,
        "context_size": 1,
    }
    model = load_model(folder)
    short, empty = model.encode_prompt(["a"]), model.encode_prompt([""], negative=True)
    assert torch.equal(short.emptied(empty).zero_padded(), empty.zero_padded())
    film = LongTake(model).generate("a red car", num_frames=21, width=64, height=48, **small)
    assert film.shape == (21, 48, 64, 3) and film.std() > 0
    with pytest.raises(ModelError, match="cannot be trained here yet"):
        load_encoders(folder).encode_prompt(["a red car"])
