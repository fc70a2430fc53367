"""How a film is denoised and what it will cost, before anything is loaded."""

from dataclasses import dataclass
from typing import Literal

from longtake.errors import OptionError
from longtake.frames import FilmLength
from longtake.ladder import Ladder

Method = Literal[
    "progressive", "replacement", "noisy-replacement", "chunk-by-chunk", "restart", "fifo", "full-window"
]

Solver = Literal["euler", "unipc", "renoise"]

# The methods that make their own start, and so cannot begin with a clip.
OWN_START: tuple[Method, ...] = ("fifo", "full-window")
# The methods that noise finished latents again, with noise of places that no film reaches.
RENOISING: tuple[Method, ...] = (*OWN_START, "noisy-replacement")
# The methods that make chunk behind chunk where M = S.
ONE_BY_ONE: tuple[Method, ...] = ("progressive", "replacement", "chunk-by-chunk")

# The settings that a method makes for itself, and so does not take.
OWN_SETTINGS: dict[Method, tuple[str, ...]] = {
    "replacement": ("steps_per_chunk", "chunk_size"),
    "noisy-replacement": ("steps_per_chunk", "chunk_size"),
    "chunk-by-chunk": ("steps_per_chunk", "chunk_size", "context_size"),
    "fifo": ("steps_per_chunk", "chunk_size", "context_size"),
}


@dataclass(frozen=True)
class Sampling:
    """How a film is denoised, in the names of docs/algorithm.md. OptionError for numbers out of range.

    model_window: noisy latents in the window that the model was made for; restart and fifo keep to it.
    reencode_context: a finished chunk is decoded and encoded before it becomes context; chunks one by one alone, and
    none shorter than the context.
    """

    num_inference_steps: int
    steps_per_chunk: int
    chunk_size: int
    context_size: int
    method: Method = "progressive"
    model_window: int = 1
    reencode_context: bool = False
    solver: Solver = "euler"

    def __post_init__(self) -> None:
        S, M = self.num_inference_steps, self.steps_per_chunk
        if not 1 <= M <= S:
            raise OptionError(f"steps_per_chunk must lie in 1 to num_inference_steps ({S}), got {M}")
        if self.chunk_size < 1 or self.context_size < 0:
            raise OptionError(
                "chunk_size must be 1 or more, context_size 0 or more;"
                f" got {self.chunk_size} and {self.context_size}"
            )
        if self.solver != "euler" and self.method in OWN_START:
            raise OptionError(
                f"method {self.method} noises a clip anew and goes on by its own steps: solver {self.solver} is not for"
                " it, take euler"
            )
        if self.reencode_context and not (self.rungs == 1 and self.method in ONE_BY_ONE):
            raise OptionError(
                "reencode_context needs chunks that are made one by one: method replacement, or steps_per_chunk as"
                " many as num_inference_steps"
            )
        if self.reencode_context and not 1 <= self.context_size <= self.chunk_size:
            raise OptionError(
                "reencode_context takes its context from the chunk before: give a context_size of 1 to"
                f" {self.chunk_size}, not {self.context_size}"
            )

    def ladder(self, num_chunks: int) -> Ladder:
        """The ladder of so many chunks."""
        return Ladder(
            self.num_inference_steps, self.steps_per_chunk, self.chunk_size, num_chunks, self.context_size
        )

    def runs(self, num_chunks: int) -> list[Ladder]:
        """The ladders, one after the other, of a film by restart."""
        return [
            self.ladder(min(self.chunks_per_run, num_chunks - start))
            for start in range(0, num_chunks, self.chunks_per_run)
        ]

    @property
    def rungs(self) -> int:
        """The most chunks that are noisy at once."""
        return len(self.ladder(1).rungs())

    @property
    def growing_passes(self) -> int:
        """The passes in which the window of a film from noise alone is not full yet."""
        return (self.rungs - 1) * self.steps_per_chunk

    @property
    def chunks_per_run(self) -> int:
        """The chunks of a window that is finished before the next one starts."""
        return _ceil_div(self.model_window, self.chunk_size)

    def passes_of(self, chunk: int) -> tuple[int, int] | None:
        """The passes that are made when a chunk enters as noise, and when it is clean; None for the methods that make
        their own start, whose calls of the network are of other kinds."""
        if self.method in OWN_START:
            return None
        run, place = divmod(chunk, self.chunks_per_run) if self.method == "restart" else (0, chunk)
        before = run * self.ladder(self.chunks_per_run).passes + place * self.steps_per_chunk
        return before, before + self.num_inference_steps

    @property
    def window(self) -> int:
        """The latents of a full window, context included: the peak_window of every film that is long enough."""
        chunks = min(self.rungs, self.chunks_per_run) if self.method == "restart" else self.rungs
        latents = chunks * self.chunk_size + self.context_size
        return min(latents, self.model_window) if self.method == "fifo" else latents


