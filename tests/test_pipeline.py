"""Films of tiny real models: length, equality and flow."""

import inspect
import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from longtake import LongTake
from longtake.errors import OptionError
from longtake.models.open_sora.autoencoder import AutoencoderOpenSora
from longtake.models.text import Text
from longtake.models.wan.model import WanModel
from longtake.options import FilmOptions
from longtake.pictures import Pictures, to_uint8
from longtake.plan import OWN_SETTINGS, Method
from longtake.shot import Shot, ShotState

PROMPT = "a red car driving past snowy mountains at dawn"
SMALL: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 3, "steps_per_chunk": 1}


@pytest.fixture(scope="module", params=["tubelet_model", "wan_model"])
def take(request: pytest.FixtureRequest) -> LongTake:
    return LongTake(request.getfixturevalue(request.param))


@pytest.mark.parametrize("num_frames", [1, 4, 5, 13])
@pytest.mark.parametrize("chunk_size", [1, 2])
def test_the_film_has_exactly_the_frames_asked_for(take: LongTake, num_frames: int, chunk_size: int) -> None:
    """Guards the trimming of surplus frames, for autoencoders of 4k and of 4k+1 frames."""
    portions = list(take.stream(PROMPT, num_frames=num_frames, chunk_size=chunk_size, **SMALL))
    assert sum(len(portion) for portion in portions) == num_frames
    assert all(portion.dtype == np.uint8 and portion.shape[1:] == (32, 32, 3) for portion in portions)
    assert all(len(portion) for portion in portions)


@pytest.mark.parametrize("chunk_size", [1, 5, 7])
def test_films_of_an_autoencoder_of_groups(tubelet_model: WanModel, chunk_size: int) -> None:
    """Guards latents that wait for their group: every portion holds pictures, and together they are the film."""
    vae = AutoencoderOpenSora(
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        norm_num_groups=2,
        temporal_width=2,
        temporal_layers_per_block=1,
        temporal_norm_num_groups=2,
    )
    model = WanModel(
        replace(tubelet_model.spec, first_frames=1, group_latents=5),
        tubelet_model.text_encoder,
        tubelet_model.transformer,
        vae.eval(),
    )
    portions = list(LongTake(model).stream(PROMPT, num_frames=20, chunk_size=chunk_size, **SMALL))
    assert [len(portion) for portion in portions] == [17, 3]


def test_the_same_call_gives_the_same_film_and_another_seed_another(take: LongTake) -> None:
    """Guards reproducibility: no state of one film leaks into the next."""
    film = take.generate(PROMPT, num_frames=9, seed=7, **SMALL)
    assert np.array_equal(film, take.generate(PROMPT, num_frames=9, seed=7, **SMALL))
    assert not np.array_equal(film, take.generate(PROMPT, num_frames=9, seed=8, **SMALL))


def test_two_films_at_once_do_not_disturb_each_other(take: LongTake) -> None:
    """Guards decoder caches kept on the model instead of with the film."""
    alone = take.generate(PROMPT, num_frames=9, seed=1, **SMALL)
    first, second = (take.stream(PROMPT, num_frames=9, seed=seed, **SMALL) for seed in (1, 2))
    portions = [a for a, _ in zip(first, second, strict=True)]
    assert np.array_equal(np.concatenate(portions), alone)


