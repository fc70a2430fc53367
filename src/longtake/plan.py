"""What a film will cost, before anything is loaded; and the ladder of noise levels as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from longtake.errors import OptionError
from longtake.frames import FilmLength


@dataclass(frozen=True)
class Plan:
    """The cost of one film.

    passes: calls of the network over the window (each of twice the batch with guidance).
    peak_window: the most latents in the window, context included.
    latent_evaluations: latents the network sees, summed over all passes, context included.
    passes_until_first_chunk: passes before the first length.first_chunk_frames frames are out.
    """

    length: FilmLength
    num_inference_steps: int
    steps_per_chunk: int
    chunk_size: int
    context_size: int
    passes: int
    peak_window: int
    latent_evaluations: int
    passes_until_first_chunk: int


def make_plan(
    length: FilmLength,
    num_inference_steps: int,
    steps_per_chunk: int,
    chunk_size: int,
    context_size: int,
    given_context: int = 0,
) -> Plan:
    """Plan a film of `length`; given_context is the number of clean latents that it starts from, if any.

    The sums of docs/algorithm.md, in closed form. Raises OptionError for options out of range.
    """
    S, M, N = num_inference_steps, steps_per_chunk, length.num_chunks
    if not 1 <= M <= S:
        raise OptionError(f"steps_per_chunk must lie in 1 to num_inference_steps ({S}), got {M}")
    if chunk_size < 1 or context_size < 0:
        raise OptionError(
            f"chunk_size must be 1 or more, context_size 0 or more; got {chunk_size} and {context_size}"
        )
    assert N * chunk_size == length.num_latent_frames, "length was made for another chunk_size"

    def context_after(finished: int) -> int:
        return min(context_size, given_context + finished * chunk_size)

    most_chunks = min(N, -(-S // M))
    growing = min(N - 1, max(0, -(-(context_size - given_context) // chunk_size) - 1))
    grown = growing * given_context + chunk_size * growing * (growing + 1) // 2
    context_evaluations = S * context_after(0) + M * (grown + (N - 1 - growing) * context_size)
    return Plan(
        length=length,
        num_inference_steps=S,
        steps_per_chunk=M,
        chunk_size=chunk_size,
        context_size=context_size,
        passes=(N - 1) * M + S,
        peak_window=most_chunks * chunk_size + context_after(N - most_chunks),
        latent_evaluations=N * S * chunk_size + context_evaluations,
        passes_until_first_chunk=S,
    )


def ladder_picture(sigmas: Sequence[float], steps_per_chunk: int, chunk_size: int, context_size: int) -> str:
    """The full window as a chunk of noise enters it, one line a chunk, in the order of the film.

    A bar is as long as the chunk's sigma; its light end is what the next steps_per_chunk passes take off,
    which brings each chunk down to where the one before it stood. sigmas: (S+1,) falling from 1 to 0.
    """
    S, M, width = len(sigmas) - 1, steps_per_chunk, 48
    lines = [_rung(context_size, 0.0, 0.0, width, "context, clean")] if context_size else []
    for taken in reversed(range(0, S, M)):
        now, after = sigmas[taken], sigmas[min(S, taken + M)]
        remark = "enters as noise" if taken == 0 else "leaves clean" if taken + M >= S else ""
        lines.append(_rung(chunk_size, now, after, width, remark))
    return "\n".join(lines)


def _rung(latents: int, now: float, after: float, width: int, remark: str) -> str:
    solid, total = round(after * width), round(now * width)
    bar = "█" * solid + "░" * (total - solid)
    label = "1 latent" if latents == 1 else f"{latents} latents"
    return f"{label:>12}  {now:.3f}  {bar:<{width}}  {remark}".rstrip()
