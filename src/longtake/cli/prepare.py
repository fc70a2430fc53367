"""The command that makes captioned film ready to train on: prepare."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from longtake.cli.common import Device, Json, Model, app, needs_extra, say, stoppable
from longtake.cli.film import (
    ChunkSize,
    ContextSize,
    DtypeName,
    Fps,
    Size,
    Steps,
    StepsPerChunk,
    film_options,
)
from longtake.files import exclusive_folder, printable
from longtake.frames import number
from longtake.models.load import read_spec


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
    num_inference_steps: Steps = None,
    steps_per_chunk: StepsPerChunk = None,
    chunk_size: ChunkSize = None,
    context_size: ContextSize = None,
    device: Device = "cpu",
    dtype: DtypeName = None,
    as_json: Json = False,
) -> None:
    """Make captioned film ready to train on: cut it into shots, encode them and their captions, once and for all.

    Size and frame rate are the model's own if not given, and so are the settings that it will be trained for: shots
    that are shorter than their windows are skipped. A clip that cannot be used is reported and skipped.
    """
    options = film_options({**context.params, "prompt": "any", "num_frames": 1})
    windows = options.resolved(read_spec(model)).settings
    with needs_extra("train"):
        from longtake.training.prepare import prepare
    with stoppable(f"prepare into {target} again to go on"), exclusive_folder(target):
        summary = prepare(
            source,
            target,
            model,
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
