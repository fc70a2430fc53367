"""The commands that show and measure: world, adherence."""

import json
from pathlib import Path
from typing import Annotated

import typer

from longtake.cli.common import Json, Model, Overwrite, app, needs_extra, stoppable
from longtake.files import beside, exclusive, exclusive_folder


@app.command()
def world(
    sheet: Annotated[Path, typer.Option("--sheet", metavar="PNG", help="The picture to write.")],
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other shots.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Draw a contact sheet of the tracking shots that the embedded model is trained on."""
    from longtake.video import check_output

    check_output(sheet, suffix=".png", overwrite=overwrite)
    with needs_extra("world"), stoppable("nothing was written"), exclusive(sheet), beside(sheet) as part:
        from longtake.worlds.tracking_shot import contact_sheet

        contact_sheet(part, seed)


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
