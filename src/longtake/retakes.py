"""Films that grow out of films: a longer one, one that branches off, one with a section made anew, and a larger one.

The pictures that both have are copied, packet for packet, and the state behind them is one that was kept; one behind
anybody's film begins with its last pictures, and a larger one is made from the pictures of its draft.
"""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from longtake.cues import Cue
from longtake.drafts import draft_options
from longtake.errors import OptionError, StateError
from longtake.files import printable
from longtake.frames import MOST_FRAMES, frames_in, number
from longtake.given import decoded_frames, latent_of
from longtake.joins import Beginning, Head, Tail
from longtake.models.base import ModelSpec
from longtake.options import FilmOptions, options_of
from longtake.provenance import followed
from longtake.start import given_in
from longtake.states import About, read_about, states_folder
from longtake.takes import Take
from longtake.video import probe, read_frames

ALWAYS = float("inf")  # seconds between kept states: the last one alone
STRENGTH, SCALE = 0.45, 2.0  # of a finished film, unless told


def kept_states(film: str | os.PathLike[str]) -> list[tuple[Path, About]]:
    """The states that were kept of a film, in its order, at least one; those of a film that was there before it are
    passed over. StateError if there are none, or for one that cannot be read."""
    if not Path(film).is_file():
        raise StateError(f"there is no film {printable(str(film))}")
    found = [(path, read_about(path)) for path in sorted(states_folder(film).glob("*.state"))]
    told = followed(probe(film).metadata) if found else {}
    if own := [(path, about) for path, about in found if about.film == told]:
        return own
    raise StateError(f"no states were kept of {printable(str(film))}: film it with --keep-states 10s")


def extended(
    film: str | os.PathLike[str],
    path: str | os.PathLike[str],
    spec: ModelSpec,
    seconds: float,
    prompt: str | None = None,
    *,
    overwrite: bool = False,
    keep_every: float = ALWAYS,
) -> Take:
    """`seconds` more of a film, at `path`: to the same pictures, if it is told nothing else, as if it had been as long
    from the start.

    spec: of the model that the film's states name. prompt: what to film where it ended.
    keep_every: as for Take; the last state is kept anyway.
    StateError for a film of which no state was kept, OptionError for cues that do not fit.
    """
    begun = _without_end(_last(Path(film), spec, None))
    old = options_of(begun.about.film)
    end = begun.film.length.num_frames / begun.film.rate
    added = () if prompt is None else (Cue(at=float(end), prompt=prompt),)
    num_frames = begun.film.length.num_frames + frames_in(seconds, begun.film.rate)
    options = old.model_copy(update={"num_frames": num_frames, "cues": (*old.cues, *added)})
    return _grown(begun, options, path, spec, overwrite, keep_every)


def branched(
    film: str | os.PathLike[str],
    path: str | os.PathLike[str],
    spec: ModelSpec,
    changes: Cue,
    *,
    overwrite: bool = False,
    keep_every: float = ALWAYS,
) -> Take:
    """Another end of a film, at `path`: its pictures until the second of `changes`, and then what these
    say.

    What was in the window at that second goes on under the new prompt, half finished as it is. Arguments and errors as
    for `extended`; StateError also if no state was kept before that second.
    """
    begun = _without_end(_last(Path(film), spec, changes.at))
    old = options_of(begun.about.film)
    before = tuple(cue for cue in old.cues if cue.at < changes.at)
    return _grown(
        begun, old.model_copy(update={"cues": (*before, changes)}), path, spec, overwrite, keep_every
    )


def finished(
    draft: str | os.PathLike[str],
    path: str | os.PathLike[str],
    spec: ModelSpec,
    strength: float = STRENGTH,
    scale: float = SCALE,
    *,
    overwrite: bool = False,
    **options: Any,
) -> Take:
    """A film once more, larger, at `path`: its pictures, scaled, are noised to level `strength` and denoised again.

    spec: of the model that makes it, the draft's or another. strength: in (0, 1), more keeps less of the draft.
    options: fields of FilmOptions that hold before what the draft says of itself, width and height before `scale`.
    OptionError for what does not fit the model or each other, and for a draft that does not say what it shows;
    LongTakeError for one that cannot be read.
    """
    info = probe(draft)
    film = draft_options(info, scale, **options).resolved(spec, strength=strength)
    width, height = film.settings.width, film.settings.height
    if Fraction(width, height) != Fraction(info.width, info.height):
        note = f"the draft is {info.width}x{info.height}: it is cropped to the shape of {width}x{height}"
        film = replace(film, notes=(*film.notes, note))
    return Take(film, path, draft=draft, overwrite=overwrite)


