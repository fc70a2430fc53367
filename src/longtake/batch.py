"""Many films of one model, a JSON object a line: what each line asks for, and what is left to do of it.

Each film is a function of its own line and of the options that hold for all. No order, and no film beside it, changes
it; so films are made one after the other, and never a batch of them in one pass.

model = LongTake.from_pretrained()
for ordered in read_batch("prompts.jsonl", model.model.spec):
    if take := left_to_do(ordered, "films", model.model.spec, model.folder):
        take.shoot(model)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from longtake.cues import options_in
from longtake.errors import LongTakeError, OptionError, OutputError
from longtake.files import printable
from longtake.given import Given
from longtake.models.base import ModelSpec
from longtake.models.folder import ModelFolder
from longtake.options import FilmOptions, FilmPlan
from longtake.prompts import slug
from longtake.provenance import Made, followed, made_in
from longtake.start import is_photo, origin, read_given
from longtake.states import read_about, state_path
from longtake.takes import Take
from longtake.values import nearest
from longtake.video import Fit, part_path, probe

NAME, SUFFIX = "name", ".mp4"
CLIPS = START, END = "start", "end"
FIT, FITS = "fit", get_args(Fit)
KEYS = [*FilmOptions.model_fields, NAME, *CLIPS, FIT]
LONGEST_NAME = 200  # bytes; there are suffixes behind it, and a file name has 255
LENGTHS = ("seconds", "num_frames")  # of which a film is told one


@dataclass(frozen=True)
class Ordered:
    """A film that a line asks for. line: its number, from 1. name: of its file. start, end, fit: as for Take."""

    line: int
    name: str
    film: FilmPlan
    start: Path | None = None
    end: Path | None = None
    fit: Fit | None = None

    def metadata(self) -> dict[str, Any]:
        """What its film says of itself. Errors as read_given has them, for the clips that it begins and ends with."""
        told = self.film.metadata
        if self.start is not None:
            pictures, _ = read_given(self.start, self.film, self.film.given_frames, self.fit, asked=FIT)
            told = told | origin(self.start, pictures)
        if self.end is not None:
            pictures, _ = read_given(self.end, self.film, self.film.end_frames, self.fit, END, FIT)
            told = told | origin(self.end, pictures, END)
        return told


def read_batch(
    path: str | os.PathLike[str], spec: ModelSpec, common: Mapping[str, Any] | None = None
) -> list[Ordered]:
    """The films of a file, in the order of its lines. Blank lines are passed over.

    Each line is a JSON object. Its keys are the fields of FilmOptions; `name`, that of its file; `start` and `end`, the
    clips or photos that it begins and ends with, beside this file if they do not say where; and `fit`, as for Take.
    These are opened when the film is made. A film without a name is named after the words of its prompt and a digest of
    its line and of `common`, the options that hold for lines that do not say otherwise. OptionError for a file that
    cannot be read or holds no line, for two lines of one file, and for lines that cannot be filmed: it names the first,
    why, and the others.
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
            ordered = _ordered(number, line, spec, common or {}, Path(path).parent)
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


def is_whole(ordered: Ordered, folder: str | os.PathLike[str], model: ModelFolder | None = None) -> bool:
    """Whether its film is there, by what the file of its name says of itself; if there is a `model`, by its weights.
    Unknown, of a film whose start or end cannot be read, is no.

    A film that does not say with which weights it was made is taken for whole: `is_unsure` tells.
    """
    if (told := _says(Path(folder) / ordered.name)) is None:
        return False
    try:
        return followed(told) == ordered.metadata() and _made_by(made_in(told), model)
    except LongTakeError:
        return False


def is_unsure(ordered: Ordered, folder: str | os.PathLike[str]) -> bool:
    """Whether its film does not say with which weights it was made, as those of before do not."""
    return made_in(_says(Path(folder) / ordered.name) or {}).model_sha256 is None