def sampling_by(
    method: Method,
    num_inference_steps: int,
    steps_per_chunk: int,
    chunk_size: int,
    context_size: int,
    model_window: int,
) -> Sampling:
    """What a method makes of a film's settings, with a model whose own window holds model_window noisy latents.

    Where context_size is 0, the methods that cannot do without a context take a third of that window.
    """
    S, M, C, W = num_inference_steps, steps_per_chunk, chunk_size, model_window
    context = context_size or _ceil_div(W, 3)
    match method:
        case "replacement" | "noisy-replacement":
            return Sampling(S, S, W, context, method, W)
        case "chunk-by-chunk":
            return Sampling(S, S, W - W // 2, W // 2, method, W)
        case "restart":
            return Sampling(S, M, C, context, method, W)
        case "fifo":
            return Sampling(S, 1, 1, W // 2, method, W)
        case "progressive" | "full-window":
            return Sampling(S, M, C, context_size, method, W)


@dataclass(frozen=True)
class Plan:
    """The cost of one film.

    passes: calls of the network over a window (each of twice the batch with guidance).
    peak_window: the most latents in a window, context included.
    latent_evaluations: latents the network sees, summed over all passes, context included.
    passes_until_first_chunk: passes before the first length.first_chunk_frames frames are out.
    """

    length: FilmLength
    sampling: Sampling
    passes: int
    peak_window: int
    latent_evaluations: int
    passes_until_first_chunk: int

    @property
    def evaluations_per_frame(self) -> float:
        """latent_evaluations for each frame of the film: the coin in which methods are compared."""
        return self.latent_evaluations / self.length.num_frames


def make_plan(length: FilmLength, sampling: Sampling, given_context: int = 0) -> Plan:
    """Plan a film of `length`; given_context is the number of clean latents that it starts from, if any.

    The sums of docs/algorithm.md, in closed form.
    """
    assert length.num_chunks * sampling.chunk_size == length.num_latent_frames, "length has other chunks"
    match sampling.method:
        case "restart":
            work = _restart_work(sampling.runs(length.num_chunks), given_context)
        case "fifo":
            work = _fifo_work(sampling, length.num_chunks)
        case "full-window":
            work = _full_window_work(sampling, length.num_chunks)
        case _:
            work = _work(sampling.ladder(length.num_chunks), given_context)
    return Plan(length, sampling, *work)


Work = tuple[int, int, int, int]  # the last four fields of Plan


def _work(ladder: Ladder, given_context: int = 0) -> Work:
    S, M, C = ladder.num_steps, ladder.steps_per_chunk, ladder.chunk_size
    N, X = ladder.num_chunks, ladder.context_size

    def context_after(finished: int) -> int:
        return min(X, given_context + finished * C)

    most_chunks = min(N, len(ladder.rungs()))
    growing = min(N - 1, max(0, _ceil_div(X - given_context, C) - 1))
    grown = growing * given_context + C * growing * (growing + 1) // 2
    context_evaluations = S * context_after(0) + M * (grown + (N - 1 - growing) * X)
    return (
        ladder.passes,
        most_chunks * C + context_after(N - most_chunks),
        N * S * C + context_evaluations,
        S,
    )


def _restart_work(runs: list[Ladder], given_context: int) -> Work:
    before = [given_context + start * runs[0].num_chunks * runs[0].chunk_size for start in range(len(runs))]
    works = [_work(run, given) for run, given in zip(runs, before, strict=True)]
    passes, peaks, evaluations, waits = zip(*works, strict=True)
    return sum(passes), max(peaks), sum(evaluations), waits[0]


def _fifo_work(s: Sampling, N: int) -> Work:
    S, looked_at = s.num_inference_steps, s.context_size
    clip = min(S, s.model_window)
    windows, shifts = _ceil_div(S, s.model_window - looked_at), S - clip + N
    return (
        S + windows * shifts,
        s.window,
        S * clip + (windows * looked_at + S) * shifts,
        S + windows * (S - clip + 1),
    )


def _full_window_work(s: Sampling, N: int) -> Work:
    S, C, rungs = s.num_inference_steps, s.chunk_size, s.rungs
    left_out = s.growing_passes
    passes, _, evaluations, _ = _work(s.ladder(N))
    return (
        S + passes - left_out,
        rungs * C + min(s.context_size, (N - 1) * C),
        rungs * S * C + evaluations + C * ((rungs - 1) * S - rungs * left_out),
        S + S - left_out,
    )


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
