"""The command that makes model folders of weights in other layouts: convert."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from longtake.cli.common import app, say, stoppable
from longtake.files import exclusive_folder, printable
from longtake.models.load import read_spec
from longtake.models.places import converted_folder


@app.command()
def convert(
    kind: Annotated[Literal["open-sora"], typer.Argument(help="What the weights are of.")],
    transformer: Annotated[
        str,
        typer.Argument(help="Open-Sora v1.2's network: hpcai-tech/OpenSora-STDiT-v3, a file or a folder."),
    ],
    vae: Annotated[
        str, typer.Argument(help="Its autoencoder: hpcai-tech/OpenSora-VAE-v1.2, a file or a folder.")
    ],
    target: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Folder to write; one that was stopped goes on. If not given, where --model open-sora-v1.2 looks.",
        ),
    ] = None,
    text_encoder: Annotated[
        str | None,
        typer.Option(
            "--text-encoder",
            metavar="DIR|HUB-ID",
            help="T5-v1.1-XXL as safetensors, with its tokenizer; PixArt's if not given.",
        ),
    ] = None,
) -> None:
    """Make a model folder of original weights: every tensor accounted for, nothing pickled read."""
    from longtake.models.open_sora.folder import TEXT_ENCODER, convert_open_sora
    from longtake.models.open_sora.spec import SPEC

    folder = target or converted_folder(SPEC.name)
    with stoppable(f"give the same command again, and {folder} goes on"), exclusive_folder(folder):
        convert_open_sora(transformer, vae, folder, text_encoder or TEXT_ENCODER, say)
    spec = read_spec(folder)
    print(f"{printable(folder)}: {spec.defaults.width}x{spec.defaults.height} at {spec.defaults.fps:g} fps")
