"""Plans, held against films actually made."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from filming import chunks_of
from longtake.cli.cost import ladder_picture
from longtake.cli.timeline import cue_rows, timeline_picture
from longtake.cues import Cue
from longtake.errors import OptionError
from longtake.frames import FilmLength, film_length
from longtake.methods import denoise
from longtake.models.load import read_spec
from longtake.models.places import open_model
from longtake.noise import sigma_table
from longtake.options import FilmOptions
from longtake.plan import OWN_START, Method, Sampling, make_plan, sampling_by


def length_of(num_chunks: int, chunk_size: int) -> FilmLength:
    return film_length(num_chunks * chunk_size, temporal_factor=1, first_frames=1, chunk_size=chunk_size)


@given(st.data())
def test_plan_is_what_happens(data: st.DataObject) -> None:
    """Passes, peak window, work and wait are those counted in a run with the same options."""
    S, C, N = (data.draw(st.integers(1, most)) for most in (12, 4, 9))
    M, context_size = data.draw(st.integers(1, S)), data.draw(st.integers(0, 9))
    given_context = data.draw(st.integers(0, 12)) if context_size else 0
    windows: list[int] = []

    def velocity(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        windows.append(latents.shape[2])
        return latents

    context = torch.zeros(1, 1, given_context, 1, 1) if given_context else None
    sigmas = sigma_table(S, 1.0)
    chunks = chunks_of(velocity, lambda k: torch.zeros(1, 1, C, 1, 1), sigmas, N, M, context, context_size)
    out = [len(windows) for _ in chunks]

    plan = make_plan(length_of(N, C), Sampling(S, M, C, context_size), given_context)
    assert plan.passes == len(windows)
    assert plan.peak_window == max(windows)
    assert plan.latent_evaluations == sum(windows)
    assert plan.passes_until_first_chunk == out[0]


@given(st.sampled_from(get_args(Method)), st.data())
def test_plan_of_every_method_is_what_happens(method: Method, data: st.DataObject) -> None:
    """Guards the one coin in which methods are compared: every latent of every call is charged, exactly."""
    S, C, N, W = (data.draw(st.integers(1, most)) for most in (12, 4, 20, 9))
    s = sampling_by(method, S, data.draw(st.integers(1, S)), C, data.draw(st.integers(0, 9)), W)
    can_begin = s.context_size and method not in OWN_START
    given_context = data.draw(st.integers(0, 12)) if can_begin else 0
    context = torch.zeros(1, 1, given_context, 1, 1) if given_context else None
    windows: list[int] = []

    def velocity(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        windows.append(latents.shape[2])
        return latents

    sigmas = sigma_table(S, 1.0)
    chunks = denoise(s, velocity, lambda first, count: torch.zeros(1, 1, count, 1, 1), sigmas, N, context)
    out = [len(windows) for _ in chunks]

    plan = make_plan(length_of(N, s.chunk_size), s, given_context)
    assert plan.passes == len(windows) == out[-1]
    assert plan.peak_window == max(windows)
    assert plan.latent_evaluations == sum(windows)
    assert plan.passes_until_first_chunk == out[0]
    assert plan.evaluations_per_frame == sum(windows) / plan.length.num_frames
    assert make_plan(length_of(99, s.chunk_size), s, given_context).peak_window == s.window


@pytest.mark.parametrize(
    ("method", "evaluations"),
    [
        ("progressive", 8),
        ("replacement", 8 * (8 + 3) / 8),
        ("noisy-replacement", 8 * (8 + 3) / 8),
        ("chunk-by-chunk", 8 * (4 + 4) / 4),
        ("restart", 8 + 3 * (8 + 7) / 8),
        ("fifo", 8 + 2 * 4),
        ("full-window", 8),
    ],
)
def test_cost_of_a_latent_in_the_long_run(method: Method, evaluations: float) -> None:
    """The table of docs/algorithm.md, for the embedded model: S = 8, M = C = 1, no context, a window of 8."""
    s = sampling_by(method, 8, 1, 1, 0, 8)
    short, long = (make_plan(length_of(n // s.chunk_size, s.chunk_size), s) for n in (80, 880))
    assert (long.latent_evaluations - short.latent_evaluations) / 800 == evaluations


def test_the_papers_minute() -> None:
    """84 chunks of 5 after a given one, S = 30, M = 5: 445 passes, 14,825 latent-frame evaluations."""
    length = film_length(
        1440, temporal_factor=4, first_frames=1, group_latents=5, chunk_size=5, given_latents=5
    )
    plan = make_plan(length, Sampling(30, 5, 5, 5), given_context=length.given_latents)
    assert length.given_latents + length.num_latent_frames == 425
    assert (plan.passes, plan.peak_window, plan.latent_evaluations) == (445, 35, 14_825)


def test_a_minute_from_text() -> None:
    """The same film made from noise alone, all 85 chunks: 450 passes, no context in the first 30."""
    plan = make_plan(length_of(85, 5), Sampling(30, 5, 5, 5))
    assert (plan.passes, plan.peak_window, plan.latent_evaluations) == (450, 35, 85 * 30 * 5 + 420 * 5)


@pytest.mark.parametrize(
    ("S", "M", "C", "context", "message"),
    [
        (4, 5, 1, 0, r"steps_per_chunk must lie in 1 to num_inference_steps \(4\), got 5"),
        (4, 0, 1, 0, "steps_per_chunk must lie in 1"),
        (4, 2, 1, -1, "context_size 0 or more; got 1 and -1"),
    ],
)
def test_no_plan(S: int, M: int, C: int, context: int, message: str) -> None:
    """Options out of range are refused before anything is loaded."""
    with pytest.raises(OptionError, match=message):
        Sampling(S, M, C, context)


@pytest.mark.parametrize("context", [0, 20])
def test_no_plan_of_reencoded_context_beyond_a_chunk(context: int) -> None:
    """Guards against 80 planned evaluations where 70 are made: what is encoded anew is one chunk of 10, no more."""
    with pytest.raises(OptionError, match=f"context_size of 1 to 10, not {context}"):
        Sampling(1, 1, 10, context, reencode_context=True)


def test_ladder() -> None:
    """The picture of the paper's ladder: each bar's solid part ends where the bar above it ends."""
    assert ladder_picture(sigma_table(6, 3.0).tolist(), Sampling(6, 2, 5, 5)).splitlines() == [
        "   5 latents  0.000                                                    context, clean",
        "   5 latents  0.600  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░                     leaves clean",
        "   5 latents  0.857  █████████████████████████████░░░░░░░░░░░░",
        "   5 latents  1.000  █████████████████████████████████████████░░░░░░░  enters as noise",
    ]


def test_ladder_of_one_level() -> None:
    """A context that is noised with its clip is not drawn as clean."""
    picture = ladder_picture(sigma_table(6, 3.0).tolist(), sampling_by("noisy-replacement", 6, 2, 5, 4, 15))
    context, clip = picture.splitlines()
    assert context == f"   4 latents  1.000  {'█' * 48}  context, noised as the clip"
    assert clip.startswith(f"  15 latents  1.000  {'░' * 48}")


@given(st.integers(1, 30), st.integers(0, 3), st.data())
def test_rungs_meet(S: int, context_size: int, data: st.DataObject) -> None:
    """For any S and M, one line a chunk, rising, and each comes down to where the one before it stood."""
    M = data.draw(st.integers(1, S))
    lines = ladder_picture(sigma_table(S, 3.0).tolist(), Sampling(S, M, 1, context_size)).splitlines()
    assert len(lines) == -(-S // M) + (context_size > 0)
    chunks = lines[context_size > 0 :]
    solid, total = [x.count("█") for x in chunks], [x.count("█") + x.count("░") for x in chunks]
    assert total == sorted(total) and total[-1] == 48
    assert solid[0] == 0
    if S % M == 0:
        assert solid[1:] == total[:-1]


@given(st.sampled_from([name for name in get_args(Method) if name not in OWN_START]), st.data())
def test_the_passes_of_a_chunk_are_those_in_which_it_is_made(method: Method, data: st.DataObject) -> None:
    """Guards the timeline: the pass before which a chunk's noise is asked for, and the one after which it comes out."""
    S, C, N, W = (data.draw(st.integers(1, most)) for most in (9, 3, 12, 9))
    s = sampling_by(method, S, data.draw(st.integers(1, S)), C, data.draw(st.integers(0, 9)), W)
    passes, asked = [0], dict[int, int]()

    def velocity(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        passes[0] += 1
        return latents

    def noise(first: int, count: int) -> Tensor:
        asked[first // s.chunk_size] = passes[0]
        return torch.zeros(1, 1, count, 1, 1)

    for chunk, _ in enumerate(denoise(s, velocity, noise, sigma_table(S, 1.0), N)):
        assert s.passes_of(chunk) == (asked[chunk], passes[0])


def test_a_timeline_is_drawn() -> None:
    """Guards the picture: a cue where its second is, its blend behind it, and its passes in words."""
    cues = (Cue(at=15, prompt="a red car at sunset", blend=15), Cue(at=45, seed=3))
    spec = read_spec(open_model(None))
    film = FilmOptions(prompt="a red car at noon", cues=cues).resolved(spec)
    assert timeline_picture(film).splitlines() == [
        f"0 s  {'█' * 15}1{'░' * 15}{'█' * 14}2{'█' * 14}  60 s",
        "  1  from 15 s, latent 90: enters as noise at pass 91, clean after pass 98; blends over 15 s, 90 latents;"
        ' "a red car at sunset"',
        "  2  from 45 s, latent 270: enters as noise at pass 271, clean after pass 278; seed 3",
    ]


def test_a_method_that_makes_its_own_start_has_no_passes_to_draw() -> None:
    """Guards against passes that are wrong where the calls of the network are of other kinds."""
    options = FilmOptions(prompt="a car", method="fifo", cues=(Cue(at=2, prompt="a bus"),))
    (row,) = cue_rows(options.resolved(read_spec(open_model(None))))
    assert row["first_pass"] is None and row["latent"] == 12
