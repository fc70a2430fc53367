"""The Wan adapter against stock diffusers: the same network, but a timestep for each latent frame.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D network width, P tokens a
frame
"""

import copy
import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline, WanTransformer3DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from filming import chunks_of
from longtake.errors import OptionError
from longtake.guidance import guided_velocity
from longtake.models.text import Text
from longtake.models.wan.model import WanModel, per_frame_timesteps
from portable import close, rounding

pytestmark = pytest.mark.slow

TEXT_WIDTH = 16


@pytest.fixture(scope="module")
def stock(wan_folder: Path) -> WanTransformer3DModel:
    """Copied out of the mapped file: how matrix products round depends on how weights lie in memory."""
    return copy.deepcopy(WanTransformer3DModel.from_pretrained(wan_folder, subfolder="transformer"))


@pytest.fixture(scope="module")
def ours(stock: WanTransformer3DModel) -> WanTransformer3DModel:
    return per_frame_timesteps(copy.deepcopy(stock))


@pytest.fixture(scope="module")
def pipeline(wan_folder: Path) -> WanPipeline:
    pipeline = WanPipeline.from_pretrained(wan_folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class NumbersMade(TorchDispatchMode):
    """Counts the numbers that all operations write: what a path costs, without a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not func.is_view:
            self.count += result.numel()
        return result


def window(batch: int, frames: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents (B, 4, F, H, W), unequal timesteps (B, F) and text (B, 5, D)."""
    latents = torch.randn(batch, 4, frames, height, width)
    return latents, torch.rand(batch, frames) * 1000, torch.randn(batch, 5, TEXT_WIDTH)


def per_token(timestep: Tensor, latents: Tensor) -> Tensor:
    """Each frame's timestep repeated over its 2 × 2 patches: (B, F * P), as stock Wan takes it."""
    return timestep.repeat_interleave(latents[0, 0, 0].numel() // 4, dim=1)


def run(transformer: WanTransformer3DModel, latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
    velocity: Tensor = transformer(latents, timestep, text, return_dict=False)[0]
    return velocity


def live_tensors() -> tuple[int, int]:
    """How many plain tensors Python holds, and their bytes."""
    gc.collect()
    tensors = [entry for entry in gc.get_objects() if type(entry) is Tensor]
    return len(tensors), sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def shared_time_embedding(stock: WanTransformer3DModel, ours: WanTransformer3DModel, timestep: Tensor) -> Any:
    """Make stock Wan repeat the rows that ours embeds: products of F * P and of F rows may round apart."""

    def embed(module: Any, args: tuple[Tensor, ...], output: tuple[Any, ...]) -> tuple[Any, ...]:
        rows = ours.condition_embedder(timestep.flatten(), args[1], timestep_seq_len=timestep.shape[1])[:2]
        tokens = output[0].shape[1] // timestep.shape[1]
        return *(row.repeat_interleave(tokens, dim=1) for row in rows), *output[2:]

    return stock.condition_embedder.register_forward_hook(embed)


@torch.no_grad()
@settings(max_examples=20, deadline=None)
@given(
    batch=st.integers(1, 3), frames=st.integers(1, 9), half=st.tuples(st.integers(1, 4), st.integers(1, 4))
)
def test_per_frame_equals_per_token_bit_for_bit(
    stock: WanTransformer3DModel, ours: WanTransformer3DModel, batch: int, frames: int, half: tuple[int, int]
) -> None:
    """Unequal noise levels, windows of any size: blocks and head give stock Wan's result, no bit differs."""
    latents, timestep, text = window(batch, frames, 2 * half[0], 2 * half[1])
    hook = shared_time_embedding(stock, ours, timestep)
    expected = run(stock, latents, per_token(timestep, latents), text)
    hook.remove()
    assert (run(ours, latents, timestep, text) - expected).abs().max() == 0


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1, 4, 4), (2, 5, 8, 4), (1, 13, 4, 6), (3, 7, 2, 2)])
def test_per_frame_equals_untouched_wan(
    stock: WanTransformer3DModel, ours: WanTransformer3DModel, size: tuple[int, int, int, int]
) -> None:
    """With stock Wan's own timestep embedding only rounding is left; unequal timesteps do matter."""
    latents, timestep, text = window(*size)
    expected = run(stock, latents, per_token(timestep, latents), text)
    tolerance = rounding(lambda: run(ours, latents, timestep, text), ours, latents, timestep, text)
    close(run(ours, latents, timestep, text), expected, tolerance)
    assert (run(ours, latents, timestep.flip(0, 1) + 1, text) - expected).abs().max() > 10 * tolerance


