"""MiniMax-H3 against diffusers' own blocks: the same network, but a time for each latent frame, and no sound.

B batch, C channels, F latent frames, H W latent height and width, L text tokens
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
import torch
from diffusers import AutoencoderKLMiniMaxH3, MiniMaxH3Scheduler, MiniMaxH3Transformer3DModel
from diffusers.modular_pipelines.minimax_h3.before_denoise import (
    MiniMaxH3PrepareLayoutStep,
    MiniMaxH3SetTimestepsStep,
    patchify_video_latents,
)
from diffusers.modular_pipelines.minimax_h3.encoders import get_qwen3vl_prompt_embeds
from torch import Tensor

from filming import chunks_of
from longtake.errors import OptionError
from longtake.models.load import load_model, read_spec
from longtake.models.minimax_h3.codec import MiniMaxH3Decoder, MiniMaxH3Encoder
from longtake.models.minimax_h3.model import MiniMaxH3Model, Qwen3VLPromptEncoder
from longtake.models.minimax_h3.records import DEFAULTS, MINIMAX_H3
from longtake.models.text import Text
from longtake.noise import sigma_table
from longtake.options import FilmOptions
from longtake.shot import Shot
from more_folders import CHANNELS, TEXT_WIDTH, h3_network, h3_vae, save_h3
from portable import close, rounding

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network() -> MiniMaxH3Transformer3DModel:
    return h3_network()


@pytest.fixture(scope="module")
def vae() -> AutoencoderKLMiniMaxH3:
    return h3_vae()


def text_of(lengths: list[int]) -> Text:
    """As many tokens as that in rows of 6; what is behind them means nothing."""
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    states = torch.randn(len(lengths), 6, TEXT_WIDTH).masked_fill(~mask[..., None], torch.nan)
    return Text(states, mask)


def stock(network: Any, latents: Tensor, text: Tensor, time: float) -> Tensor:
    """What diffusers' blocks call the network with, of a request without sound: noise - data."""
    _, channels, frames, height, width = latents.shape
    layout = MiniMaxH3PrepareLayoutStep.build_packed_sequence(
        torch.ones(len(text), dtype=torch.long), frames, height, width, 0, (1, 2, 2), 2, 2, 0
    )
    places, tags, video, audio, words, conditions, _ = layout
    times, indices = MiniMaxH3SetTimestepsStep.build_row_timesteps(
        video, audio, conditions, 0, len(text), time, time, 1.0, 1.0
    )
    made, _ = network(
        patchify_video_latents(latents, (1, 2, 2))[None],
        latents.new_empty(1, 0, 32),
        text[None],
        times,
        indices,
        tags,
        places,
        video,
        audio,
        words,
        return_dict=False,
    )
    patches = made[0].reshape(1, frames, height // 2, width // 2, channels, 1, 2, 2)
    return -patches.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(latents.shape)


@torch.no_grad()
def test_lockstep_equals_diffusers(network: Any) -> None:
    """One window of equal levels: what diffusers' blocks and its scheduler make, to rounding."""
    noise, text = torch.randn(1, CHANNELS, 7, 4, 6), text_of([5])
    scheduler = MiniMaxH3Scheduler(shift=12.0)
    scheduler.set_timesteps(9)
    expected = noise
    for time in scheduler.timesteps:
        made = -stock(network, expected, text.states[0, :5], float(time))
        expected = scheduler.step(made, time, expected, return_dict=False)[0]

    def velocity(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        return MiniMaxH3Model.network_velocity(network, latents, sigma[None] * 1000, text, 24)

    def filmed() -> Tensor:
        (latents,) = chunks_of(velocity, lambda k: noise, sigma_table(8, 12.0), 1, steps_per_chunk=8)
        return latents

    assert torch.allclose(sigma_table(8, 12.0), scheduler.sigmas, atol=1e-6)
    close(filmed(), expected, rounding(filmed, network, noise, text.states))


@torch.no_grad()
def test_one_frame_is_told_its_level_alone(network: Any) -> None:
    """Another level of one frame is another time of its tokens, and of none of the others but the text's."""
    seen: list[tuple[Tensor, Tensor]] = []
    hook = network.register_forward_pre_hook(
        lambda module, args, given: seen.append((given["timestep"], given["timestep_indices"])),
        with_kwargs=True,
    )
    latents, text = torch.randn(1, CHANNELS, 4, 4, 4), text_of([3])
    for level in (600.0, 200.0):
        timestep = torch.tensor([[0.0, 400.0, level, 1000.0]])
        made = MiniMaxH3Model.network_velocity(network, latents, timestep, text, 24)
    hook.remove()
    before, after = (times[indices] for times, indices in seen)
    assert made.shape == latents.shape
    assert torch.allclose(after[3:], torch.tensor([1.0, 0.6, 0.8, 0.0]).repeat_interleave(4))
    assert torch.equal((before != after).nonzero()[3:, 0], torch.arange(11, 15))
    assert torch.allclose(after[:3], torch.full((3,), 1 - 1.6 / 3))


@torch.no_grad()
@pytest.mark.parametrize("lengths", [[6, 2], [0, 6]])
def test_rows_of_other_lengths(network: Any, lengths: list[int]) -> None:
    """Each row has the tokens of its own prompt, an empty one has none."""
    latents, text = torch.randn(2, CHANNELS, 3, 4, 4), text_of(lengths)
    timestep = torch.rand(2, 3) * 1000
    both = MiniMaxH3Model.network_velocity(network, latents, timestep, text, 24)
    for row in range(2):
        one = slice(row, row + 1)
        alone = MiniMaxH3Model.network_velocity(network, latents[one], timestep[one], text[one], 24)
        assert torch.equal(both[one], alone) and alone.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[15], [5, 5, 5], [1, 6, 3, 2, 3]])