def left_to_do(
    ordered: Ordered,
    folder: str | os.PathLike[str],
    spec: ModelSpec,
    model: ModelFolder | None = None,
    *,
    overwrite: bool = False,
    keep_every: float | None = None,
) -> Take | None:
    """The take of a film that is to be in `folder`: one that goes on, if it was begun, and None if it is whole.

    Which film a file holds is known by what it says of itself. model: what films are made by; one that was made, or
    begun, with other weights is filmed again, and Take.notes says so. None: weights are not looked at. overwrite:
    another film under its name is replaced; OutputError for it otherwise. keep_every: as for Take. Errors of read_given
    for what it begins and ends with.
    """
    if is_whole(ordered, folder, model):
        return None
    path, told = Path(folder) / ordered.name, ordered.metadata()
    given: dict[str, Any] = {
        START: ordered.start,
        END: ordered.end,
        FIT: ordered.fit,
        "keep_every": keep_every,
    }
    there = _there(path, told)
    if there is None:
        return Take(ordered.film, path, **given, overwrite=overwrite)
    is_same, of_weights = there.film == told, _made_by(there.made, model)
    if is_same and of_weights and there.goes_on:
        return Take.resumed(path, spec)
    if not is_same and not overwrite:
        raise OutputError(f"{printable(there.file)} is another film: give --overwrite, or another name")
    take = Take(ordered.film, path, **given, overwrite=True)
    if is_same and not of_weights:
        take.notes = (
            *take.notes,
            f"it was made with other weights than {spec.name} has now, and is filmed again",
        )
    return take


@dataclass(frozen=True)
class _There:
    """What is there under the name of a film: the file, what its film follows from (None: nothing in it plays), what it
    was made with, and whether it goes on."""

    file: Path
    film: dict[str, Any] | None
    made: Made
    goes_on: bool = False


def _there(path: Path, wanted: dict[str, Any]) -> _There | None:
    """What is under the name of a film that is wanted; a part in which nothing plays yet is one of it."""
    part = part_path(path)
    if not path.exists() and state_path(path).is_file() and part.is_file():
        about = read_about(state_path(path))
        return _There(part, about.film, about.made, True)
    for file, unless in ((path, None), (part, wanted)):
        if file.exists():
            told = _says(file)
            return _There(file, unless if told is None else followed(told), made_in(told or {}))
    return None


def _made_by(made: Made, model: ModelFolder | None) -> bool:
    """Whether it was made with the weights that a model has now, as far as both are known."""
    return made.model_sha256 is None or model is None or made.model_sha256 == model.sha256


def _ordered(number: int, line: str, spec: ModelSpec, common: Mapping[str, Any], beside: Path) -> Ordered:
    try:
        told = json.loads(line)
    except json.JSONDecodeError as error:
        raise OptionError(f"is no JSON: {error.msg} at character {error.pos + 1}") from error
    except (ValueError, RecursionError) as error:
        raise OptionError("is no JSON that can be read") from error
    options = options_in(told, KEYS)
    name = options.pop(NAME, None)
    said = {key: options.pop(key) for key in (*CLIPS, FIT) if options.get(key) is not None}
    start, end = (_clip(key, said.get(key), beside) for key in CLIPS)
    if (fit := said.get(FIT)) is not None and fit not in FITS:
        raise OptionError(f"fit is {', '.join(FITS)}, not {fit!r}{nearest(str(fit), FITS)}")
    lengths = LENGTHS if any(each in options for each in LENGTHS) else ()
    kept = {key: value for key, value in common.items() if key not in lengths}
    film = FilmOptions(**{**kept, **options}).resolved(
        spec, start is not None, photo=start is not None and is_photo(start), end=_kind(end)
    )
    own = _own_name(film, said) if name is None else _file_name(name)
    return Ordered(number, own, film, start, end, fit)


def _clip(key: str, told: Any, beside: Path) -> Path | None:
    if told is not None and not (isinstance(told, str) and told):
        raise OptionError(f"{key} {told!r} is no name of a clip or a photo, such as clip.mp4")
    return None if told is None else beside / told


def _kind(end: Path | None) -> Given | None:
    return None if end is None else "photo" if is_photo(end) else "clip"


def _own_name(film: FilmPlan, said: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(film.metadata | said, sort_keys=True).encode()).hexdigest()
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
