"""The methods that progressive denoising is compared with, each against what defines it. C, H, W are 1 or 2 here."""

import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from filming import chunks_of
from longtake import LongTake
from longtake.errors import OptionError
from longtake.methods import AGAIN, denoise, sampler
from longtake.models.toy import OneFilm
from longtake.noise import chunk_noise, latent_noise, sigma_table
from longtake.plan import OWN_START, Method, Sampling, sampling_by
from longtake.progressive import Window

SHAPE = (2, 1, 2)
METHODS: tuple[Method, ...] = get_args(Method)
NEVER_DRAINS: tuple[Method, ...] = (
    "replacement",
    "noisy-replacement",
    "chunk-by-chunk",
    "fifo",
    "full-window",
)
BEGIN_WITH_A_CLIP = tuple(method for method in METHODS if method not in OWN_START)
Network = Callable[[Tensor, Tensor, int], Tensor]


def film(index: int) -> Tensor:
    """Latent `index` of the film that the exact model knows; it goes on before 0 and after the end."""
    return latent_noise(1234, index + 1000, SHAPE)


def film_of(indices: range) -> Tensor:
    return torch.stack([film(i) for i in indices], dim=1)[None]


def noise(first: int, count: int) -> Tensor:
    return chunk_noise([7], first, count, SHAPE)


