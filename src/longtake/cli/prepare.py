"""The command that makes captioned film ready to train on: prepare."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from longtake.cli.common import GivenDevice, Json, Model, app, needs_extra, say, stoppable
from longtake.cli.film import DtypeName, Size, film_options
from longtake.cli.parameters import Config, takes, told_by
from longtake.errors import OptionError
from longtake.files import exclusive_folder, printable
from longtake.frames import number
from longtake.models.places import open_model
from longtake.options import FilmOptions
from longtake.training.options import RunPlaces, TrainOptions

# What it shares with train, and what a file of options may say of it besides the film, `data`.
WINDOWS = ("num_inference_steps", "steps_per_chunk", "chunk_size", "chunk_sizes", "context_size")
KEYS = ("data", "model", "size", "fps", "device", "dtype", *WINDOWS)


@app.command()
@takes(TrainOptions, WINDOWS)
@takes(FilmOptions, ("fps",))
def prepare(
    target: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="OUT", help="Folder to write; one that was stopped goes on."),
    ],
    source: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Folder of video files with captions.", show_default=False),
    ] = None,
    model: Model = None,
    size: Size = None,
    device: GivenDevice = None,
    dtype: DtypeName = None,
    config: Config = None,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Make captioned film ready to train on: cut it into shots, encode them and their captions, once and for all.

    Size and frame rate are the model's own if not given, and so are the settings that it will be trained for: shots
    that are shorter than their windows are skipped. A clip that cannot be used is reported and skipped.

    --config takes the file that train is to take: of it the film, the model and the windows, not where to write.
    """
    given |= {"data": source, "model": model, "size": size, "device": device, "dtype": dtype}
    told = told_by(config, KEYS, given, aside=[*RunPlaces.model_fields, *TrainOptions.model_fields])
    if "data" not in told:
        raise OptionError("give a folder of video files, or a --config that has data")
    places = RunPlaces(data=told["data"], output=target, model=told.get("model"))
    words = {name: str(told[name]) for name in ("size", "device", "dtype") if name in told}
    options = film_options("any", words.get("size"), num_frames=1, fps=told.get("fps"))
    trained = TrainOptions(**{name: told[name] for name in WINDOWS if name in told})
    folder = open_model(places.model)
    options.resolved(folder.spec)
    windows = trained.windows(trained.sampling(folder.spec))
    with needs_extra("train"):
        from longtake.training.data import longest_windows
        from longtake.training.prepare import prepare
    with stoppable(f"prepare into {target} again to go on"), exclusive_folder(target):
        summary = prepare(
            places.data,
            target,
            folder,
            width=options.width,
            height=options.height,
            fps=options.fps,
            windows=longest_windows(folder.spec, windows),
            device=words.get("device", "cpu"),
            dtype=words.get("dtype"),
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
