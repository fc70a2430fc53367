"""The commands that measure what films show, and who reads it: adherence, judge."""

import json
from pathlib import Path
from typing import Annotated

import typer

from longtake.cli.common import Json, Model, app, needs_extra, stoppable
from longtake.cli.world import World
from longtake.files import exclusive, exclusive_folder

UNSEEN = 20_002  # the seed of renders that no classifier was trained on


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


@app.command()
def judge(
    name: Annotated[World, typer.Argument(metavar="WORLD", help=" or ".join(World))],
    file: Annotated[
        Path, typer.Argument(help="The classifier, in safetensors; trained first if it is not there.")
    ],
    looks: Annotated[
        int, typer.Option("--looks", min=1, help="Renders to read, of combinations unseen in training.")
    ] = 1200,
    as_json: Json = False,
) -> None:
    """Measure how well the classifier that judges films of a world reads its renders."""
    from longtake.evaluation.classifier import TRACKING_SHOT, accuracy, trained_classifier
    from longtake.evaluation.flight_judge import FLIGHT

    lesson = {World.flight: FLIGHT, World.tracking_shot: TRACKING_SHOT}[name]
    with needs_extra("world"), stoppable("nothing was measured"), exclusive(file):
        classifier = trained_classifier(file, lesson)
        shares = accuracy(classifier, *lesson.render(looks, UNSEEN, True))
    if as_json:
        print(json.dumps({"world": name, "looks": looks, "right": shares}, indent=2))
    else:
        print("\n".join(f"{attribute:<10} {share:7.2%}" for attribute, share in shares.items()))