@torch.no_grad()
def test_one_timestep_a_clip_or_a_token_still_works(
    stock: WanTransformer3DModel, ours: WanTransformer3DModel
) -> None:
    """A model that was given per-frame timesteps can still be put into a stock pipeline."""
    latents, timestep, text = window(2, 3, 4, 6)
    tokens = torch.rand(2, 18) * 1000
    assert torch.equal(run(ours, latents, timestep[:, 0], text), run(stock, latents, timestep[:, 0], text))
    assert torch.equal(run(ours, latents, tokens, text), run(stock, latents, tokens, text))


@torch.no_grad()
def test_cost_is_that_of_one_timestep(stock: WanTransformer3DModel, ours: WanTransformer3DModel) -> None:
    """Modulations are (B, F, 6, D), not (B, F * P, 6, D); a pass writes what it does with one timestep."""
    latents, timestep, text = window(1, 8, 16, 16)
    shapes = []
    hooks = [
        block.register_forward_pre_hook(lambda block, args: shapes.append(tuple(args[2].shape)))
        for block in ours.blocks
    ]
    counts = []
    for model, time in ((stock, timestep[:, 0]), (ours, timestep), (stock, per_token(timestep, latents))):
        with NumbersMade() as made:
            run(model, latents, time, text)
        counts.append(made.count)
    for hook in hooks:
        hook.remove()
    assert shapes == [(1, 8, 6, 24)] * 2
    clip, frames, tokens = counts
    assert frames < 1.02 * clip
    assert tokens > 1.1 * clip


def test_gradients_equal_those_of_stock_wan(stock: WanTransformer3DModel) -> None:
    """Training through per-frame timesteps gives stock Wan's gradients, with gradient checkpointing too."""
    latents, timestep, text = window(2, 4, 4, 4)

    def gradient(model: WanTransformer3DModel, timestep: Tensor) -> Tensor:
        model.zero_grad()
        run(model, latents, timestep, text).square().mean().backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    gradients = []
    for frame, checkpointed in ((False, False), (True, False), (True, True)):
        model = copy.deepcopy(stock).train()
        if frame:
            per_frame_timesteps(model)
        if checkpointed:
            model.enable_gradient_checkpointing()
        gradients.append(gradient(model, timestep if frame else per_token(timestep, latents)))
    tolerance = rounding(lambda: gradient(model, timestep), model, latents, timestep, text)
    assert tolerance < 0.01 * gradients[0].abs().max()
    close(gradients[1], gradients[0], tolerance)
    assert torch.equal(gradients[2], gradients[1])


def test_weights_keep_their_names(
    stock: WanTransformer3DModel, ours: WanTransformer3DModel, tmp_path: Path
) -> None:
    """What is trained through the adapter is saved as a plain diffusers model; patching twice is as once."""
    assert per_frame_timesteps(ours) is ours
    assert len(ours.proj_out._forward_pre_hooks) == 1
    assert type(ours.blocks[0]).__name__ == "WanTransformerBlock"
    assert list(ours.state_dict()) == list(stock.state_dict())
    ours.save_pretrained(tmp_path)
    saved = WanTransformer3DModel.from_pretrained(tmp_path)
    assert all(torch.equal(saved.state_dict()[name], weight) for name, weight in stock.state_dict().items())


