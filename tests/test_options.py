"""Options against a made-up model: defaults, bounds, and one-line messages."""

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from longtake.errors import OptionError
from longtake.frames import exact_fps
from longtake.options import DEFAULT_SECONDS, FilmOptions
from specs import SPEC


def test_what_is_not_given_is_the_models_own() -> None:
    """Guards 'one default, one place': with a prompt alone the film is 60 s of the model's defaults."""
    film = FilmOptions(prompt="a red car").resolved(SPEC)
    assert film.settings == SPEC.defaults
    assert film.length.num_frames == 24 * DEFAULT_SECONDS == 1440
    assert film.latent_shape == (4, 10, 16)
    assert (film.prompt, film.negative_prompt, film.seed, film.rate) == ("a red car", "", 0, 24)


def test_groups_of_latents_reach_the_length() -> None:
    """Guards autoencoders of groups, 17 frames to 5 latents: a minute is 85 of them."""
    spec = replace(SPEC, first_frames=1, group_latents=5)
    length = FilmOptions(prompt="a red car", chunk_size=5).resolved(spec).length
    assert (length.num_latent_frames, length.num_chunks, length.surplus_frames) == (425, 85, 5)


def test_what_is_given_is_used() -> None:
    """Guards that no option is dropped on its way, zero and one included."""
    wanted = {
        "width": 64,
        "height": 48,
        "fps": 12.5,
        "num_inference_steps": 6,
        "steps_per_chunk": 3,
        "chunk_size": 2,
        "context_size": 0,
        "shift": 1.0,
        "guidance_scale": 0.0,
    }
    film = FilmOptions(prompt="a", negative_prompt="b", num_frames=9, seed=5, **wanted).resolved(SPEC)
    assert film.metadata == {
        "prompt": "a",
        "negative_prompt": "b",
        "seed": 5,
        "model": "tiny",
        "method": "progressive",
        "num_frames": 9,
        **wanted,
    }
    assert json.loads(json.dumps(film.metadata)) == film.metadata
    assert film.latent_shape == (4, 6, 8)
    assert (film.rate, film.length.num_chunks, film.cost.passes) == (Fraction(25, 2), 2, 9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " \n"}, "prompt is empty"),
        ({"seconds": 0}, "seconds must be a positive number"),
        ({"seconds": -1}, "seconds must be a positive number"),
        ({"seconds": float("nan")}, "seconds must be a positive number"),
        ({"seconds": float("inf")}, "seconds must be a positive number"),
        ({"seconds": 0.02}, "0.02 s at 24 fps are less than half a frame, which lasts 0.042 s: ask for more"),
        (
            {"seconds": 1e308},
            "are more than 1,000,000,000 frames, the longest film: ask for 41666666 s or less",
        ),
        ({"num_frames": 10**30}, "num_frames should be less than or equal to 1000000000"),
        ({"num_inference_steps": 10**30}, "num_inference_steps should be less than or equal to 10000"),
        ({"chunk_size": 10**30}, "chunk_size should be less"),
        ({"context_size": 10**30}, "context_size should be less"),
        ({"width": 10**30}, "width should be less"),
        ({"seconds": "long"}, "seconds should be a valid number"),
        ({"num_frames": 0}, "num_frames should be greater than or equal to 1, not 0"),
        ({"seconds": 1, "num_frames": 24}, "not both"),
        ({"seed": -1}, "seed should be greater"),
        ({"seed": 2**64}, "seed should be less"),
        ({"width": 130}, "width 130 does not fit tiny: take a multiple of 16, such as 128 or 144"),
        ({"height": 8}, "height 8 does not fit tiny: take a multiple of 16, such as 16 or 32"),
        ({"width": 0}, "width should be greater"),
        ({"fps": float("nan")}, "fps should be"),
        ({"fps": 0}, "fps should be"),
        ({"fps": 1000}, "fps should be less"),
        (
            {"fps": 23.97612},
            "fps may have three decimals, .*; got 23.97612, the nearest that works is 23.976",
        ),
        ({"fps": 0.0001}, "got 0.0001, the nearest that works is 0.001"),
        ({"fps": "24/0"}, "fps should be a valid number"),
        ({"fps": "1/4000"}, "got 0.00025, the nearest that works is 0.001"),
        ({"fps": "film"}, "fps should be a valid number"),
        ({"fps": "9" * 5000 + "/1"}, "fps should be"),
        ({"num_inference_steps": 0}, "num_inference_steps should be"),
        ({"steps_per_chunk": 25}, "steps_per_chunk must lie in 1 to num_inference_steps"),
        ({"chunk_size": 0}, "chunk_size should be"),
        ({"context_size": -1}, "context_size should be"),
        ({"shift": 0}, "shift should be"),
        ({"guidance_scale": float("inf")}, "guidance_scale should be"),
        ({"negative_prompt": "rain", "guidance_scale": 1}, "negative prompt does nothing"),
        ({"stepz": 3}, "there is no option stepz"),
        ({"method": "magic"}, "method should be 'progressive', .* not 'magic'"),
        ({"method": "fifo", "context_size": 2}, "method fifo sets context_size itself: leave it out"),
        ({"method": "replacement", "chunk_size": 2}, "method replacement sets chunk_size itself"),
    ],
)
def test_bad_options_are_one_line(options: dict[str, Any], words: str) -> None:
    """Guards every bound, and that the message names the option and the value in a single line."""
    with pytest.raises(OptionError, match=words) as caught:
        FilmOptions(**{"prompt": "a red car", **options}).resolved(SPEC)
    assert "\n" not in str(caught.value)


