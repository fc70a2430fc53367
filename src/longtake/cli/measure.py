"""The command that measures the embedded model: adherence."""

import json
from pathlib import Path
from typing import Annotated

import typer

from longtake.cli.common import Json, Model, app, needs_extra, stoppable
from longtake.files import exclusive_folder


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
    seconds: Annotated[int, typer.Option("--seconds", min=1, help="Length of each film.")] = 60,
    as_json: Json = False,
) -> None:
    """Measure, second by second, whether tracking shots show what their prompts say."""
    with needs_extra("world"), stoppable(f"give the same command again, and {run} goes on"):
        from longtake.evaluation.adherence import as_table, measure

        with exclusive_folder(run):
            summary = measure(run, model, prompts, seeds, seconds)
    print(json.dumps(summary, indent=2) if as_json else as_table(summary))