def test_a_longer_film_begins_like_a_shorter_one(tubelet_model: WanModel) -> None:
    """Guards noise by place: chunks that left before the shorter film's drain began are the same in both."""
    take = LongTake(tubelet_model)
    short = take.generate(PROMPT, num_frames=20, **SMALL)
    long = take.generate(PROMPT, num_frames=40, **SMALL)
    untouched = 4 * (20 // 4 - SMALL["num_inference_steps"] + 1)
    assert np.abs(short[:untouched].astype(int) - long[:untouched]).max() <= 1


def test_guidance_and_negative_prompt_steer(tubelet_model: WanModel) -> None:
    """Guards that prompt, negative prompt and guidance scale reach the network."""
    take = LongTake(tubelet_model)
    options = {"num_frames": 4, **SMALL}
    films = [
        take.generate(PROMPT, guidance_scale=1.0, **options),
        take.generate(PROMPT, guidance_scale=9.0, **options),
        take.generate(PROMPT, guidance_scale=9.0, negative_prompt="a blue bus", **options),
        take.generate("a blue bus", guidance_scale=9.0, **options),
    ]
    assert len({film.tobytes() for film in films}) == len(films)


def test_bad_options_fail_before_the_first_frame_is_asked_for(take: LongTake) -> None:
    """Guards eager checks: a generator that fails at `next` would leave an empty file behind."""
    with pytest.raises(OptionError, match="empty"):
        take.stream(" ", num_frames=4)
    with pytest.raises(OptionError, match="tokens long"):
        take.stream("car " * 600, num_frames=4)
    with pytest.raises(OptionError, match="no option"):
        take.stream(PROMPT, steps=4)


def test_an_early_close_ends_the_sampling(tubelet_model: WanModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards that the network is called for what is asked, no more, and that close() ends the sampler."""
    calls: list[int] = []
    velocity = tubelet_model.velocity

    def counted(latents: Tensor, sigma: Tensor, text: Text, fps: float) -> Tensor:
        calls.append(len(sigma))
        return velocity(latents, sigma, text, fps)

    monkeypatch.setattr(tubelet_model, "velocity", counted)
    film = LongTake(tubelet_model).stream(PROMPT, seconds=60, **SMALL)
    assert not calls
    next(film)
    assert len(calls) == SMALL["num_inference_steps"]
    film.close()
    assert inspect.getgeneratorstate(film) == inspect.GEN_CLOSED
    assert len(calls) == SMALL["num_inference_steps"]


def test_between_portions_the_caller_is_not_in_inference_mode(take: LongTake) -> None:
    """Guards against a mode that leaks out of the suspended generator into the caller's own tensors."""
    film: Iterator[object] = take.stream(PROMPT, num_frames=9, **SMALL)
    next(film)
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()


def test_levels_are_rounded_and_clamped() -> None:
    """Guards [-1, 1] to 0..255 by rounding (truncation darkens by half a level), and the order of the
    axes."""
    row = torch.tensor([-1.5, -1.0, 0.0, 1.0, 1.5, 1 / 255])
    frames = row.view(1, 1, 1, 1, 6).expand(1, 3, 2, 4, 6)
    pictures = to_uint8(frames)
    assert pictures.shape == (1, 2, 4, 6, 3)
    assert pictures[0, 1, 2, :, 0].tolist() == [0, 0, 128, 255, 255, 128]


@pytest.mark.slow
@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("family", ["tubelet_model", "wan_model", "open_sora_model"])
def test_a_film_stopped_at_any_pass_goes_on_to_the_same_pictures(
    request: pytest.FixtureRequest, family: str, method: Method
) -> None:
    """Guards a film's state in the open: through a pickle at every pass, in a model loaded anew, nothing changes."""
    model = request.getfixturevalue(family)
    options = {name: value for name, value in SMALL.items() if name not in OWN_SETTINGS.get(method, ())}
    film = FilmOptions(prompt="a red car", num_frames=30, method=method, **options).resolved(model.spec)
    state, pictures = Shot(model, film).begin()
    portions = [pictures]
    while not Shot(model, film).is_whole(state):
        state, pictures = Shot(model, film).advance(pickle.loads(pickle.dumps(state)))
        portions.append(pictures)
    whole = LongTake(model).generate("a red car", num_frames=30, method=method, **options)
    assert state.num_frames == 30 and np.array_equal(np.concatenate(portions), whole)


def test_a_state_advanced_twice_branches(wan_model: WanModel) -> None:
    """Guards that no pass changes the state that it is given: another prompt from the middle on is another film, and
    the first goes on as if there were none."""
    films = [
        FilmOptions(prompt=p, num_frames=33, **SMALL).resolved(wan_model.spec) for p in (PROMPT, "a bus")
    ]
    first, second = (Shot(wan_model, film) for film in films)
    state, _ = first.begin()
    for _ in range(4):
        state, _ = first.advance(state)
    ends = [finished(shot, state) for shot in (first, second, first)]
    assert np.array_equal(ends[0], ends[2]) and not np.array_equal(ends[0], ends[1])


def finished(shot: Shot, state: ShotState) -> Pictures:
    """The pictures of a film that come after a state."""
    portions = []
    while not shot.is_whole(state):
        state, pictures = shot.advance(state)
        portions.append(pictures)
    return np.concatenate(portions)
