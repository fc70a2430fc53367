"""The heart: its one rule, checked from every side. C, H, W are 1 or 2 here; the rule does not know them."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor

from filming import chunks_of, nothing_of
from longtake.errors import OptionError
from longtake.ladder import Ladder
from longtake.models.toy import OneFilm
from longtake.noise import chunk_noise, latent_noise, sigma_table
from longtake.progressive import Window, advance, progressive_denoise
from longtake.solvers import Memory, Solver, euler, unipc2

SHAPE = (2, 1, 2)


@dataclass(frozen=True)
class Setting:
    """One set of arguments for the heart."""

    num_steps: int
    steps_per_chunk: int
    chunk_size: int
    num_chunks: int
    context_size: int = 0
    given: int = 0
    batch: int = 1
    dtype: torch.dtype = torch.float32

    @cached_property
    def sigmas(self) -> Tensor:
        return sigma_table(self.num_steps, shift=3.0)

    @property
    def num_latents(self) -> int:
        return self.num_chunks * self.chunk_size

    @property
    def context(self) -> Tensor | None:
        """Given clean latents: the film at indices -given to -1."""
        return film_of(range(-self.given, 0), self.batch).to(self.dtype) if self.given else None

    def noise(self, k: int) -> Tensor:
        return chunk_noise(range(self.batch), k * self.chunk_size, self.chunk_size, SHAPE).to(self.dtype)

    def run(self, velocity: Callable[[Tensor, Tensor, int], Tensor], **options: Any) -> list[Tensor]:
        return list(self.start(velocity, **options))

    def start(self, velocity: Callable[[Tensor, Tensor, int], Tensor], **options: Any) -> Any:
        return chunks_of(
            velocity,
            self.noise,
            self.sigmas,
            self.num_chunks,
            self.steps_per_chunk,
            self.context,
            self.context_size,
            **options,
        )


@st.composite
def settings(draw: st.DrawFn) -> Setting:
    num_steps = draw(st.integers(1, 12))
    context_size = draw(st.integers(0, 7))
    return Setting(
        num_steps=num_steps,
        steps_per_chunk=draw(st.integers(1, num_steps)),
        chunk_size=draw(st.integers(1, 3)),
        num_chunks=draw(st.integers(1, 7)),
        context_size=context_size,
        given=draw(st.integers(0, 5)) if context_size else 0,
        batch=draw(st.integers(1, 2)),
    )


def film(index: int) -> Tensor:
    """Latent `index` of the film that the exact model knows; it goes on before 0 and after the end."""
    return latent_noise(1234, index + 1000, SHAPE)


def film_of(indices: range, batch: int = 1) -> Tensor:
    return torch.stack([film(i) for i in indices], dim=1).expand(batch, -1, -1, -1, -1)


def mixing(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
    """A velocity in which every latent depends on its neighbour and its sigma. Sums and products: exact."""
    pull = latents * 0.5 + latents.roll(1, dims=2) * 0.25
    return pull - sigma.view(-1, 1, 1) * (latents * latents - first * 0.01)


def alone(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
    """A curved velocity in which no latent sees another."""
    return (latents * latents - 1) * (sigma.view(-1, 1, 1) + 0.5)


@dataclass
class Record:
    """A velocity that notes what it is asked."""

    velocity: Callable[[Tensor, Tensor, int], Tensor] = mixing
    calls: list[tuple[Tensor, Tensor, int]] = field(default_factory=list)

    def __call__(self, latents: Tensor, sigma: Tensor, first: int) -> Tensor:
        self.calls.append((latents.clone(), sigma, first))
        return self.velocity(latents, sigma, first)


@given(settings())
def test_each_latent_takes_every_step_once(s: Setting) -> None:
    """Every latent meets sigmas[0], …, sigmas[S-1], in this order, each once, wherever it is in the film."""
    record = Record()
    s.run(record)
    met: dict[int, list[float]] = {i: [] for i in range(s.num_latents)}
    for _, sigma, first in record.calls:
        for i, level in enumerate(sigma.tolist(), first):
            if level > 0:
                met[i].append(level)
    assert all(levels == s.sigmas[:-1].tolist() for levels in met.values())


@given(settings())
def test_passes_and_moment_of_each_chunk(s: Setting) -> None:
    """(N - 1) * M + S passes; chunk k is asked for before pass k * M and out after pass k * M + S - 1."""
    record = Record()
    asked: list[int] = []

    def noise(k: int) -> Tensor:
        asked.append(len(record.calls))
        return s.noise(k)

    out = []
    for _ in chunks_of(record, noise, s.sigmas, s.num_chunks, s.steps_per_chunk, s.context, s.context_size):
        out.append(len(record.calls))
    assert asked == [k * s.steps_per_chunk for k in range(s.num_chunks)]
    assert out == [k * s.steps_per_chunk + s.num_steps for k in range(s.num_chunks)]
    assert len(record.calls) == (s.num_chunks - 1) * s.steps_per_chunk + s.num_steps


@given(settings())
def test_window(s: Setting) -> None:
    """sigma fits the window, is shared by each chunk and never falls along it; at most ceil(S / M) chunks."""
    record = Record()
    s.run(record)
    for latents, sigma, first in record.calls:
        assert sigma.shape == (latents.shape[2],) and sigma.dtype == torch.float32
        assert (sigma.diff() >= 0).all()
        start, noisy = first + int((sigma == 0).sum()), sigma[sigma > 0]
        assert start % s.chunk_size == 0 and len(noisy) % s.chunk_size == 0
        assert len(noisy) <= -(-s.num_steps // s.steps_per_chunk) * s.chunk_size
        assert (noisy.view(-1, s.chunk_size).diff(dim=1) == 0).all()
        assert (noisy[:: s.chunk_size].diff() > 0).all()


@given(settings())
def test_context_is_the_last_clean_latents(s: Setting) -> None:
    """The head of the window equals the last latents given or yielded, up to context_size, at sigma 0."""
    record = Record()
    clean = s.noise(0)[:, :, :0] if s.context is None else s.context
    start, seen = -clean.shape[2], 0
    for chunk in s.start(record):
        for latents, sigma, first in record.calls[seen:]:
            size = int((sigma == 0).sum())
            end = clean.shape[2]
            assert size == min(s.context_size, end)
            assert torch.equal(latents[:, :, :size], clean[:, :, end - size :])
            assert first == start + end - size
        seen = len(record.calls)
        clean = torch.cat([clean, chunk], dim=2)


@given(settings())
def test_noise_enters_untouched(s: Setting) -> None:
    """A latent at sigma 1 is the noise of its place, bit for bit: nothing is dropped, doubled or moved."""
    record = Record()
    s.run(record)
    noise = torch.cat([s.noise(k) for k in range(s.num_chunks)], dim=2)
    entered = []
    for latents, sigma, first in record.calls:
        for j in (sigma == 1).nonzero().flatten().tolist():
            assert torch.equal(latents[:, :, j], noise[:, :, first + j])
            entered.append(first + j)
    assert entered == list(range(s.num_latents))


@given(settings(), st.sampled_from([(torch.float32, 1e-6), (torch.float64, 1e-14)]))
def test_exact_model_returns_its_film(s: Setting, precision: tuple[torch.dtype, float]) -> None:
    """With the exact velocity of one film, that film comes out, every latent in its place."""
    dtype, atol = precision
    s = replace(s, dtype=dtype)
    chunks = s.run(OneFilm(film))
    assert [c.shape for c in chunks] == [(s.batch, 2, s.chunk_size, 1, 2)] * s.num_chunks
    assert all(c.dtype == dtype for c in chunks)
    expected = film_of(range(s.num_latents), s.batch).to(dtype)
    torch.testing.assert_close(torch.cat(chunks, dim=2), expected, atol=atol, rtol=0)


@given(settings())
def test_latents_have_the_noise_level_they_are_said_to_have(s: Setting) -> None:
    """On the way every latent is (1 - sigma) * film + sigma * noise: the sigma told is the sigma held."""
    s = replace(s, dtype=torch.float64)
    record = Record(OneFilm(film))
    s.run(record)
    for latents, sigma, first in record.calls:
        indices = range(first, first + latents.shape[2])
        level = sigma.double().view(-1, 1, 1)
        noise = torch.cat([chunk_noise(range(s.batch), max(i, 0), 1, SHAPE) for i in indices], dim=2)
        held = (1 - level) * film_of(indices, s.batch) + level * noise
        torch.testing.assert_close(latents, held, atol=2e-6, rtol=0)


@pytest.mark.parametrize("num_steps", [1, 2, 24, 50])
@pytest.mark.parametrize("shift", [1.0, 3.0, 8.0])
def test_one_chunk_is_bit_equal_to_diffusers(num_steps: int, shift: float) -> None:
    """One chunk is an ordinary clip: the same bits as FlowMatchEulerDiscreteScheduler, step by step."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / num_steps, num_steps))
    noise = chunk_noise([5], 0, 4, (3, 4, 5))
    latents = noise
    for timestep, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        latents = scheduler.step(mixing(latents, sigma.expand(4), 0), timestep, latents, return_dict=False)[0]
    (chunk,) = chunks_of(mixing, lambda k: noise, scheduler.sigmas, 1, 1)
    assert torch.equal(chunk, latents)


