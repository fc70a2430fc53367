"""The command that films many prompts with one model."""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtake.cli.common import INTERRUPTED, Device, Json, Model, Overwrite, app, in_a_line, say
from longtake.cli.film import FIELDS, DtypeName, Lora, Size, sides_of
from longtake.cli.parameters import given_of, takes
from longtake.cli.placing import placement_of
from longtake.cli.shooting import KeepStates, Loading, every_of, loaded, shoot, tell_reading
from longtake.cli.signals import was_interrupted
from longtake.errors import LongTakeError
from longtake.files import exclusive_folder, printable
from longtake.frames import number
from longtake.models.card.placement import Placement
from longtake.models.load import read_spec
from longtake.models.places import open_model, with_weights
from longtake.options import FilmOptions

if TYPE_CHECKING:
    from longtake.batch import Ordered
    from longtake.pipeline import LongTake
    from longtake.takes import Take

Row = dict[str, Any]
SOME_FAILED = 1  # what it exits with if a film could not be made
UNSURE = "it does not say with which weights it was made, and is left"
STATUSES = WHOLE, RESUMED, FILMED, FAILED = "whole", "resumed", "filmed", "failed"


@app.command()
@takes(FilmOptions, FIELDS)
@takes(Placement)
def batch(
    prompts: Annotated[
        Path,
        typer.Argument(
            metavar="JSONL",
            help="Films, a JSON object a line: options of a film by their names in Python, cues too, a name for its"
            " file, and start, end and fit.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", help="The folder of the films.", show_default=False),
    ],
    model: Model = None,
    lora: Lora = None,
    device: Device = "cpu",
    dtype: DtypeName = None,
    size: Size = None,
    keep_states: KeepStates = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Film each line of a file. Options hold for lines that do not say otherwise.

    Films that are there are left, unless the model has other weights by now; those that were begun go on, and one that
    fails does not stop the others.
    """
    folder, placed = open_model(model), placement_of(given)
    spec = read_spec(folder, lora, placed)
    from longtake.batch import is_unsure, left_to_do, read_batch

    films = read_batch(prompts, spec, given_of(given) | sides_of(size))
    keep_every = every_of(keep_states)
    rows: list[Row] = []
    try:
        with exclusive_folder(output):
            folder = with_weights(folder)
            ready = cache(partial(loaded, Loading(folder, device, dtype, lora, placement=placed)))
            for ordered in films:
                take = None
                with _failures_told(ordered, rows):
                    take = left_to_do(
                        ordered, output, spec, folder, overwrite=overwrite, keep_every=keep_every
                    )
                    if take is None:
                        rows.append(_row(ordered, WHOLE))
                        if is_unsure(ordered, output):
                            say(f"note: {ordered.name}: {UNSURE}")
                if take is not None:
                    maker = ready()  # what keeps it from being loaded stops all films
                    with _failures_told(ordered, rows):
                        rows.append(_filmed(ordered, take, maker))
    except KeyboardInterrupt:
        again = shlex.join(["longtake", *sys.argv[1:]])
        say(
            f"stopped: {_counts(rows) or 'nothing was filmed'}, {len(films) - len(rows)} to go; {again} goes on"
        )
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print(json.dumps({"films": rows, "counts": Counter(row["status"] for row in rows)}, indent=2))
    else:
        print("\n".join([*_lines(rows), _counts(rows)]))
    if any(row["status"] == FAILED for row in rows):
        raise typer.Exit(SOME_FAILED)


def _filmed(ordered: "Ordered", take: "Take", model: "LongTake") -> Row:
    for note in (*ordered.film.notes, *take.notes):
        say(f"note: {ordered.name}: {note}")
    tell_reading(model, ordered.film)
    speed = shoot(take, model)
    status = RESUMED if take.is_begun else FILMED
    return _row(ordered, status, frames_per_second=round(speed.frames_per_second, 2))


@contextmanager
def _failures_told(ordered: "Ordered", rows: list[Row]) -> Iterator[None]:
    """What a user could mend, or disk and memory refuse, is a line, and a row."""
    try:
        yield
    except Exception as error:
        why = str(error) if isinstance(error, LongTakeError) else in_a_line(error)
        if why is None or was_interrupted():
            raise
        say(f"error: line {ordered.line}: {why}")
        rows.append(_row(ordered, FAILED, error=why))


def _row(ordered: "Ordered", status: str, **more: Any) -> Row:
    film = ordered.film
    seconds = float(film.length.num_frames / film.rate)
    return {"line": ordered.line, "file": ordered.name, "status": status, "seconds": seconds, **more}


def _lines(rows: list[Row]) -> Iterator[str]:
    widest = max(len(row["file"]) for row in rows)
    for row in rows:
        speed = f"{row['frames_per_second']:.1f} frames/s" if "frames_per_second" in row else ""
        length = f"{number(row['seconds'])} s"
        line = f"{row['line']:>5}  {row['file']:<{widest}}  {row['status']:<7}  {length:>8}"
        yield f"{line}  {printable(row.get('error', speed))}".rstrip()


def _counts(rows: list[Row]) -> str:
    """How many films came to what, in words."""
    found = Counter(row["status"] for row in rows)
    return ", ".join(f"{found[status]} {status}" for status in STATUSES if found[status])
