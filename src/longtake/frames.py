"""Seconds, frames, latent frames and chunks, turned into one another; and numbers of them for people."""

import math
from dataclasses import dataclass
from fractions import Fraction

from longtake.errors import OptionError

MOST_FRAMES = 10**9  # in a film: more than a year at 24 a second
# The whole rates whose 1000/1001 is in use: 23.976 and 29.97 frames a second, and what is twice or half of these.
NTSC_RATES = (12, 15, 24, 30, 48, 60, 120, 240)


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
    """The whole number of frames nearest to `seconds` at `fps`, both taken as the decimals they are written as.

    Of two as near it is the larger. Raises OptionError unless both are positive and finite, for less than half a
    frame, and for more than MOST_FRAMES.
    """
    for name, value in (("seconds", seconds), ("fps", fps)):
        if not (math.isfinite(value) and value > 0):
            raise OptionError(f"{name} must be a positive number, got {value}")
    rate = Fraction(str(fps))
    frames = math.floor(Fraction(str(seconds)) * rate + Fraction(1, 2))
    if not frames:
        raise OptionError(
            f"{number(seconds)} s at {number(rate)} fps are less than half a frame, which lasts"
            f" {number(1 / rate)} s: ask for more"
        )
    if frames > MOST_FRAMES:
        raise OptionError(
            f"{number(seconds)} s at {number(rate)} fps are more than {MOST_FRAMES:,} frames, the longest film:"
            f" ask for {number(MOST_FRAMES // rate)} s or less"
        )
    return frames


def exact_fps(fps: float) -> Fraction:
    """A frame rate as the fraction it stands for. 23.976, 29.97 and their like, of two decimals or more, are whole
    rates times 1000/1001; others are decimals of up to three places, or fractions of a denominator of up to 1001.

    OptionError for any other rate; the message names the nearest that works.
    """
    for whole in NTSC_RATES:
        ntsc = Fraction(whole * 1000, 1001)
        if fps in {round(float(ntsc), decimals) for decimals in range(2, 16)}:
            return ntsc
    decimal, fraction = Fraction(str(fps)), Fraction(fps).limit_denominator(1001)
    if 1000 % decimal.denominator == 0:
        return decimal
    if math.isclose(fraction, fps, rel_tol=1e-12):
        return fraction
    nearest = max(round(decimal, 3), Fraction(1, 1000))
    raise OptionError(
        f"fps may have three decimals, or be a fraction such as 24000/1001; got {fps:.15g}, the nearest that works is"
        f" {number(nearest)}"
    )


def rounding(seconds: float, fps: Fraction, num_frames: int) -> str | None:
    """What a film of num_frames frames has in place of `seconds`, in words; None where that is the same to the
    thousandth of a second."""
    asked, made = number(seconds), number(num_frames / fps)
    if asked == made:
        return None
    return f"{asked} s at {number(fps)} fps is no whole number of frames: the film has {num_frames:,} frames, {made} s"


def number(value: float | Fraction, decimals: int = 3) -> str:
    """A number for people: so many decimals, without zeros at their end; where those say nothing, a power of ten."""
    value = float(value)
    if value and not 10**-decimals <= abs(value) < 1e12:
        return f"{value:.3g}"
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")


def apart(a: float | Fraction, b: float | Fraction) -> tuple[str, str]:
    """Two numbers for people, with three decimals or as many more as tell one from the other."""
    told = [(number(a, decimals), number(b, decimals)) for decimals in range(3, 16)]
    return next((pair for pair in told if pair[0] != pair[1]), told[0])


def lasting(num_frames: int, fps: Fraction) -> str:
    """A number of frames for people, and how long they last."""
    return f"{num_frames:,} frames ({number(num_frames / fps)} s at {number(fps)} fps)"


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
    copies: int = 0,
) -> FilmLength:
    """The film of `num_frames` frames, where latents decode to frames as in frames_of.

    chunk_size: latents to a chunk. given_latents: clean latents that the film starts with; its frames include
    theirs, and there are more. copies: latents before a film's first, which make no frames. Raises
    OptionError for less than one frame.
    """
    if num_frames < 1:
        raise OptionError(f"a film has at least 1 frame, got {num_frames}")
    assert chunk_size >= 1 and given_latents >= 0

    def decoded(latents: int) -> int:
        return frames_of(
            max(0, latents - copies),
            temporal_factor=temporal_factor,
            first_frames=first_frames,
            group_latents=group_latents,
        )

    if group_latents:
        needed = _ceil_div(num_frames, decoded(group_latents)) * group_latents
    else:
        needed = copies + 1 + _ceil_div(max(0, num_frames - first_frames), temporal_factor)
    assert needed > given_latents, "the given latents hold the film already"
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