def mixing(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
    """A velocity in which every latent depends on its neighbour, its sigma and its place."""
    pull = latents * 0.5 + latents.roll(1, dims=2) * 0.25
    return pull - sigma.view(-1, 1, 1) * (latents * latents - first * 0.01)


@dataclass
class Record:
    """A velocity that notes what it is asked."""

    velocity: Network = mixing
    calls: list[tuple[Tensor, Tensor, int]] = field(default_factory=list)

    def __call__(self, latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        assert sigma.shape == (latents.shape[2],) and sigma.dtype == torch.float32
        self.calls.append((latents.clone(), sigma, first))
        return self.velocity(latents, sigma, first)


def run(
    s: Sampling, num_chunks: int, velocity: Network = mixing, context: Tensor | None = None
) -> list[Tensor]:
    return list(denoise(s, velocity, noise, ladder(s), num_chunks, context))


def ladder(s: Sampling) -> Tensor:
    return sigma_table(s.num_inference_steps, shift=3.0)


@st.composite
def samplings(draw: st.DrawFn, methods: tuple[Method, ...] = METHODS) -> Sampling:
    S = draw(st.integers(1, 9))
    M, C, context = draw(st.integers(1, S)), draw(st.integers(1, 3)), draw(st.integers(0, 5))
    return sampling_by(draw(st.sampled_from(methods)), S, M, C, context, draw(st.integers(1, 8)))


numbers_of_chunks = st.integers(1, 7)


@given(samplings(), numbers_of_chunks)
def test_exact_model_returns_its_film(s: Sampling, num_chunks: int) -> None:
    """With the exact velocity of one film, that film comes out of every method, every latent in its place."""
    chunks = run(s, num_chunks, OneFilm(film))
    assert [c.shape for c in chunks] == [(1, 2, s.chunk_size, 1, 2)] * num_chunks
    expected = film_of(range(num_chunks * s.chunk_size))
    torch.testing.assert_close(torch.cat(chunks, dim=2), expected, atol=1e-5, rtol=0)


@given(samplings(BEGIN_WITH_A_CLIP), numbers_of_chunks, st.integers(1, 9))
def test_exact_model_goes_on_from_a_clip(s: Sampling, num_chunks: int, given_latents: int) -> None:
    """Guards the place of a given context: the network sees its last latents, clean or noised, before the film's."""
    s = replace(s, context_size=max(1, s.context_size))
    record = Record(OneFilm(film))
    chunks = run(s, num_chunks, record, film_of(range(-given_latents, 0)))
    expected = film_of(range(num_chunks * s.chunk_size))
    torch.testing.assert_close(torch.cat(chunks, dim=2), expected, atol=1e-5, rtol=0)
    latents, sigma, first = record.calls[0]
    assert first == -min(s.context_size, given_latents)
    if s.method != "noisy-replacement":
        assert torch.equal(latents[:, :, :-first], film_of(range(first, 0))) and not sigma[:-first].any()


@given(samplings(("progressive",)), numbers_of_chunks)
def test_context_that_is_encoded_anew(s: Sampling, num_chunks: int) -> None:
    """Guards the released baseline: what changes nothing changes nothing, and what is changed is what is seen."""
    size = min(max(1, s.context_size), s.chunk_size)
    s = replace(s, steps_per_chunk=s.num_inference_steps, context_size=size)
    plain, anew = run(s, num_chunks), replace(s, reencode_context=True)
    same = denoise(anew, mixing, noise, ladder(s), num_chunks, None, lambda latents: latents)
    assert all(map(torch.equal, same, plain))
    record = Record(mixing)
    list(denoise(anew, record, noise, ladder(s), num_chunks, None, torch.zeros_like))
    later = [
        (latents, first) for latents, _, first in record.calls if first + latents.shape[2] > s.chunk_size
    ]
    assert all(not latents[:, :, :size].any() for latents, _ in later)


@given(samplings(), numbers_of_chunks)
def test_latents_have_the_noise_level_they_are_said_to_have(s: Sampling, num_chunks: int) -> None:
    """On the way every latent is (1 - sigma) * film + sigma * noise, with the noise of its place, first or second."""
    record = Record(OneFilm(film))
    run(s, num_chunks, record)
    for latents, sigma, first in record.calls:
        for j, (level, i) in enumerate(zip(sigma.tolist(), range(first, first + len(sigma)), strict=True)):
            if i >= 0:
                held = [
                    (1 - level) * film(i) + level * latent_noise(7, place, SHAPE) for place in (i, AGAIN + i)
                ]
                assert min((latents[0, :, j] - x).abs().max() for x in held) < 1e-5


@given(samplings(), numbers_of_chunks)
def test_a_film_is_a_function_of_its_noise(s: Sampling, num_chunks: int) -> None:
    """Twice the same call, twice the same bits."""
    assert all(map(torch.equal, run(s, num_chunks), run(s, num_chunks)))


@given(samplings(NEVER_DRAINS), numbers_of_chunks, st.integers(1, 4))
def test_a_longer_film_begins_like_a_shorter_one(s: Sampling, num_chunks: int, more: int) -> None:
    """Guards noise that depends on the length: where no window empties, the beginning is the same, bit for bit."""
    assert all(map(torch.equal, run(s, num_chunks), run(s, num_chunks + more)[:num_chunks]))


@given(samplings(), numbers_of_chunks)
def test_a_film_of_half_precision(s: Sampling, num_chunks: int) -> None:
    """Latents keep the dtype of the noise; what the network is asked is of that dtype too."""
    record = Record(lambda latents, sigma, first: latents)
    chunks = list(denoise(s, record, lambda *place: noise(*place).bfloat16(), ladder(s), num_chunks))
    assert {x.dtype for x in chunks} | {latents.dtype for latents, _, _ in record.calls} == {torch.bfloat16}


@given(samplings(("progressive", "replacement", "chunk-by-chunk")), numbers_of_chunks)
def test_three_methods_are_the_heart_itself(s: Sampling, num_chunks: int) -> None:
    """progressive, replacement and chunk-by-chunk are progressive_denoise with other arguments, bit for bit."""
    size = s.chunk_size
    by_hand = chunks_of(
        mixing,
        lambda k: noise(k * size, size),
        ladder(s),
        num_chunks,
        s.steps_per_chunk,
        context_size=s.context_size,
    )
    assert all(map(torch.equal, run(s, num_chunks), by_hand))


def test_what_a_method_makes_of_the_settings() -> None:
    """The table of docs/algorithm.md, for S = 8, M = 2, C = 3, X = 0 and a model whose window holds 7 latents."""
    made = {method: sampling_by(method, 8, 2, 3, 0, 7) for method in METHODS}
    numbers = {m: (s.steps_per_chunk, s.chunk_size, s.context_size) for m, s in made.items()}
    assert numbers == {
        "progressive": (2, 3, 0),
        "replacement": (8, 7, 3),
        "noisy-replacement": (8, 7, 3),
        "chunk-by-chunk": (8, 4, 3),
        "restart": (2, 3, 3),
        "fifo": (1, 1, 3),
        "full-window": (2, 3, 0),
    }
    assert all(s.num_inference_steps == 8 and s.method == m for m, s in made.items())
    assert made["restart"].chunks_per_run == 3 and made["progressive"].rungs == 4
    assert sampling_by("replacement", 8, 2, 3, 5, 7).context_size == 5


@given(samplings(("noisy-replacement",)), numbers_of_chunks)
def test_noisy_context_has_the_level_of_the_clip(s: Sampling, num_chunks: int) -> None:
    """One sigma for all, every step of the ladder once a clip, and context latents on straight lines to one noise."""
    record = Record()
    clean = torch.cat(run(s, num_chunks, record), dim=2)
    assert len(record.calls) == num_chunks * s.num_inference_steps
    for number, (latents, sigma, first) in enumerate(record.calls):
        k, step = divmod(number, s.num_inference_steps)
        start = k * s.chunk_size
        assert (sigma == ladder(s)[step]).all()
        assert first == max(0, start - s.context_size)
        assert first + latents.shape[2] == start + s.chunk_size
        if first < start:
            level = ladder(s)[step]
            again = noise(AGAIN + first, start - first)
            held = (1 - level) * clean[:, :, first:start] + level * again
            assert torch.equal(latents[:, :, : start - first], held)


@given(samplings(("restart",)), numbers_of_chunks)
def test_restarted_windows_are_runs_of_the_heart(s: Sampling, num_chunks: int) -> None:
    """Each window is progressive denoising from the clean latents before it; noise and places go on."""
    size, chunks = s.chunk_size, run(s, num_chunks)

    def window(start: int) -> list[Tensor]:
        return list(
            chunks_of(
                lambda latents, sigma, first: mixing(latents, sigma, first + start * size),
                lambda k: noise((start + k) * size, size),
                ladder(s),
                min(s.chunks_per_run, num_chunks - start),
                s.steps_per_chunk,
                torch.cat(chunks[:start], dim=2) if start else None,
                s.context_size,
            )
        )

    by_hand = [chunk for start in range(0, num_chunks, s.chunks_per_run) for chunk in window(start)]
    assert len(by_hand) == len(chunks) and all(map(torch.equal, chunks, by_hand))


def test_fifo_by_hand() -> None:
    """S = W = 4: a clip, then two windows a shift, of which the later halves move, as §3.1 to §3.3 of the paper say."""
    s = sampling_by("fifo", 4, 1, 1, 0, 4)
    record = Record()
    chunks = run(s, 2, record)
    s0, s1, s2, s3 = ladder(s)[:4].tolist()
    assert [(first, sigma.tolist()) for _, sigma, first in record.calls] == [
        *((0, [level] * 4) for level in (s0, s1, s2, s3)),
        (-2, [0, 0, s3, s2]),
        (0, [s3, s2, s1, s0]),
        (-1, [0, 0, s3, s2]),
        (1, [s3, s2, s1, s0]),
    ]
    (clip,) = chunks_of(mixing, lambda k: noise(0, 4), ladder(s), 1, 1)
    (low, _, first_low), (high, _, first_high), (next_low, *_), (next_high, *_) = record.calls[4:]
    assert torch.equal(low[:, :, :2], clip[:, :, [0, 0]])
    level = torch.tensor([s3, s2, s1, s0]).view(-1, 1, 1)
    assert torch.equal(high, (1 - level) * clip + level * noise(AGAIN, 4))
    assert torch.equal(low[:, :, 2:], high[:, :, :2])

    gap = torch.tensor([0 - s3, s3 - s2, s2 - s1, s1 - s0]).view(-1, 1, 1)
    v = [
        mixing(x, torch.tensor(levels), first)[:, :, 2:]
        for x, levels, first in (
            (low, [0, 0, s3, s2], first_low),
            (high, [s3, s2, s1, s0], first_high),
        )
    ]
    moved = high + gap * torch.cat(v, dim=2)
    assert torch.equal(chunks[0], moved[:, :, :1])
    assert torch.equal(next_low, torch.cat([clip[:, :, :1], moved[:, :, :3]], dim=2))
    assert torch.equal(next_high, torch.cat([moved[:, :, 1:], noise(4, 1)], dim=2))


def test_fifo_with_a_queue_longer_than_the_window() -> None:
    """S = 6, W = 4: three windows a shift, and two repeats of the clip's first latent that are not in the film."""
    s = sampling_by("fifo", 6, 1, 1, 0, 4)
    record = Record()
    assert len(run(s, 1, record)) == 1
    s0, s1, s2, s3, s4, s5 = ladder(s)[:6].tolist()
    windows = [[0, 0, s5, s4], [s5, s4, s3, s2], [s3, s2, s1, s0]]
    assert [(first, sigma.tolist()) for _, sigma, first in record.calls[6:]] == [
        (oldest + 2 * i - 2, levels) for oldest in (-2, -1, 0) for i, levels in enumerate(windows)
    ]
    (clip,) = chunks_of(mixing, lambda k: noise(0, 4), ladder(s), 1, 1)
    level = torch.tensor([s5, s4, s3, s2]).view(-1, 1, 1)
    start = (1 - level) * clip[:, :, [0, 0, 0, 1]] + level * noise(AGAIN - 2, 4)
    assert torch.equal(record.calls[7][0], start)


@given(samplings(("full-window",)), numbers_of_chunks)
def test_a_full_window_from_its_first_pass_to_its_last(s: Sampling, num_chunks: int) -> None:
    """A clip at one level, then ladders that are never short of a rung, the first of the clip noised to it."""
    record = Record()
    run(s, num_chunks, record)
    S, M, size = s.num_inference_steps, s.steps_per_chunk, s.chunk_size
    (clip,) = chunks_of(mixing, lambda k: noise(0, s.rungs * size), ladder(s), 1, 1)
    clip_passes, (start, sigma, first) = record.calls[:S], record.calls[S]
    assert all(len(set(sigma.tolist())) == 1 for _, sigma, _ in clip_passes)
    assert first == 0 and torch.equal(
        sigma, ladder(s)[M * torch.arange(s.rungs).flip(0)].repeat_interleave(size)
    )
    level = sigma.view(-1, 1, 1)
    torch.testing.assert_close(start, (1 - level) * clip + level * noise(AGAIN, s.rungs * size))
    for number, (_, sigma, _) in enumerate(record.calls[S:], start=(s.rungs - 1) * M):
        noisy = s.rungs if number % M <= (S - 1) % M else s.rungs - 1
        assert (sigma > 0).sum() == noisy * size


@pytest.mark.parametrize("method", METHODS)
def test_closing_early(method: Method) -> None:
    """close() ends the film at once, with gradients as before; none are recorded on the way."""
    weight = torch.ones(1, requires_grad=True)
    record = Record(lambda latents, sigma, first: latents * weight)
    s = sampling_by(method, 4, 1, 1, 2, 4)
    chunks = denoise(s, record, noise, ladder(s), 9)
    assert not next(chunks).requires_grad and torch.is_grad_enabled()
    made = len(record.calls)
    chunks.close()
    assert inspect.getgeneratorstate(chunks) == inspect.GEN_CLOSED
    assert len(record.calls) == made and torch.is_grad_enabled()


@pytest.mark.parametrize("model", ["tubelet_model", "wan_model", "open_sora_model"])
@pytest.mark.parametrize("method", METHODS)
def test_real_models_film_by_every_method(method: Method, model: str, request: pytest.FixtureRequest) -> None:
    """Guards exact lengths, whatever a method makes in one go, on networks and autoencoders of both kinds."""
    take = LongTake(request.getfixturevalue(model))
    small: dict[str, Any] = {"width": 32, "height": 32, "num_inference_steps": 3}
    if method in ("progressive", "restart", "full-window"):
        small["steps_per_chunk"] = 1
    portions = list(take.stream("a red car", num_frames=14, method=method, **small))
    assert sum(map(len, portions)) == 14 and all(map(len, portions))


@pytest.mark.parametrize("method", ["noisy-replacement", "fifo", "full-window"])
def test_what_is_noised_again_looks_like_what_was_never_clean(method: Method) -> None:
    """Guards the second noise: where data is white noise, the exact model keeps the variance of a mix at every level.
    Data mixed with the noise that it was made of would have up to twice that."""

    def exact(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        level = sigma.view(-1, 1, 1)
        return (2 * level - 1) / ((1 - level) ** 2 + level**2) * latents

    def wide(first: int, count: int) -> Tensor:
        return chunk_noise([7], first, count, (4, 16, 16))

    record = Record(exact)
    s = sampling_by(method, 40, 10, 1, 2, 4)
    list(denoise(s, record, wide, ladder(s), 8))
    for latents, sigma, _ in record.calls:
        variance = latents.var(dim=(0, 1, 3, 4))
        assert (variance / ((1 - sigma) ** 2 + sigma**2) - 1).abs().max() < 0.25


@given(samplings(), numbers_of_chunks, st.data())
def test_every_methods_state_is_a_window(s: Sampling, num_chunks: int, data: st.DataObject) -> None:
    """Stopped at any pass and gone on from the window alone, twice: the same bits as in one go."""
    how = sampler(s, mixing, noise, ladder(s), num_chunks)

    def rest(window: Window) -> list[Tensor]:
        chunks = []
        while window.t < how.end:
            window, chunk = how.advance(window)
            chunks += [] if chunk is None else [chunk]
        return chunks

    whole, window, begun = run(s, num_chunks), how.begin(), 0
    for _ in range(data.draw(st.integers(0, how.end))):
        window, chunk = how.advance(window)
        begun += chunk is not None
    assert len(whole) == num_chunks
    for _ in range(2):
        assert all(map(torch.equal, rest(window), whole[begun:])) and len(rest(window)) == num_chunks - begun


FILMS: dict[str, str] = json.loads((Path(__file__).parent / "data" / "films.json").read_text())


@pytest.mark.parametrize("name", FILMS)
def test_films_stay_what_they_are(name: str) -> None:
    """Films of every method, to the bit, as the first edition made them: of sums and products, the same anywhere."""
    method, *numbers = name.split()
    S, M, C, X, W, N, given_latents = (int(number.lstrip("SMCXWNgiven")) for number in numbers)

    def simple(first: int, count: int) -> Tensor:
        place = (torch.arange(first, first + count) % 4093).view(1, 1, -1, 1, 1)
        return ((place * 37 + torch.arange(4).view(1, 2, 1, 1, 2) * 11 + 7) % 64 - 32) / 16.0

    def pulled(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        pull = latents * 0.5 + latents.roll(1, dims=2) * 0.25
        return pull - sigma.view(-1, 1, 1) * (latents * latents - first * 0.01) * 0.25

    s = sampling_by(cast(Method, method), S, M, C, X, W)
    context = simple(5000 - given_latents, given_latents) if given_latents else None
    chunks = denoise(s, pulled, simple, ladder(s), N, context)
    content = b"".join(chunk.contiguous().numpy().tobytes() for chunk in chunks)
    assert hashlib.sha256(content).hexdigest()[:16] == FILMS[name]


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        (torch.tensor([1.0]), "falls at every step"),
        (torch.tensor([1.0, 0.5, 0.5, 0.0]), "falls at every step"),
        (torch.tensor([1.0, float("nan"), 0.0]), "falls at every step"),
        (torch.tensor([[1.0, 0.0]]), "falls at every step"),
        (torch.tensor([1.0, 0.5, 0.1]), "from 1 to 0, got 1 to 0.1"),
        (torch.tensor([1000.0, 500.0, 0.0]), "from 1 to 0, got 1000 to 0"),
    ],
)
def test_tables_that_are_none(sigmas: Tensor, message: str) -> None:
    """Noise levels that no film has are refused when it is planned, before anything is drawn."""
    with pytest.raises(OptionError, match=message):
        denoise(Sampling(2, 1, 1, 0), mixing, noise, sigmas, 3)


def test_a_context_that_nothing_would_see() -> None:
    """Clean latents before the film are refused where the window keeps none."""
    s = Sampling(4, 2, 1, 0)
    with pytest.raises(OptionError, match="context_size must be at least 1 with a context"):
        denoise(s, mixing, noise, ladder(s), 2, torch.zeros(1, 2, 3, 1, 2))
