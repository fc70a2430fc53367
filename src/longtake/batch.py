"""Many films of one model, a JSON object a line: what each line asks for, and what is left to do of it.

Each film is a function of its own line and of the options that hold for all. No order, and no film beside it, changes
it; so films are made one after the other, and never a batch of them in one pass.

model = LongTake.from_pretrained()
for ordered in read_batch("prompts.jsonl", model.model.spec):
    if take := left_to_do(ordered, "films", model.model.spec):
        take.shoot(model)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtake.cues import options_in
from longtake.errors import LongTakeError, OptionError, OutputError
from longtake.files import printable
from longtake.models.base import ModelSpec
from longtake.options import FilmOptions, FilmPlan
from longtake.prompts import slug
from longtake.states import read_about, state_path
from longtake.takes import Take
from longtake.video import part_path, probe

NAME, SUFFIX = "name", ".mp4"
KEYS = [*FilmOptions.model_fields, NAME]
LONGEST_NAME = 200  # bytes; there are suffixes behind it, and a file name has 255
LENGTHS = ("seconds", "num_frames")  # of which a film is told one


@dataclass(frozen=True)
class Ordered:
    """A film that a line asks for. line: its number, from 1. name: of its file."""

    line: int
    name: str
    film: FilmPlan


def read_batch(
    path: str | os.PathLike[str], spec: ModelSpec, common: Mapping[str, Any] | None = None
) -> list[Ordered]:
    """The films of a file, in the order of its lines. Blank lines are passed over.

    Each line is a JSON object. Its keys are the fields of FilmOptions, and `name`, that of its file; a film without one
    is named after the words of its prompt and a digest of all that it follows from. common: the options that hold for
    lines that do not say otherwise. OptionError for a file that cannot be read or holds no line, for two lines of one
    file, and for lines that cannot be filmed: it names the first, why, and the others.
    """
    where = printable(Path(path).name)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise OptionError(f"cannot read {printable(str(path))}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{where} is not a text file in UTF-8") from error
    found: dict[str, Ordered] = {}
    wrong: dict[int, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            ordered = _ordered(number, line, spec, common or {})
            if (other := found.setdefault(ordered.name.casefold(), ordered)) is not ordered:
                raise OptionError(
                    f"{ordered.name} is the film of line {other.line} too: give one of them another name"
                )
        except OptionError as error:
            wrong[number] = str(error)
    if wrong:
        (first, why), *others = wrong.items()
        rest = f"; nor can {', '.join(str(number) for number, _ in others)} be filmed" if others else ""
        raise OptionError(f"{where}, line {first}: {why}{rest}")
    if not found:
        raise OptionError(f'{where} holds no film: write one a line, such as {{"prompt": "a red car"}}')
    return list(found.values())


def is_whole(ordered: Ordered, folder: str | os.PathLike[str]) -> bool:
    """Whether its film is there, by what the file of its name says of itself."""
    return _says(Path(folder) / ordered.name) == ordered.film.metadata


def left_to_do(
    ordered: Ordered,
    folder: str | os.PathLike[str],
    spec: ModelSpec,
    *,
    overwrite: bool = False,
    keep_every: float | None = None,
) -> Take | None:
    """The take of a film that is to be in `folder`: one that goes on, if it was begun, and None if it is whole.

    Which film a file holds is known by what it says of itself; so weights that changed under one name are not seen.
    overwrite: another film under its name is replaced; OutputError for it otherwise. keep_every: as for Take.
    """
    path, told = Path(folder) / ordered.name, ordered.film.metadata
    if is_whole(ordered, folder):
        return None
    if path.exists():
        if not overwrite:
            raise OutputError(f"{printable(path)} is another film: give --overwrite, or another name")
    elif state_path(path).is_file() and part_path(path).is_file():
        if read_about(state_path(path)).film == told:
            return Take.resumed(path, spec)
        if not overwrite:
            raise OutputError(f"{printable(path)}.part is another film: give --overwrite, or another name")
    elif _says(part_path(path)) in (None, told):
        overwrite = True  # killed before it had a state
    return Take(ordered.film, path, overwrite=overwrite, keep_every=keep_every)


def _ordered(number: int, line: str, spec: ModelSpec, common: Mapping[str, Any]) -> Ordered:
    try:
        told = json.loads(line)
    except json.JSONDecodeError as error:
        raise OptionError(f"is no JSON: {error.msg} at character {error.pos + 1}") from error
    except (ValueError, RecursionError) as error:
        raise OptionError("is no JSON that can be read") from error
    options = options_in(told, KEYS)
    name = options.pop(NAME, None)
    lengths = LENGTHS if any(each in options for each in LENGTHS) else ()
    kept = {key: value for key, value in common.items() if key not in lengths}
    film = FilmOptions(**{**kept, **options}).resolved(spec)
    return Ordered(number, _own_name(film) if name is None else _file_name(name), film)


def _own_name(film: FilmPlan) -> str:
    digest = hashlib.sha256(json.dumps(film.metadata, sort_keys=True).encode()).hexdigest()
    return f"{slug(film.prompt)}-{digest[:8]}{SUFFIX}"


def _file_name(name: Any) -> str:
    if (
        not isinstance(name, str)
        or name != printable(name)
        or name != Path(name).name
        or name.startswith(".")
    ):
        raise OptionError(f"name {name!r} is no name of a file, without folders, such as car.mp4")
    if len(name.encode()) > LONGEST_NAME:
        raise OptionError(f"its name is longer than {LONGEST_NAME} bytes: give a shorter one")
    return name if name.lower().endswith(SUFFIX) else name + SUFFIX


def _says(path: Path) -> dict[str, Any] | None:
    """What a film says of itself; None if nothing of it plays."""
    try:
        return probe(path).metadata
    except LongTakeError:
        return None