def retaken(
    film: str | os.PathLike[str],
    path: str | os.PathLike[str],
    spec: ModelSpec,
    changes: Cue,
    to: float,
    *,
    overwrite: bool = False,
) -> Take:
    """A film with other pictures from the second of `changes` to second `to`, at `path`: they begin as a branch does,
    and run into the old ones, which follow them.

    The section ends with a whole chunk, at `to` or behind it. Arguments and errors as for `branched`; OptionError for a
    section with less behind it than a window sees, or of no length. Take.seam tells how much it changes there.
    """
    if to <= changes.at:
        raise OptionError(
            f"the section ends at {number(to)} s and begins at {number(changes.at)} s: end it later"
        )
    begun = _last(Path(film), spec, changes.at)
    old, length, rate = options_of(begun.about.film), begun.film.length, begun.film.rate
    chunk, latent = begun.film.cost.sampling.chunk_size, latent_of(max(0, round(to * rate) - 1), spec)
    chunks = -(-(latent + 1 - length.given_latents) // chunk)
    end = decoded_frames(length.given_latents + chunks * chunk, spec)
    before = tuple(cue for cue in old.cues if cue.at < changes.at)
    changed = {"num_frames": end, "cues": (*before, changes), "loop": False}
    given = given_in(begun.about.film) | {"end": "behind"}
    plan = old.model_copy(update=changed).resolved(spec, **given)
    behind, total = plan.end_frames, probe(film).num_frames
    if end + behind > total:
        raise OptionError(
            f"behind the section, which ends at {number(end / rate)} s, the film has {max(0, total - end)} frames, and"
            f" the window sees {behind}: end it earlier, or branch"
        )
    seen = np.stack(list(islice(read_frames(film, end), behind)))
    take = Take(plan, path, beginning=begun, overwrite=overwrite, tail=Tail(Path(film), end, total, seen))
    return take


def continued(
    film: str | os.PathLike[str],
    path: str | os.PathLike[str],
    spec: ModelSpec,
    seconds: float,
    prompt: str | None = None,
    context: int | None = None,
    *,
    overwrite: bool = False,
) -> Take:
    """`seconds` more of anybody's film, at `path`, in its size and rate: a film of `spec`'s model begins with its last
    pictures, as many as `context` latents hold, and stands behind it.

    prompt: what to film; None: what the film says of itself. OptionError for a film that says nothing, is too short for
    the context, or of a size that the model cannot film; LongTakeError for one that cannot be read.
    """
    info = probe(film)
    if prompt is None and (prompt := info.metadata.get("prompt")) is None:
        raise OptionError(f"{printable(str(film))} does not say what it shows: give a PROMPT")
    sides = {"width": info.width, "height": info.height, "fps": float(info.fps)}
    first = FilmOptions(prompt=prompt, num_frames=MOST_FRAMES, context_size=context, **sides)
    given = first.resolved(spec, from_clip=True).given_frames
    if info.num_frames < given:
        raise OptionError(
            f"{printable(str(film))} has {info.num_frames} frames, and the context holds {given}"
        )
    seen = np.stack(list(read_frames(film, info.num_frames - given)))
    num_frames = given + frames_in(seconds, info.fps)
    plan = first.model_copy(update={"num_frames": num_frames}).resolved(spec, from_clip=True)
    return Take(plan, path, head=Head(Path(film), info.num_frames, seen), overwrite=overwrite)


def _without_end(begun: Beginning) -> Beginning:
    """The same. StateError for a film that runs into a clip or a photo, which no other film would end with."""
    if "end" in begun.about.film:
        raise StateError(
            f"{printable(begun.file)} runs into {begun.about.film['end']['name']}: film it without --end, with"
            " --keep-states, to go on from it"
        )
    return begun


def _grown(
    begun: Beginning,
    options: FilmOptions,
    path: str | os.PathLike[str],
    spec: ModelSpec,
    overwrite: bool,
    keep_every: float,
) -> Take:
    given = given_in(begun.about.film) | {"end": None}
    film = options.model_copy(update={"loop": False}).resolved(spec, **given)
    return Take(film, path, beginning=begun, overwrite=overwrite, keep_every=keep_every)


def _last(film: Path, spec: ModelSpec, at: float | None) -> Beginning:
    """The last state that was kept of a film, or the last one until second `at`, up to which it is to go on."""
    states = kept_states(film)
    if at is None:
        return Beginning.read(states[-1][0], film, spec)
    first = Beginning.read(states[0][0], film, spec)
    until = round(at * first.film.rate)
    early = [path for path, about in states if about.num_frames <= until]
    if not early:
        second = number(first.about.num_frames / first.film.rate)
        raise StateError(
            f"the first state that was kept of {printable(film)} is from {second} s: branch later"
        )
    return replace(Beginning.read(early[-1], film, spec), until=until)