@torch.no_grad()
def test_timesteps_stay_float32(wan_folder: Path, wan_model: WanModel) -> None:
    """bfloat16 has no 999: weights in bfloat16 must not round the timestep to 1000."""
    from longtake.models.load import load_model

    model = load_model(wan_folder, dtype="bfloat16")
    assert isinstance(model, WanModel)
    seen: list[Tensor] = []
    model.transformer.condition_embedder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    sigma = torch.tensor([0.999, 0.3330, 0.0])
    text = Text.of_zero_padded(torch.randn(2, 5, TEXT_WIDTH))
    velocity = model.velocity(torch.randn(2, 4, 3, 4, 4), sigma, text)
    assert (model.dtype, velocity.dtype, seen[0].dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert torch.equal(seen[0], (sigma * 1000).repeat(2))


def test_velocity_takes_levels_for_all_or_for_each(wan_model: WanModel) -> None:
    """(F,) is for every row of the batch, (B, F) is each row's own."""
    latents, states, sigma = torch.randn(2, 4, 3, 4, 4), torch.randn(2, 5, TEXT_WIDTH), torch.rand(2, 3)
    text = Text.of_zero_padded(states)
    each = wan_model.velocity(latents, sigma, text)
    tolerance = rounding(
        lambda: wan_model.velocity(latents, sigma, text), wan_model.transformer, latents, sigma, states
    )
    assert each.shape == latents.shape
    for row in range(2):
        close(wan_model.velocity(latents, sigma[row], text)[row], each[row], tolerance)


@pytest.mark.parametrize("prompt", ["a red car", "", "  A&amp;amp;B \n driving,  past  ", "zebra zebra"])
def test_prompts_are_encoded_as_in_wan_pipeline(
    wan_model: WanModel, pipeline: WanPipeline, prompt: str
) -> None:
    """Cleaned, padded, zero beyond the prompt's tokens: as WanPipeline does it."""
    length = wan_model.spec.max_prompt_tokens
    text = wan_model.encode_prompt([prompt, "a bus at dawn"])
    assert text.states.shape == (2, length, TEXT_WIDTH)
    with torch.no_grad():
        expected = pipeline.encode_prompt([prompt, "a bus at dawn"], max_sequence_length=length)[0]

    def encoded() -> Tensor:
        return wan_model.encode_prompt([prompt, "a bus at dawn"]).zero_padded()

    close(encoded(), expected, rounding(encoded, wan_model.text_encoder.parts["text_encoder"]))
    assert not text.mask[1, 5:].any() and text.mask[1, :5].all()


def test_empty_prompt_is_all_zero_without_an_end_token(tubelet_model: WanModel) -> None:
    """With no token at all, attention over nothing must not leak NaN into the unguided half."""
    assert torch.equal(tubelet_model.encode_prompt([""]).zero_padded(), torch.zeros(1, 12, TEXT_WIDTH))


def test_a_prompt_that_is_too_long_is_refused(wan_model: WanModel) -> None:
    """Cutting a prompt silently films something else: say how long it is, how much fits, where that ends."""
    prompt = "a red car driving past snowy mountains at dawn, a blue bus at night"
    with pytest.raises(
        OptionError, match=r"16 tokens long, wan\d+ takes 12: .* 49 of 67 characters .*dawn, a\""
    ) as error:
        wan_model.encode_prompt(["a car", prompt])
    assert "\n" not in str(error.value)


def test_unknown_words(wan_model: WanModel) -> None:
    """Words outside the vocabulary are named once, as written; marks are not words, case does not matter."""
    assert wan_model.unknown_words("A Purple car, purple! Purple zeppelin driving") == [
        "Purple",
        "purple",
        "zeppelin",
    ]
    assert wan_model.unknown_words("a red car") == []


def test_lockstep_equals_wan_pipeline(wan_model: WanModel, pipeline: WanPipeline) -> None:
    """One window, all levels equal, is ordinary video diffusion: WanPipeline's latents to rounding."""
    noise = torch.randn(1, 4, 3, 4, 6)
    settings = {"num_inference_steps": 8, "guidance_scale": 4.0, "max_sequence_length": 12}
    expected = pipeline(
        "a red car", height=32, width=48, num_frames=9, latents=noise, output_type="latent", **settings
    ).frames
    text, null_text = wan_model.encode_prompt(["a red car"]), wan_model.encode_prompt([""])
    velocity = guided_velocity(wan_model.velocity, [text], [null_text], guidance_scale=4.0)

    def filmed() -> Tensor:
        (latents,) = chunks_of(velocity, lambda k: noise, pipeline.scheduler.sigmas, 1, steps_per_chunk=8)
        return latents

    assert expected.std() > 0.1
    close(filmed(), expected, rounding(filmed, wan_model.transformer, noise, text.states, null_text.states))


def test_live_memory_stays_flat(wan_model: WanModel) -> None:
    """A hundred chunks, filmed and decoded, leave no more tensors behind than those that fill the decoder's reach."""
    text = wan_model.encode_prompt(["a red car"])
    nothing = Text.of_zero_padded(torch.zeros_like(text.states))
    velocity = guided_velocity(wan_model.velocity, [text], [nothing], guidance_scale=2.0)
    sigmas = torch.linspace(1, 0, 5)
    film = chunks_of(velocity, lambda k: torch.randn(1, 4, 1, 2, 2), sigmas, 100, 2, context_size=2)
    decoder, live = wan_model.decoder(), []
    for k, chunk in enumerate(film):
        decoder.push(chunk)
        if k in (48, 73, 98):
            live.append(live_tensors())
    assert len(live) == 3
    assert live[0] == live[1] == live[2]


@torch.no_grad()
def test_a_text_a_frame(ours: WanTransformer3DModel) -> None:
    """The same text for every frame is as one for the clip; another from frame 3 on moves what it moves by attention,
    most where it is said."""
    latents, timestep, text = window(2, 5, 4, 6)

    def told(texts: Tensor) -> Tensor:
        return ours(latents, timestep, texts, return_dict=False)[0]

    each = text[:, None].repeat(1, 5, 1, 1)
    close(told(each), told(text), rounding(lambda: told(text), ours, latents, text))
    each[:, 3:] = torch.randn(2, 2, 5, TEXT_WIDTH)
    moved = (told(each) - told(text)).abs().amax((0, 1, 3, 4))
    assert moved[3:].min() > 3 * moved[:3].max() > 0
