"""The commands that train: train-default."""

from pathlib import Path
from typing import Annotated

import typer

from longtake.cli.common import Device, app, needs_extra


@app.command()
def train_default(
    run: Annotated[Path, typer.Argument(help="Folder of the run; one that was stopped goes on.")],
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of the transformer.")] = None,
    device: Device = "cpu",
    bf16: Annotated[
        bool, typer.Option("--bf16", help="bfloat16 autocast, where the processor has it.")
    ] = False,
) -> None:
    """Train the embedded model anew: footage, autoencoder, text encoder and transformer."""
    with needs_extra("world"):
        from longtake.training.default import Recipe, train_default

        print(train_default(run, Recipe(steps=steps or Recipe.steps, device=device, bf16=bf16)))