def test_whole_clip_at_a_time_is_replacement() -> None:
    """M = S is the ordinary loop around a clip model: each chunk alone, behind the end of the last."""
    s = Setting(num_steps=6, steps_per_chunk=6, chunk_size=3, num_chunks=4, context_size=2)
    context = s.noise(0)[:, :, :0]
    for k, chunk in enumerate(s.run(mixing)):
        latents, size = s.noise(k), context.shape[2]
        for now, after in pairwise(s.sigmas):
            sigma = torch.cat([torch.zeros(size), now.expand(3)])
            v = mixing(torch.cat([context, latents], dim=2), sigma, 3 * k - size)
            latents = latents + (after - now) * v[:, :, size:]
        assert torch.equal(chunk, latents)
        context = latents[:, :, -2:]


@given(settings())
def test_a_batch_equals_its_members(s: Setting) -> None:
    """Each film of a batch has the same bits as that film made alone."""
    s = replace(s, batch=3)
    together = torch.cat(s.run(mixing), dim=2)
    for b in range(3):
        context = None if s.context is None else s.context[b : b + 1]

        def noise(k: int, b: int = b) -> Tensor:
            return s.noise(k)[b : b + 1]

        member = chunks_of(mixing, noise, s.sigmas, s.num_chunks, s.steps_per_chunk, context, s.context_size)
        assert torch.equal(torch.cat(list(member), dim=2), together[b : b + 1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_of_the_noise_is_kept(dtype: torch.dtype) -> None:
    """Latents keep their dtype whatever the network returns, and sigma stays float32."""
    s = Setting(
        num_steps=5, steps_per_chunk=2, chunk_size=2, num_chunks=3, context_size=3, given=3, dtype=dtype
    )
    record = Record(lambda latents, sigma, first: latents.float())
    assert all(chunk.dtype == dtype for chunk in s.run(record))
    assert all(latents.dtype == dtype and sigma.dtype == torch.float32 for latents, sigma, _ in record.calls)


def test_step_of_half_precision_is_taken_in_float32() -> None:
    """The Euler step multiplies and adds in float32 and rounds once, at the end."""
    x, v = torch.randn(2, 1, 2, 3, 1, 1, generator=torch.Generator().manual_seed(0)).bfloat16()
    sigmas, steps = sigma_table(7, 1.0), torch.tensor([0, 3, 6])
    exact = x.float() + (sigmas[steps + 1] - sigmas[steps]).view(-1, 1, 1) * v.float()
    assert torch.equal(euler(x, v, sigmas, steps, (), 0)[0], exact.bfloat16())


def test_live_memory_is_flat() -> None:
    """The tensors alive after chunk 20 and after chunk 190 take the same bytes: no list grows inside."""
    s = Setting(num_steps=6, steps_per_chunk=2, chunk_size=2, num_chunks=200, context_size=4)

    def alive() -> int:
        return sum(x.nbytes for x in gc.get_objects() if type(x) is Tensor)

    held = [alive() for k, _ in enumerate(s.start(mixing)) if k in (20, 100, 190)]
    assert held[0] == held[1] == held[2]


def test_chunks_are_the_callers_own() -> None:
    """A yielded chunk holds its own bytes alone; writing over it does not change the rest of the film."""
    s = Setting(num_steps=6, steps_per_chunk=2, chunk_size=2, num_chunks=5, context_size=4)
    expected = s.run(mixing)
    for chunk, same in zip(s.start(mixing), expected, strict=True):
        assert chunk.untyped_storage().nbytes() == chunk.nbytes
        assert torch.equal(chunk, same)
        chunk.zero_()


def test_closing_early() -> None:
    """close() ends the film at once: no further pass, no further noise, gradients as before."""
    record = Record()
    s = Setting(num_steps=6, steps_per_chunk=2, chunk_size=2, num_chunks=5)
    chunks = s.start(record)
    next(chunks)
    assert torch.is_grad_enabled(), "no_grad leaked out of the generator"
    chunks.close()
    assert len(record.calls) == 6 and list(chunks) == []
    assert torch.is_grad_enabled()


def test_no_gradients_are_recorded() -> None:
    """A network with trainable weights leaves no graph behind."""
    weight = torch.ones(1, requires_grad=True)
    s = Setting(num_steps=3, steps_per_chunk=1, chunk_size=1, num_chunks=4, context_size=1)
    assert not any(c.requires_grad for c in s.run(lambda latents, sigma, first: latents * weight))


def bounded(latents: Tensor, sigma: Tensor, first: int) -> Tensor:
    """`mixing` of latents that no solver drives away."""
    return mixing(latents.clamp(-2, 2), sigma, first)


@dataclass(frozen=True)
class Film:
    """A setting as the heart takes it."""

    s: Setting
    seed: int = 0

    @property
    def ladder(self) -> Ladder:
        return Ladder(
            self.s.num_steps,
            self.s.steps_per_chunk,
            self.s.chunk_size,
            self.s.num_chunks,
            self.s.context_size,
        )

    @property
    def start(self) -> Window:
        nothing = nothing_of(SHAPE, self.s.batch)
        given = nothing if self.s.context is None else self.s.context[:, :, -self.s.context_size :]
        return Window(0, given, nothing, (nothing,) * 3)

    def noise(self, k: int) -> Tensor:
        size = self.s.chunk_size
        return chunk_noise(range(self.seed, self.seed + self.s.batch), k * size, size, SHAPE)

    def advanced(self, window: Window, passes: int) -> tuple[Window, list[Tensor]]:
        """The window so many passes later, and the chunks that they finished."""
        chunks = []
        for _ in range(passes):
            window, chunk = advance(window, self.ladder, self.s.sigmas, bounded, self.noise, unipc2)
            chunks += [] if chunk is None else [chunk]
        return window, chunks

    def rest(self, window: Window) -> list[Tensor]:
        return self.advanced(window, self.ladder.passes - window.t)[1]


def saved_and_loaded(window: Window) -> Window:
    """A window through a safetensors file's bytes."""
    names = ("clean", "noisy", *(f"memory.{i}" for i in range(len(window.memory))))
    tensors = (window.clean, window.noisy, *window.memory)
    again = load(save({name: x.contiguous() for name, x in zip(names, tensors, strict=True)}))
    clean, noisy, *memory = (again[name] for name in names)
    return Window(window.t, clean, noisy, tuple(memory))


@given(settings(), st.data())
def test_a_window_is_the_film_stopped(s: Setting, data: st.DataObject) -> None:
    """Saved at any pass and loaded again, with what the solver remembers, the film goes on to the same bits."""
    film = Film(s)
    stop = data.draw(st.integers(0, film.ladder.passes))
    window, begun = film.advanced(film.start, stop)
    assert all(map(torch.equal, [*begun, *film.rest(saved_and_loaded(window))], film.rest(film.start)))
    assert len(film.rest(window)) == s.num_chunks - len(begun)


@given(settings(), st.data())
def test_a_window_branches(s: Setting, data: st.DataObject) -> None:
    """Advanced twice it gives the same bits twice; with other noise, films that part where that enters."""
    film, other = Film(s), Film(s, seed=50)
    stop = data.draw(st.integers(0, film.ladder.passes))
    window, _ = film.advanced(film.start, stop)
    one, two, again = film.rest(window), other.rest(window), film.rest(window)
    assert all(map(torch.equal, one, again))
    same = all(map(torch.equal, one, two))
    assert same == all(film.ladder.enters(t) is None for t in range(stop, film.ladder.passes))


@given(settings(), st.integers(1, 3))
def test_a_window_before_its_drain_extends(s: Setting, more: int) -> None:
    """Up to the pass before which another chunk would enter, a longer film is the same film."""
    film, longer = Film(s), Film(replace(s, num_chunks=s.num_chunks + more))
    drain = min(s.num_chunks * s.steps_per_chunk, film.ladder.passes)
    window, begun = film.advanced(film.start, drain)
    assert all(map(torch.equal, [*begun, *longer.rest(window)], longer.rest(longer.start)))


@given(settings())
def test_the_generator_gives_the_window_to_go_on_from(s: Setting) -> None:
    """With every chunk comes the window behind it: what is left of the film follows from that."""
    film = Film(s)
    stream = progressive_denoise(film.start, film.ladder, s.sigmas, bounded, film.noise, unipc2)
    whole = film.rest(film.start)
    for k, (chunk, window) in enumerate(stream):
        assert torch.equal(chunk, whole[k])
        assert all(map(torch.equal, film.rest(window), whole[k + 1 :]))


def adams_bashforth2(
    latents: Tensor, velocity: Tensor, sigmas: Tensor, steps: Tensor, memory: Memory, first: int
) -> tuple[Tensor, Memory]:
    """Second order, with one past velocity to a latent."""
    (past,) = memory
    gap = sigmas[steps + 1] - sigmas[steps]
    last_gap = sigmas[steps] - sigmas[(steps - 1).clamp(min=0)]
    bend = torch.where(steps > 0, gap / (2 * last_gap), 0).view(-1, 1, 1)
    return latents + gap.view(-1, 1, 1) * (velocity + bend * (velocity - past)), (velocity,)


SECOND_ORDER = Solver(adams_bashforth2, 1)


@given(settings())
def test_second_order_solver_plugs_in(s: Setting) -> None:
    """A solver that remembers gives the same bits in the moving window as alone."""
    together = s.run(alone, solver=SECOND_ORDER)
    for k, chunk in enumerate(together):
        noise = s.noise(k)
        (by_itself,) = chunks_of(alone, [noise].__getitem__, s.sigmas, 1, 1, solver=SECOND_ORDER)
        assert torch.equal(chunk, by_itself)


def test_second_order_solver_is_of_second_order() -> None:
    """Guards the test above: the history is used. Twice the steps, a quarter of the error (Euler: half)."""

    def error(num_steps: int) -> float:
        sigmas = torch.linspace(1, 0, num_steps + 1, dtype=torch.float64)
        start = torch.ones(1, 1, 1, 1, 1, dtype=torch.float64)
        (end,) = chunks_of(lambda x, sigma, first: x, lambda k: start, sigmas, 1, 1, solver=SECOND_ORDER)
        return abs(end.item() - np.exp(-1))

    assert 3.5 < error(50) / error(100) < 4.5


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((4, 0, 1, 1, 0), "steps_per_chunk must lie in 1 to num_steps"),
        ((4, 5, 1, 1, 0), "num_steps=4, steps_per_chunk=5"),
        ((4, 2, 0, 1, 0), "chunk_size=0"),
        ((4, 2, 1, 0, 0), "num_chunks=0"),
        ((4, 2, 1, 1, -1), "context_size=-1"),
    ],
)
def test_ladders_that_are_none(numbers: tuple[int, int, int, int, int], message: str) -> None:
    """Wrong numbers raise an OptionError that tells them, when the ladder is made."""
    with pytest.raises(OptionError, match=message):
        Ladder(*numbers)