def test_a_method_films_with_the_models_own_window() -> None:
    """Guards clips that shrink with the steps: the window of 24 / 2 latents is the model's, whatever S is here."""
    film = FilmOptions(prompt="a", num_frames=100, num_inference_steps=1, method="replacement").resolved(SPEC)
    assert (film.cost.sampling.chunk_size, film.cost.sampling.context_size) == (12, 4)
    assert (film.length.num_chunks, film.length.num_latent_frames, film.length.surplus_frames) == (3, 36, 44)
    assert film.metadata["method"] == "replacement" and film.settings.chunk_size == 1


def test_a_prompt_is_needed() -> None:
    """Guards the message for a missing prompt."""
    with pytest.raises(OptionError, match="prompt is missing"):
        FilmOptions()  # type: ignore[call-arg]


def test_options_are_frozen() -> None:
    """Guards that a film cannot change after its options were checked."""
    with pytest.raises(ValidationError):
        FilmOptions(prompt="a").seed = 1  # type: ignore[misc]


def test_broadcast_rates_are_exact() -> None:
    """Guards 23.976 = 24000/1001: the decimal would drift by a frame in 12 hours, the metadata by a digit."""
    assert exact_fps(23.976) == exact_fps(23.98) == exact_fps(24000 / 1001) == Fraction(24000, 1001)
    assert exact_fps(29.97) == Fraction(30000, 1001)
    assert exact_fps(59.94) == Fraction(60000, 1001)
    assert exact_fps(24.0) == 24


@given(st.integers(1, 240_000))
def test_other_rates_are_the_decimals_they_are_written_as(thousandths: int) -> None:
    """Guards against binary fractions: 12.1 is 121/10."""
    rate = exact_fps(thousandths / 1000)
    assert rate == Fraction(thousandths, 1000) or rate.denominator == 1001


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        ("24000/1001", Fraction(24000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("29.97003", Fraction(30000, 1001)),
        ("119.88", Fraction(120000, 1001)),
        ("239.76", Fraction(240000, 1001)),
        ("14.985", Fraction(15000, 1001)),
        ("25000/1001", Fraction(25000, 1001)),
        ("25.0", Fraction(25)),
        ("12.5", Fraction(25, 2)),
        ("0.5", Fraction(1, 2)),
        ("1/3", Fraction(1, 3)),
        (Fraction(48000, 1001), Fraction(48000, 1001)),
    ],
)
def test_rates_are_numbers_or_fractions(fps: Any, rate: Fraction) -> None:
    """Guards rates as files and cameras name them: each films a minute, at the exact rate, to the nearest frame."""
    film = FilmOptions(prompt="a", fps=fps).resolved(SPEC)
    assert film.rate == rate and abs(film.length.num_frames - 60 * rate) <= Fraction(1, 2)


@given(st.integers(1, 240_000), st.integers(1, 1001))
def test_fractions_come_back(numerator: int, denominator: int) -> None:
    """Guards fractions that pass through a float: they are the same behind it, or the rate they round to in a file."""
    if numerator <= 240 * denominator:
        rate = exact_fps(numerator / denominator)
        assert rate == Fraction(numerator, denominator) or rate.denominator == 1001


def test_what_is_not_as_it_was_asked_for_is_told() -> None:
    """Guards lengths that are rounded, and a context that is there though 0 was asked for."""
    options: dict[str, Any] = {"prompt": "a"}
    assert FilmOptions(**options, seconds=10, fps=29.97).resolved(SPEC).notes == (
        "10 s at 29.97 fps is no whole number of frames: the film has 300 frames, 10.01 s",
    )
    assert FilmOptions(**options, seconds=10).resolved(SPEC).notes == ()
    assert FilmOptions(**options, num_frames=7, fps=29.97).resolved(SPEC).notes == ()
    assert FilmOptions(**options, context_size=0).resolved(SPEC).notes == ()
    assert FilmOptions(**options, method="replacement").resolved(SPEC).notes == ()
    (told,) = FilmOptions(**options, context_size=0, method="replacement").resolved(SPEC).notes
    assert told.startswith("method replacement cannot do without a context: it has 4 latents of it")


def test_lengths_follow_the_exact_rate() -> None:
    """Guards that seconds are multiplied by 24000/1001, not by 23.976: 1001 s are 24,000 frames."""
    film = FilmOptions(prompt="a", seconds=1001, fps=23.976).resolved(SPEC)
    assert (film.length.num_frames, film.settings.fps) == (24_000, 23.976)
