"""Seconds, frames, latents and chunks."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.errors import LongTakeError, OptionError
from longtake.frames import (
    MOST_FRAMES,
    FilmLength,
    apart,
    film_length,
    frames_in,
    frames_of,
    lasting,
    number,
    rounding,
)


@pytest.mark.parametrize(
    ("seconds", "fps", "frames"),
    [
        (60, 24, 1440),
        (60.0, 24.0, 1440),
        (0.1, 30, 3),
        (1.1, 10, 11),
        (2.3, 10, 23),
        (4.35, 100, 435),
        (0.125, 24, 3),
        (125, 23.976, 2997),
        (1e-05, 1e5, 1),
        (36000, 60, 2160000),
    ],
)
def test_seconds_to_frames(seconds: float, fps: float, frames: int) -> None:
    """Decimals mean what they say: 1.1 s at 10 fps is 11 frames, though 1.1 * 10 is not 11 in binary."""
    assert frames_in(seconds, fps) == frames


RATES = [
    0.5,
    8,
    12.5,
    15,
    16,
    24,
    25,
    29.97,
    30,
    60,
    239.76,
    Fraction(24000, 1001),
    Fraction(30000, 1001),
    Fraction(1, 3),
]


@given(st.integers(1, 10**6), st.sampled_from(RATES))
def test_every_whole_number_of_frames_can_be_asked_for(frames: int, fps: float | Fraction) -> None:
    """Guards lengths that were made: the seconds that a film lasts, asked for, come back."""
    assert frames_in(float(frames / Fraction(str(fps))), fps) == frames


@given(st.decimals("0.001", 5000, places=3), st.sampled_from(RATES))
def test_the_nearest_whole_number_of_frames(seconds: Decimal, fps: float | Fraction) -> None:
    """Guards against a frame too few or too many at any rate: never off by more than half a frame, and up where two
    are as near; less than half a frame is no film."""
    exact = Fraction(str(seconds)) * Fraction(str(fps))
    if exact < Fraction(1, 2):
        with pytest.raises(OptionError, match="less than half a frame"):
            frames_in(float(seconds), fps)
        return
    assert Fraction(-1, 2) <= exact - frames_in(float(seconds), fps) < Fraction(1, 2)


@pytest.mark.parametrize(
    ("seconds", "fps", "frames", "words"),
    [
        (
            10,
            Fraction(30000, 1001),
            300,
            "10 s at 29.97 fps is no whole number of frames: the film has 300 frames, 10.01 s",
        ),
        (
            60,
            Fraction(24000, 1001),
            1439,
            "60 s at 23.976 fps is no whole number of frames: the film has 1,439 frames, 60.018 s",
        ),
        (2.5, 1, 3, "2.5 s at 1 fps is no whole number of frames: the film has 3 frames, 3 s"),
        (1, Fraction(1, 2), 1, "1 s at 0.5 fps is no whole number of frames: the film has 1 frames, 2 s"),
        (10, 24, 240, None),
        (10.0001, 24, 240, None),
        (1 / 3, 24, 8, None),
        (
            36000.01,
            24,
            864000,
            "36000.01 s at 24 fps is no whole number of frames: the film has 864,000 frames, 36000 s",
        ),
    ],
)
def test_another_length_than_was_asked_for_is_told(
    seconds: float, fps: Fraction, frames: int, words: str | None
) -> None:
    """Guards both sides: what is made instead is said, and nothing is said where it would be two equal numbers."""
    assert frames_in(seconds, fps) == frames
    assert rounding(seconds, Fraction(fps), frames) == words


@pytest.mark.parametrize("seconds", [1e308, 1e15, 10**9])
def test_no_film_without_end(seconds: float) -> None:
    """Guards against memory and time without bounds: a length that no disk holds is one line."""
    with pytest.raises(OptionError, match=r"^1e\+.* s at 24 fps|^1000000000 s at 24 fps") as refusal:
        frames_in(seconds, 24)
    assert "more than 1,000,000,000 frames" in str(refusal.value) and len(str(refusal.value)) < 120
    assert frames_in(41_666_666, 24) < MOST_FRAMES


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (24, "24"),
        (Fraction(24000, 1001), "23.976"),
        (Fraction(120000, 1001), "119.88"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.333"),
        (0, "0"),
        (0.00012345, "0.000123"),
        (1e-320, "1e-320"),
        (1e308, "1e+308"),
        (36000.05, "36000.05"),
        (-2.5, "-2.5"),
    ],
)
def test_numbers_for_people(value: float, words: str) -> None:
    """Guards messages with endless decimals, or with none where they matter."""
    assert number(value) == words


@given(st.floats(0.001, 1e6), st.floats(0.001, 1e6))
def test_two_numbers_are_told_apart(a: float, b: float) -> None:
    """Guards against "59.94 … at 59.94": numbers that differ by a millionth of a millionth are shown as different."""
    left, right = apart(a, b)
    assert (left != right) or abs(a - b) <= 1e-12 or abs(a - b) / max(a, b) < 1e-14
    if abs(a - b) > 0.002:
        assert (left, right) == (number(a), number(b))


def test_a_number_of_frames_and_how_long_they_last() -> None:
    """Guards that a count says its unit, and whose rate it is at."""
    assert lasting(81, Fraction(16)) == "81 frames (5.062 s at 16 fps)"
    assert lasting(1439, Fraction(24000, 1001)) == "1,439 frames (60.018 s at 23.976 fps)"


@pytest.mark.parametrize("value", [0, -1, 0.0, -0.5, float("nan"), float("inf"), float("-inf")])
def test_no_time_at_all(value: float) -> None:
    """Zero, negative, NaN and infinite seconds or rates are refused by name, as ValueErrors."""
    with pytest.raises(LongTakeError, match="seconds must be a positive number"):
        frames_in(value, 24)
    with pytest.raises(ValueError, match="fps must be a positive number"):
        frames_in(60, value)


def test_a_minute_in_both_kinds_of_autoencoder() -> None:
    """1,440 frames: 360 latents of a 4k autoencoder, exactly; 361 of a 4k+1 one, with a frame to spare."""
    assert film_length(1440, temporal_factor=4, first_frames=4, chunk_size=1) == FilmLength(
        1440, 360, 360, 0, 4
    )
    assert film_length(1440, temporal_factor=4, first_frames=1, chunk_size=1) == FilmLength(
        1440, 361, 361, 1, 1
    )
    assert film_length(81, temporal_factor=4, first_frames=1, chunk_size=21) == FilmLength(81, 21, 1, 0, 81)
    assert film_length(82, temporal_factor=4, first_frames=1, chunk_size=3) == FilmLength(82, 24, 8, 11, 9)
    assert film_length(2, temporal_factor=4, first_frames=1, chunk_size=3) == FilmLength(2, 3, 1, 7, 2)


@given(st.integers(1, 5000), st.integers(1, 8), st.booleans(), st.integers(1, 12))
def test_enough_latents_and_not_one_chunk_more(
    frames: int, factor: int, image_first: bool, chunk: int
) -> None:
    """Whole chunks hold the film; one chunk less would not."""
    first = 1 if image_first else factor
    length = film_length(frames, temporal_factor=factor, first_frames=first, chunk_size=chunk)
    decoded = first + (length.num_latent_frames - 1) * factor
    assert length.num_latent_frames == length.num_chunks * chunk
    assert decoded - length.surplus_frames == frames and length.surplus_frames >= 0
    assert length.num_chunks == 1 or decoded - chunk * factor < frames
    assert length.first_chunk_frames == min(frames, first + (chunk - 1) * factor)


def test_no_frames() -> None:
    """A film of no frames is refused."""
    with pytest.raises(OptionError, match="at least 1 frame, got 0"):
        film_length(0, temporal_factor=4, first_frames=1, chunk_size=1)


PAPER = {"temporal_factor": 4, "first_frames": 1, "group_latents": 5}


@given(st.integers(0, 400), st.integers(1, 8), st.booleans(), st.integers(1, 12))
def test_groups_decode_one_by_one(latents: int, factor: int, image_first: bool, group: int) -> None:
    """Frames of groups: each is a film by itself, and one that is not whole gives none yet."""
    rule = {"temporal_factor": factor, "first_frames": 1 if image_first else factor}
    frames = frames_of(latents, **rule, group_latents=group)
    assert frames == sum(frames_of(group, **rule) for _ in range(latents // group))
    assert frames_of(latents, **rule, group_latents=latents or 1) == frames_of(latents, **rule)


def test_the_papers_minute() -> None:
    """17 frames to 5 latents: 85 groups of 1,445 frames, cut to 1,440; with the first given, 84 are made."""
    assert frames_of(425, **PAPER) == 1445
    assert film_length(1440, **PAPER, chunk_size=5) == FilmLength(1440, 425, 85, 5, 17)
    assert film_length(1440, **PAPER, chunk_size=5, given_latents=5) == FilmLength(1440, 420, 84, 5, 17, 5)


def test_chunks_that_do_not_fill_groups() -> None:
    """Chunks of any size hold whole groups enough; a first chunk that fills none shows nothing yet."""
    assert film_length(18, **PAPER, chunk_size=5) == FilmLength(18, 10, 2, 16, 17)
    assert film_length(18, **PAPER, chunk_size=3) == FilmLength(18, 12, 4, 16, 0)
    assert film_length(18, **PAPER, chunk_size=3, given_latents=8) == FilmLength(18, 3, 1, 16, 1, 8)


@given(st.integers(1, 3000), st.integers(1, 12), st.none() | st.integers(1, 7), st.integers(0, 30))
def test_given_and_made_latents_hold_the_film(
    frames: int, chunk: int, group: int | None, given_latents: int
) -> None:
    """What is given and what is made hold the film, and one chunk less would not; no film is made of nothing."""
    rule: dict[str, Any] = {"temporal_factor": 4, "first_frames": 1, "group_latents": group}
    before = frames_of(given_latents, **rule)
    if before >= frames:
        with pytest.raises(AssertionError, match="hold the film already"):
            film_length(frames, **rule, chunk_size=chunk, given_latents=given_latents)
        return
    length = film_length(frames, **rule, chunk_size=chunk, given_latents=given_latents)
    total = given_latents + length.num_latent_frames
    assert length.num_latent_frames == length.num_chunks * chunk > 0
    assert frames_of(total, **rule) - length.surplus_frames == frames and length.surplus_frames >= 0
    assert frames_of(total - chunk, **rule) < frames
