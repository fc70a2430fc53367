"""The command that makes captioned film ready to train on: prepare."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from longtake.cli.common import Device, Json, Model, app, needs_extra, say, stoppable
from longtake.cli.film import DtypeName, Size, film_options
from longtake.cli.parameters import takes
from longtake.files import exclusive_folder, printable
from longtake.frames import number
from longtake.models.places import open_model
from longtake.options import FilmOptions

FIELDS = ("fps", "num_inference_steps", "steps_per_chunk", "chunk_size", "context_size")


@app.command()
@takes(FilmOptions, FIELDS)
def prepare(
    source: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of video files with captions.", show_default=False)
    ],
    target: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="OUT", help="Folder to write; one that was stopped goes on."),
    ],
    model: Model = None,
    size: Size = None,
    device: Device = "cpu",
    dtype: DtypeName = None,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Make captioned film ready to train on: cut it into shots, encode them and their captions, once and for all.

    Size and frame rate are the model's own if not given, and so are the settings that it will be trained for: shots
    that are shorter than their windows are skipped. A clip that cannot be used is reported and skipped.
    """
    options = film_options("any", size, num_frames=1, **given)
    folder = open_model(model)
    windows = options.resolved(folder.spec).settings
    with needs_extra("train"):
        from longtake.training.prepare import prepare
    with stoppable(f"prepare into {target} again to go on"), exclusive_folder(target):
        summary = prepare(
            source,
            target,
            folder,
            width=options.width,
            height=options.height,
            fps=options.fps,
            windows=windows,
            device=device,
            dtype=dtype,
            say=say,
        )
    if summary.unknown_words:
        say(f"note: the model does not know {', '.join(summary.unknown_words)}")
    if as_json:
        print(json.dumps(asdict(summary), indent=2))
    else:
        print(
            f"{printable(summary.folder)}: {summary.clips} clips, {summary.shots} shots, {summary.latents} latents,"
            f" {number(summary.seconds)} s, {summary.skipped} skipped"
        )
