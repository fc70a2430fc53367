"""What a film will cost, in words, and its ladder of noise levels as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.cli.common import quick_imports
from longtake.frames import FilmLength, number
from longtake.models.base import ModelSpec
from longtake.options import FilmPlan
from longtake.plan import Sampling
from longtake.schedules import takes_shift

if TYPE_CHECKING:
    from longtake.footprint import StateSize
    from longtake.models.folder import ModelFolder
TWICE = "; up to twice as much, as each pass asks two experts"


def cost_in_words(film: FilmPlan, spec: ModelSpec) -> str:
    """What a film by a model will cost, a line for each thing that is counted."""
    settings, cost, length = film.settings, film.cost, film.length
    sampling = cost.sampling
    scales = {settings.guidance_scale, film.experts.guidance_scale_2 if film.experts else 1}
    rows = "one row" if scales == {1} else "two rows, for guidance"
    return "\n".join(
        [
            f"{film.model}, {settings.width}x{settings.height} pixels, {number(film.rate)} frames/s",
            *([f"without       {', '.join(spec.left_out)}"] if spec.left_out else []),
            f"method        {sampling.method}{', context encoded anew' * sampling.reencode_context}",
            *([f"solver        {sampling.solver}"] if sampling.solver != "euler" else []),
            f"steps         {sampling.num_inference_steps}, {sampling.steps_per_chunk} for each chunk of"
            f" {sampling.chunk_size}, {_levels(film)}, guidance {_guidance(film)}",
            f"length        {number(length.num_frames / film.rate)} s, {_frames(length)}, {_latents(length)}",
            f"passes        {cost.passes:,}, of {rows}",
            f"window        at most {cost.peak_window} latents, {sampling.context_size} of them context",
            f"work          {cost.passes:,} passes, {cost.latent_evaluations:,} latent-frame evaluations,"
            f" {cost.evaluations_per_frame:.2f} a frame" + TWICE * bool(film.experts),
            f"first frames  {f'{film.given_frames} given, then ' if film.given_frames else ''}"
            f"{length.first_chunk_frames} after {cost.passes_until_first_chunk} passes"
            + f", and {spec.delay_latents} latents behind them"
            * bool(spec.delay_latents),
        ]
    )


def _levels(film: FilmPlan) -> str:
    """What the noise levels follow from."""
    settings = film.settings
    if settings.sigmas is not None:
        return "levels " + " ".join(f"{level:.4g}" for level in settings.sigmas)
    words = f"shift {settings.shift:g}" if takes_shift(settings, film.schedule) else ""
    return f"{film.schedule} levels {words}".rstrip() if film.schedule != "flow" else words


def _guidance(film: FilmPlan) -> str:
    """How closely the film follows its prompt; its latents below a noise level otherwise, where two experts are."""
    first, experts = f"{film.settings.guidance_scale:g}", film.experts
    return f"{first}, below {experts.boundary:g} {experts.guidance_scale_2:g}" if experts else first


def state_size_of(film: FilmPlan, folder: ModelFolder) -> StateSize:
    """The size of a film's states, with the autoencoder of a model's folder."""
    with quick_imports():
        import torch

        from longtake.footprint import state_size
        from longtake.models.parts import empty_part
    with torch.device("meta"):
        vae = empty_part(folder, "vae")
    if film.tile:
        vae.enable_tiling()
    return state_size(film, vae)


def states_in_words(film: FilmPlan, size: StateSize, every: float) -> str:
    """How large the states of a film are that are kept every so many seconds, and how many there are."""
    seconds = film.length.num_frames / film.rate
    count = 1 + int(seconds / every)
    return f"states        {size.in_file / 1e6:.2f} MB each at most, one every {number(every)} s: {count} at most"


def _frames(length: FilmLength) -> str:
    if not length.surplus_frames:
        return f"{length.num_frames:,} frames"
    return f"{length.num_frames + length.surplus_frames:,} frames cut to {length.num_frames:,}"


def _latents(length: FilmLength) -> str:
    made = f"{length.num_latent_frames:,} latents in {length.num_chunks:,} chunks"
    if not length.given_latents:
        return made
    return (
        f"{length.given_latents + length.num_latent_frames:,} latents: {length.given_latents} given, {made}"
    )


def ladder_picture(sigmas: Sequence[float], sampling: Sampling) -> str:
    """The full window as a chunk of noise enters it, one line a chunk, in the order of the film.

    A bar is as long as the chunk's sigma; its light end is what the next steps_per_chunk passes take off,
    which brings each chunk down to where the one before it stood. sigmas: (S+1,) falling to 0.
    """
    S, M, width = len(sigmas) - 1, sampling.steps_per_chunk, 48
    noisy = sampling.method == "noisy-replacement"
    level, remark = (sigmas[0], "context, noised as the clip") if noisy else (0.0, "context, clean")
    context = sampling.context_size
    lines = [_rung(context, level, level, width, remark)] if context else []
    for taken in sampling.ladder(1).rungs():
        now, after = sigmas[taken], sigmas[min(S, taken + M)]
        remark = "enters as noise" if taken == 0 else "leaves clean" if taken + M >= S else ""
        lines.append(_rung(sampling.chunk_size, now, after, width, remark))
    return "\n".join(lines)


def _rung(latents: int, now: float, after: float, width: int, remark: str) -> str:
    solid, total = round(after * width), round(now * width)
    bar = "█" * solid + "░" * (total - solid)
    label = "1 latent" if latents == 1 else f"{latents} latents"
    return f"{label:>12}  {now:.3f}  {bar:<{width}}  {remark}".rstrip()
