"""Seconds, frames, latent frames and chunks, turned into one another exactly or refused."""

import math
from dataclasses import dataclass
from fractions import Fraction

from longtake.errors import OptionError


@dataclass(frozen=True)
class FilmLength:
    """How long a film is, in every unit.

    num_frames: pixel frames asked for. num_latent_frames: latents made, in whole chunks, num_chunks of them.
    surplus_frames: decoded frames that are cut off the end.
    first_chunk_frames: frames of the film that its first chunk holds; 0 if it does not fill a group of latents.
    given_latents: clean latents that the film starts with, before those that are made.
    """

    num_frames: int
    num_latent_frames: int
    num_chunks: int
    surplus_frames: int
    first_chunk_frames: int
    given_latents: int = 0


def frames_in(seconds: float, fps: float | Fraction) -> int:
    """The number of frames in `seconds` at `fps`, both taken as the decimals they are written as.

    Raises OptionError unless both are positive and finite and the product is a whole number; the message
    names the two nearest lengths that work.
    """
    for name, value in (("seconds", seconds), ("fps", fps)):
        if not (math.isfinite(value) and value > 0):
            raise OptionError(f"{name} must be a positive number, got {value}")
    rate = Fraction(str(fps))
    frames = Fraction(str(seconds)) * rate
    if frames.denominator == 1:
        return frames.numerator
    step = _without_factors_2_and_5(rate.numerator)
    below = max(step, int(frames) // step * step)
    raise OptionError(
        f"{seconds} s at {fps} fps is {float(frames):.6g} frames, not a whole number; "
        f"the nearest lengths that work are {_seconds(below, rate)} and {_seconds(below + step, rate)}"
    )


def frames_of(
    num_latents: int, *, temporal_factor: int, first_frames: int, group_latents: int | None = None
) -> int:
    """The frames that latents decode to: first_frames, and temporal_factor for each latent after the first.

    first_frames: 1 for autoencoders of 4k+1 frames, temporal_factor for those of 4k.
    group_latents: where the autoencoder begins anew after so many latents, those of a group, which are
    decoded together once all are there: 5 for 17 frames each, of a factor of 4. None: it never does.
    """
    assert 1 <= first_frames <= temporal_factor
    if group_latents:
        group = frames_of(group_latents, temporal_factor=temporal_factor, first_frames=first_frames)
        return num_latents // group_latents * group
    return max(0, first_frames + (num_latents - 1) * temporal_factor)


def film_length(
    num_frames: int,
    *,
    temporal_factor: int,
    first_frames: int,
    chunk_size: int,
    group_latents: int | None = None,
    given_latents: int = 0,
) -> FilmLength:
    """The film of `num_frames` frames, where latents decode to frames as in frames_of.

    chunk_size: latents to a chunk. given_latents: clean latents that the film starts with; its frames include
    theirs. Raises OptionError for less than one frame, and for a film that the given latents hold already.
    """
    if num_frames < 1:
        raise OptionError(f"a film has at least 1 frame, got {num_frames}")
    assert chunk_size >= 1 and given_latents >= 0

    def decoded(latents: int) -> int:
        return frames_of(
            latents,
            temporal_factor=temporal_factor,
            first_frames=first_frames,
            group_latents=group_latents,
        )

    if group_latents:
        needed = _ceil_div(num_frames, decoded(group_latents)) * group_latents
    else:
        needed = 1 + _ceil_div(max(0, num_frames - first_frames), temporal_factor)
    if needed <= given_latents:
        raise OptionError(
            f"the film starts with {decoded(given_latents)} given frames: ask for more than {num_frames}"
        )
    num_chunks = _ceil_div(needed - given_latents, chunk_size)
    num_latent_frames = num_chunks * chunk_size
    first_chunk_frames = min(num_frames, decoded(given_latents + chunk_size)) - decoded(given_latents)
    return FilmLength(
        num_frames=num_frames,
        num_latent_frames=num_latent_frames,
        num_chunks=num_chunks,
        surplus_frames=decoded(given_latents + num_latent_frames) - num_frames,
        first_chunk_frames=first_chunk_frames,
        given_latents=given_latents,
    )


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _without_factors_2_and_5(n: int) -> int:
    """At a rate of n / 10^k, frame counts are finite decimals of a second in steps of this number."""
    for prime in (2, 5):
        while n % prime == 0:
            n //= prime
    return n


def _seconds(frames: int, rate: Fraction) -> str:
    return f"{float(frames / rate):.15g} s ({frames} frames)"
