"""Seconds, frames, latents and chunks."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.errors import LongTakeError, OptionError
from longtake.frames import FilmLength, film_length, frames_in, frames_of


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


@given(st.integers(1, 10**6), st.sampled_from([8, 10, 16, 20, 25, 50]))
def test_every_whole_number_of_frames_can_be_asked_for(frames: int, fps: int) -> None:
    """At rates without a factor of 3 or such, frames / fps is a decimal and comes back as those frames."""
    assert frames_in(frames / fps, fps) == frames


@given(st.decimals("0.001", 5000, places=3), st.sampled_from([8, 12, 15, 16, 23.976, 24, 25, 29.97, 30, 60]))
def test_exact_or_two_lengths_that_are(seconds: Decimal, fps: float) -> None:
    """Never a rounded answer; a refusal names the nearest two lengths that are accepted."""
    exact = Fraction(str(seconds)) * Fraction(str(fps))
    if exact.denominator == 1:
        assert frames_in(float(seconds), fps) == exact
        return
    with pytest.raises(OptionError) as refusal:
        frames_in(float(seconds), fps)
    words = str(refusal.value).split("that work are ")[1]
    below, above = (part.split(" s (") for part in words.split(" and "))
    for length, frames in (below, above):
        assert frames_in(float(length), fps) == int(frames.split()[0])
    assert float(above[0]) > seconds
    assert float(below[0]) < seconds or float(above[0]) == pytest.approx(2 * float(below[0]))


def test_refusal_reads_well() -> None:
    """One line, with the length asked for and what to ask for instead."""
    with pytest.raises(OptionError) as refusal:
        frames_in(2.03, 24)
    assert str(refusal.value) == (
        "2.03 s at 24 fps is 48.72 frames, not a whole number; the nearest lengths that work are "
        "2 s (48 frames) and 2.125 s (51 frames)"
    )


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
        with pytest.raises(
            OptionError, match=f"starts with {before} given frames: ask for more than {frames}"
        ):
            film_length(frames, **rule, chunk_size=chunk, given_latents=given_latents)
        return
    length = film_length(frames, **rule, chunk_size=chunk, given_latents=given_latents)
    total = given_latents + length.num_latent_frames
    assert length.num_latent_frames == length.num_chunks * chunk > 0
    assert frames_of(total, **rule) - length.surplus_frames == frames and length.surplus_frames >= 0
    assert frames_of(total - chunk, **rule) < frames
