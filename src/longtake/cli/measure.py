"""The commands that measure what films show, and who reads it: adherence, judge."""

import json
from pathlib import Path
from typing import Annotated

import typer

from longtake.cli.common import Json, Model, app, bar, needs_extra, stoppable
from longtake.files import exclusive, exclusive_folder
from longtake.worlds import WorldName, load_world


@app.command()
def adherence(
    run: Annotated[
        Path, typer.Argument(help="Folder for the films' readings; a run that was stopped goes on.")
    ],
    model: Model = None,
    prompts: Annotated[
        int, typer.Option("--prompts", min=1, help="Attribute combinations unseen in training.")
    ] = 24,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Films of each prompt.")] = 2,
    seconds: Annotated[int, typer.Option("--seconds", min=2, help="Length of each film.")] = 60,
    as_json: Json = False,
) -> None:
    """Measure, second by second, whether tracking shots show what their prompts say."""
    with needs_extra("world,evaluate"), stoppable(f"give the same command again, and {run} goes on"):
        from longtake.worlds.tracking_shot.adherence import as_table, measure

        with exclusive_folder(run), bar("films") as show:
            summary = measure(run, model, prompts, seeds, seconds, show)
    print(json.dumps(summary, indent=2) if as_json else as_table(summary))


@app.command()
def judge(
    name: Annotated[WorldName, typer.Argument(metavar="WORLD", help=" or ".join(WorldName))],
    file: Annotated[
        Path, typer.Argument(help="The classifier, in safetensors; trained first if it is not there.")
    ],
    looks: Annotated[
        int, typer.Option("--looks", min=1, help="Renders to read, of combinations unseen in training.")
    ] = 1200,
    as_json: Json = False,
) -> None:
    """Measure how well the classifier that judges films of a world reads its renders."""
    with needs_extra("world"), stoppable("nothing was measured"), exclusive(file):
        shares = load_world(name).judge(file).read_right(looks)
    if as_json:
        print(json.dumps({"world": name, "looks": looks, "right": shares}, indent=2))
    else:
        print("\n".join(f"{attribute:<10} {share:7.2%}" for attribute, share in shares.items()))
