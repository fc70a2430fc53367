"""What of a film is given, and how much of it, in latents and in frames: its start, its end, its draft.

Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Literal

from longtake.errors import OptionError
from longtake.frames import FilmLength, film_length, frames_of, number
from longtake.models.base import ModelSpec
from longtake.plan import OWN_START, Sampling
from longtake.schedules import steps_from

# What a film may begin or end with; "behind" is a clip that comes behind it, and is no part of it.
Given = Literal["clip", "photo", "behind"]
End = Given | Literal["loop"]


def decoded_frames(num_latents: int, spec: ModelSpec) -> int:
    """The frames that a model makes of the first latents of a film."""
    return frames_of(
        max(0, num_latents - spec.joined_latents + 1),
        temporal_factor=spec.temporal_factor,
        first_frames=spec.first_frames,
        group_latents=spec.group_latents,
    )


def length_of(num_frames: int, chunk_size: int, given_latents: int, spec: ModelSpec) -> FilmLength:
    """How long a film of num_frames frames is with a model, which begins with so many latents."""
    return film_length(
        num_frames,
        temporal_factor=spec.temporal_factor,
        first_frames=spec.first_frames,
        chunk_size=chunk_size,
        group_latents=spec.group_latents,
        given_latents=given_latents,
        copies=spec.joined_latents - 1,
    )


def check_tokens(sampling: Sampling, spec: ModelSpec) -> None:
    """OptionError unless chunks and context are whole tokens, where latents share them."""
    joined = spec.joined_latents
    for name, latents in (("chunk_size", sampling.chunk_size), ("context_size", sampling.context_size)):
        if latents % joined:
            raise OptionError(
                f"{spec.name} joins {joined} latents into one token, so they share a noise level: take a {name} that is"
                f" a multiple of {joined}, not {latents}"
            )


def latent_of(frame: int, spec: ModelSpec) -> int:
    """The latent with which a frame of a film comes out."""
    return next(
        n for n in count(max(0, frame // spec.temporal_factor - 1)) if decoded_frames(n + 1, spec) > frame
    )


def latent_side(name: str, pixels: int, spec: ModelSpec) -> int:
    """The pixels of a side of the picture, whose name that is, in latents. OptionError for those that do not fit."""
    if pixels % spec.alignment:
        below = max(pixels // spec.alignment, 1) * spec.alignment
        raise OptionError(
            f"{name} {pixels} does not fit {spec.name}: take a multiple of {spec.alignment}, such as"
            f" {below} or {below + spec.alignment}"
        )
    return pixels // spec.spatial_factor


def check_groups(sampling: Sampling, spec: ModelSpec) -> None:
    """OptionError for windows that begin within a group of latents, of a model that must see whole ones."""
    group, sizes = spec.group_latents or 1, (sampling.chunk_size, sampling.context_size)
    if spec.whole_groups and any(size % group for size in sizes):
        raise OptionError(
            f"{spec.name} sees groups of {group} latents: take a chunk_size and a context_size that are multiples of"
            f" that, not {sizes[0]} and {sizes[1]}"
        )


def encoded_frames(num_latents: int, spec: ModelSpec) -> int:
    """The frames that a model needs to encode so many latents."""
    return decoded_frames(num_latents + spec.lookahead_latents, spec) if num_latents else 0


def from_draft(sampling: Sampling, strength: float, levels: Sequence[float]) -> Sampling:
    """How a film is denoised whose draft's latents enter at noise level `strength`, of (0, 1), and go on through those
    of `levels` that are lower. OptionError if it cannot be."""
    if sampling.method != "progressive" or sampling.reencode_context:
        raise OptionError("a draft is finished by method progressive, without reencode_context")
    if not 0 < strength < 1:
        raise OptionError(
            f"strength lies between 0, which keeps the draft, and 1, which keeps nothing of it; got {number(strength)}"
        )
    steps = steps_from(strength, levels)
    return replace(sampling, num_inference_steps=steps, steps_per_chunk=min(steps, sampling.steps_per_chunk))


def latents_at_start(sampling: Sampling, spec: ModelSpec, photo: bool) -> int:
    """The latents of a clip, or of a photo, that a film begins with. OptionError if it could not see them."""
    if sampling.method in OWN_START:
        raise OptionError(f"method {sampling.method} makes its own start: it cannot begin with a clip")
    if not sampling.context_size:
        raise OptionError(
            "a film that begins with a clip needs a context_size of 1 or more, to see the clip: give one (--context),"
            f" each latent of it holds up to {spec.temporal_factor} of the film's frames"
        )
    return spec.group_latents or (spec.joined_latents if photo else sampling.context_size)


def jumps_at_end(spec: ModelSpec, end: End | None) -> str | None:
    """In words, that a model jumps where its film meets such an end, and how much, if it was measured to."""
    if end is None or spec.ends is None:
        return None
    score = {"loop": spec.ends.loop, "photo": spec.ends.photo}.get(end, spec.ends.clip)
    if score <= spec.ends.largest:
        return None
    what = "its own beginning" if end == "loop" else "a photo" if end == "photo" else "a clip"
    return (
        f"{spec.name} jumps where a film meets {what}: {score:g} times as much as in the median, {spec.ends.largest:g}"
        f" times at most elsewhere, the mean of {spec.ends.films} films"
    )


def latents_at_end(sampling: Sampling, spec: ModelSpec, end: End | None) -> int:
    """The known latents that a film runs into. OptionError if it could not see them, or they would not fit."""
    if end is None:
        return 0
    if sampling.method != "progressive" or sampling.rungs == 1:
        raise OptionError(
            "a film sees the end that it runs into behind the noise of its window: that takes method progressive, with"
            " fewer steps_per_chunk than num_inference_steps"
        )
    if spec.group_latents:
        raise OptionError(
            f"{spec.name} begins anew after every {spec.group_latents} latents: it runs into no end"
        )
    if spec.joined_latents > 1:
        raise OptionError(f"{spec.name} joins latents, the first with a copy of itself: it runs into no end")
    return sampling.chunk_size * (1 if end == "photo" else sampling.rungs - 1)


def loop_length(spec: ModelSpec, sampling: Sampling, num_frames: int, given_latents: int) -> FilmLength:
    """How long a loop is: it has whole chunks, and enough of them to have begun before it ends."""
    length = length_of(num_frames, sampling.chunk_size, given_latents, spec)
    if length.num_chunks < 2 * sampling.rungs + 1:
        least = decoded_frames((2 * sampling.rungs + 1) * sampling.chunk_size + given_latents, spec)
        raise OptionError(f"a loop is longer than two windows: ask for {least:,} frames or more")
    return replace(length, num_frames=length.num_frames + length.surplus_frames, surplus_frames=0)