def test_decoder_streams(vae: AutoencoderKLMiniMaxH3, sizes: list[int]) -> None:
    """Push by push, and what is left, is one shot; groups come two latents late."""
    latents = torch.randn(1, CHANNELS, 15, 3, 2)
    decoder, made = MiniMaxH3Decoder(vae), []
    for part in latents.split(sizes, dim=2):
        before = decoder.state()
        made.append(decoder.push(part))
        resumed = MiniMaxH3Decoder(vae)
        resumed.restore(before)
        assert torch.equal(resumed.push(part), made[-1])
    assert sum(frames.shape[2] for frames in made) == 34
    made += decoder.rest()
    mean, std = (
        torch.tensor(row).view(1, -1, 1, 1, 1) for row in (vae.config.latents_mean, vae.config.latents_std)
    )
    decoded = vae.decode(latents * std + mean, return_dict=False)[0]
    colour, spread = (
        torch.tensor(row).view(1, 3, 1, 1, 1) for row in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    expected = (decoded * spread + colour).clamp(0, 1) * 2 - 1
    assert expected.shape[2] == 51 and expected.std() > 0.1
    close(torch.cat(made, dim=2), expected, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[34], [1, 16, 17], [20, 14]])
def test_encoder_streams(vae: AutoencoderKLMiniMaxH3, sizes: list[int]) -> None:
    """Push by push is one shot of more frames, of which the autoencoder keeps the last latents to itself."""
    frames = torch.rand(1, 3, 39, 48, 32) * 2 - 1
    encoder = MiniMaxH3Encoder(vae)
    made = torch.cat([encoder.push(part) for part in frames[:, :, :34].split(sizes, dim=2)], dim=2)
    colour, spread = (
        torch.tensor(row).view(1, 3, 1, 1, 1) for row in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    mean, std = (
        torch.tensor(row).view(1, -1, 1, 1, 1) for row in (vae.config.latents_mean, vae.config.latents_std)
    )
    raw = vae.encode((frames / 2 + 0.5 - colour) / spread, return_dict=False)[0].mode()
    assert made.shape[2] == 10 and raw.shape[2] == 12
    close(made, ((raw - mean) / std)[:, :, :10], 1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_h3(tmp_path_factory.mktemp("minimax-h3"))


def test_prompts_are_encoded_as_by_diffusers(folder: Path) -> None:
    """The states behind layer 50, of the prompt as it is written, beside others; an empty one has no token."""
    model = load_model(folder)
    assert isinstance(model, MiniMaxH3Model)
    text = model.encode_prompt(["a red car,\n  driving", ""])
    assert isinstance(model.text_encoder, Qwen3VLPromptEncoder)
    ids = model.text_encoder.tokenizer("a red car,\n  driving", add_special_tokens=False).input_ids
    processor = SimpleNamespace(create_mm_token_type_ids=lambda rows: [[0] * len(row) for row in rows])
    with torch.no_grad():
        expected = get_qwen3vl_prompt_embeds(model.text_encoder.parts["text_encoder"], processor, ids)
    assert text.mask.sum(1).tolist() == [len(ids), 0]
    close(text.states[0, : len(ids)], expected[0], 1e-5)


def test_what_it_is_filmed_with(folder: Path) -> None:
    """Its own size, rate and shift, without guidance; in whole groups, without sound, with one text."""
    spec = read_spec(folder)
    assert spec.defaults == DEFAULTS
    assert (spec.left_out, spec.alignment, spec.group_latents) == (("sound",), 32, 5)
    film = FilmOptions(prompt="a red car", seconds=10).resolved(spec)
    assert film.cost.peak_window == 35 and film.length.num_latent_frames == 75
    for sizes in ({"chunk_size": 1}, {"context_size": 4}, {"method": "fifo"}):
        with pytest.raises(OptionError, match="sees groups of 5 latents"):
            FilmOptions(prompt="a red car", **sizes).resolved(spec)


def test_at_its_published_size() -> None:
    """33 billion parameters, by transformer/config.json on the hub, which is diffusers' own defaults: 61.7 GiB in
    bfloat16, as diffusers' page says."""
    with torch.device("meta"):
        network = MiniMaxH3Transformer3DModel()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 33_122_992_896 and round(count * 2 / 2**30, 1) == 61.7
    assert (MINIMAX_H3.config.model_validate(dict(network.config, patch_size=[1, 2, 2]))).text_width == 5120


def test_a_film_of_it(folder: Path, cli: Callable[..., Any]) -> None:
    """From the command line, to its last picture, which waits for latents that do not come; and from an open folder,
    pass by pass, the same pictures."""
    size = ("--size", "64x32", "--frames", "40", "--steps", "4", "--steps-per-chunk", "2", "--seed", "3")
    made = cli("generate", "a red car", "--model", folder, "-o", "film.mp4", *size)
    assert made.code == 0, made.err
    with av.open("film.mp4") as film:
        assert sum(1 for _ in film.decode(video=0)) == 40
    model = load_model(folder)
    options = FilmOptions(
        prompt="a red car", width=64, height=32, num_frames=40, num_inference_steps=4, steps_per_chunk=2
    )
    shot = Shot(model, options.resolved(model.spec))
    state, pictures = shot.begin()
    parts = [pictures]
    while not shot.is_whole(state):
        state, pictures = shot.advance(state)
        parts.append(pictures)
    assert [len(part) for part in parts if len(part)] == [17, 23]
