"""A film's timeline: what changes at which second, from latent to latent. Imports no torch."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from longtake.errors import OptionError
from longtake.frames import number
from longtake.option_files import named, read_options
from longtake.prompts import PromptText
from longtake.values import Options

CLOCK = re.compile(r"(?:(?:(?P<h>\d+):)?(?P<m>\d+):)?(?P<s>\d+(?:\.\d*)?)")
UNITS = re.compile(r"(?:(?P<h>\d+)\s*h)?\s*(?:(?P<m>\d+)\s*m(?:in)?)?\s*(?:(?P<s>\d+(?:\.\d*)?)\s*s?)?")


def seconds_in(text: Any) -> Any:
    """Seconds of what is written as 20, 20s, 1m20s, 1h5m, 1:20 or 1:02:03.5; anything else as it is."""
    if isinstance(text, str):
        for form in (CLOCK, UNITS):
            if (found := form.fullmatch(text.strip())) and any(found.groups()):
                hours, minutes, seconds = (Fraction(found[name] or 0) for name in "hms")
                return float(hours * 3600 + minutes * 60 + seconds)
    return text


def seconds_of(text: str | None) -> float | None:
    """Seconds of what a command is given, as seconds_in reads it. OptionError for anything else."""
    if text is None:
        return None
    try:
        return float(seconds_in(text))
    except ValueError:
        raise OptionError(f"a time is written as 20s, 1m20s or 1:20, not {text!r}") from None


Seconds = Annotated[float, BeforeValidator(seconds_in), Field(ge=0, allow_inf_nan=False)]


class Cue(Options):
    """What changes from a second of the film on: at least one of prompt, guidance_scale and seed."""

    at: Seconds = Field(description="The second from which it holds.")
    prompt: PromptText | None = Field(None, description="What to film from there on.")
    guidance_scale: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="How closely to follow the prompt."
    )
    seed: int | None = Field(None, ge=0, lt=2**64, description="Whose noise comes from there on.")
    blend: Seconds = Field(
        0, description="Seconds over which the prompt and the guidance take the place of those before."
    )


@dataclass(frozen=True)
class Direction:
    """What a film follows from latent `first` on. Over the first `blend` latents it takes the place of the direction
    before: prompt and guidance_scale in even steps, the seed at once."""

    first: int
    prompt: str
    guidance_scale: float
    seed: int
    blend: int = 0


def directions(
    start: Direction, cues: Sequence[Cue], latent_at: Callable[[float], int]
) -> tuple[Direction, ...]:
    """The directions of a film that starts with `start`: what a cue leaves out stays.

    latent_at(seconds): the latent that holds the picture of that second. OptionError for cues that change nothing, are
    out of order, or fall into one latent or one another's blend.
    """
    made, end = [start], start.first
    for place, cue in enumerate(cues, 1):
        changes = cue.model_dump(include={"prompt", "guidance_scale", "seed"}, exclude_none=True)
        if not changes:
            raise OptionError(f"cue {place} changes nothing: give it a prompt, a guidance_scale or a seed")
        if "prompt" in changes and not cue.prompt.strip():  # type: ignore[union-attr]
            raise OptionError(f"the prompt of cue {place} is empty: say what to film")
        first, before = latent_at(cue.at), made[-1]
        if first < before.first:
            raise OptionError(
                f"cue {place}, at {number(cue.at)} s, comes after a later one: put them in order"
            )
        if first == before.first:
            raise OptionError(
                f"cue {place}, at {number(cue.at)} s, is in one latent with what comes before: move it"
            )
        if first < end:
            raise OptionError(
                f"cue {place}, at {number(cue.at)} s, comes while the one before blends: move it"
            )
        end = latent_at(cue.at + cue.blend)
        made.append(Direction(**{**_values(before), **changes, "first": first, "blend": end - first}))
    return tuple(made)


def _values(direction: Direction) -> dict[str, Any]:
    return {"prompt": direction.prompt, "guidance_scale": direction.guidance_scale, "seed": direction.seed}


@dataclass(frozen=True)
class Stage:
    """What latents from `first` on follow. told: two prompts, and the share of the second in what they are told."""

    first: int
    told: tuple[str, str, float]
    guidance_scale: float
    seed: int


def stages(followed: Sequence[Direction]) -> list[Stage]:
    """Directions with their blends taken apart, a stage for each latent of these."""
    made, before = [], followed[0]
    for direction in followed:
        a, b = before.prompt, direction.prompt
        for latent in range(direction.blend + 1):
            share = (latent + 1) / (direction.blend + 1)
            scale = (1 - share) * before.guidance_scale + share * direction.guidance_scale
            told = (b, b, 1.0) if share == 1 or a == b else (a, b, share)
            made.append(Stage(direction.first + latent, told, scale, direction.seed))
        before = direction
    return made


def read_script(path: Path, known: Sequence[str]) -> dict[str, Any]:
    """The options of a film, `cues` among them, of a script in YAML: a mapping. known: the options that there are.

    OptionError, which names the file and the cue, for what is no such script.
    """
    return read_options(path, "script", partial(options_in, known=known))


def options_in(told: Any, known: Sequence[str]) -> dict[str, Any]:
    """The options of a film, `cues` among them if there are some, as people wrote them down. known: the options that
    there are. OptionError, which names the cue, for what is no such mapping."""
    options = named(told, known, "prompt: a red car")
    if "cues" not in options:
        return options
    if not isinstance(options["cues"], list):
        raise OptionError("cues must be a list, such as - {at: 20s, prompt: a red car at sunset}")
    return {**options, "cues": tuple(_cue(each, place) for place, each in enumerate(options["cues"], 1))}


def _cue(told: Any, place: int) -> Cue:
    if not isinstance(told, Mapping) or not all(isinstance(key, str) for key in told):
        raise OptionError(
            f"cue {place} must map names to values, such as {{at: 20s, prompt: a red car at sunset}}"
        )
    try:
        return Cue(**told)
    except OptionError as error:
        raise OptionError(f"cue {place}: {error}") from error
