"""The beat of latents, in films whose changes are known."""

from itertools import accumulate, cycle, islice

import numpy as np
import pytest

from longtake.evaluation.measures.base import Frames, Joints
from longtake.evaluation.measures.beat import Beat, peak

FPS, FRAMES = 24, 96
UNKNOWN = Joints()


def beating(pattern: list[int], phase: int = 0, frames: int = FRAMES) -> Frames:
    """Grey pictures, up and down by the pattern again and again, its first number being the change to frame `phase`."""
    changes = list(islice(cycle(pattern), len(pattern) - phase % len(pattern), 2 * frames))
    signed = (change if number % 2 else -change for number, change in enumerate(changes[1:frames]))
    levels = list(accumulate(signed, initial=128))
    return np.array(levels, np.uint8)[:, None, None, None] + np.zeros((2, 3, 3), np.uint8)


def measured(film: Frames, joints: Joints = UNKNOWN) -> Beat:
    measure = Beat(FPS, joints)
    for start in range(0, len(film), 7):
        measure.push(film[start : start + 7])
    return measure


@pytest.mark.parametrize("phase", range(4))
def test_the_beat_is_a_ratio_of_changes(phase: int) -> None:
    """6 to each latent and 2 inside: 3 at the known borders and, whatever the phase, where none are known; beside
    them there is none."""
    film = beating([6, 2, 2, 2], phase)
    known, wrong = (Joints(latents=frozenset(range(phase + off, FRAMES, 4))) for off in (0, 1))
    assert measured(film, known).totals()["beat"] == pytest.approx(3)
    assert measured(film).totals()["beat"] == pytest.approx(3)
    assert measured(film, wrong).totals()["beat"] == pytest.approx(1)


def test_even_film_has_no_beat() -> None:
    """1, and no peak; so has a still one."""
    for step in (0, 2):
        totals = measured(beating([step])).totals()
        assert totals == pytest.approx({"beat": 1, "beat_peak": 1})


@pytest.mark.parametrize("phase", range(4))
def test_the_peak_knows_no_phase(phase: int) -> None:
    """(6, 2, 2, 2) has the mean 3 and swings by 2 at one cycle a latent: 2/3 of the mean, over the least, .01."""
    wrong = Joints(latents=frozenset(range(1, FRAMES, 4)))
    assert measured(beating([6, 2, 2, 2], phase), wrong).totals()["beat_peak"] == pytest.approx(
        200 / 3, rel=1e-6
    )


def test_other_rhythms_are_none() -> None:
    """Every third or fifth frame is not every fourth."""
    for pattern in ([6, 2, 2], [6, 2, 2, 2, 2]):
        totals = measured(beating(pattern)).totals()
        assert totals["beat"] < 1.15 and totals["beat_peak"] < 4


def test_chance_is_no_beat() -> None:
    """Of changes drawn at random the peak is like what is around it."""
    changes = np.random.default_rng(0).exponential(1, (30, 48)) + 1
    assert peak(list(changes), 4) == pytest.approx(1, abs=0.3)


def test_slices_have_beats_of_their_own() -> None:
    """A film that begins to beat in its last two seconds, at a phase that they tell."""
    film = np.concatenate([beating([2], frames=96), beating([6, 2, 2, 2], 3, frames=48)])
    curves = measured(film).curves([slice(0, 48), slice(48, 96), slice(97, 144)])
    np.testing.assert_allclose(curves["beat"], [1, 1, 3])
    assert curves["beat_peak"][:2] == pytest.approx([1, 1]) and curves["beat_peak"][2] > 20


def test_key_frames_are_no_beat() -> None:
    """Of a codec that jumps every second where a latent begins, nor a cut there."""
    film = beating([4, *23 * [2]])
    assert measured(film).totals()["beat"] == pytest.approx(1)


def test_latents_have_the_length_they_have() -> None:
    """Of eight frames, one of their latents' own."""
    film, joints = beating([9, 1, 1, 1, 1, 1, 1, 1]), Joints(frozenset(), frozenset(range(0, FRAMES, 8)), 8)
    assert measured(film, joints).totals()["beat"] == pytest.approx(9)
    assert measured(film, joints).totals()["beat_peak"] > 20


def test_what_cannot_be_told_is_nan() -> None:
    """No latent border, a latent a frame, a film that is too short for a spectrum."""
    film = beating([6, 2, 2, 2])
    assert np.isnan(measured(film, Joints(latents=frozenset())).totals()["beat"])
    each = Joints(latents=frozenset(range(FRAMES)), latent_frames=1)
    assert all(np.isnan(value) for value in measured(film, each).totals().values())
    assert np.isnan(measured(film[:15]).totals()["beat_peak"])
    assert all(np.isnan(value) for value in measured(film[:1]).totals().values())
