"""The command that makes captioned film ready to train on: prepare."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from longtake.cli.common import INTERRUPTED, Device, Json, Model, app, needs_extra, say
from longtake.cli.film import DtypeName, Fps, Size, film_options
from longtake.files import printable


@app.command()
def prepare(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of video files with captions.", show_default=False)
    ],
    target: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="OUT", help="Folder to write; one that was stopped goes on."),
    ],
    model: Model = None,
    size: Size = None,
    fps: Fps = None,
    device: Device = "cpu",
    dtype: DtypeName = None,
    as_json: Json = False,
) -> None:
    """Make captioned film ready to train on: cut it into shots, encode them and their captions, once and for all.

    Size and frame rate are the model's own if not given. A clip that cannot be used is reported and skipped.
    """
    options = film_options({**context.params, "prompt": "any"})
    with needs_extra("train"):
        from longtake.training.prepare import prepare
    try:
        summary = prepare(
            source,
            target,
            model,
            width=options.width,
            height=options.height,
            fps=options.fps,
            device=device,
            dtype=dtype,
            say=say,
        )
    except KeyboardInterrupt:
        say(f"stopped: prepare into {target} again to go on")
        raise typer.Exit(INTERRUPTED) from None
    if summary.unknown_words:
        say(f"note: the model does not know {', '.join(summary.unknown_words)}")
    if as_json:
        print(json.dumps(asdict(summary), indent=2))
    else:
        print(
            f"{printable(summary.folder)}: {summary.clips} clips, {summary.shots} shots, {summary.latents} latents,"
            f" {summary.seconds:g} s, {summary.skipped} skipped"
        )
