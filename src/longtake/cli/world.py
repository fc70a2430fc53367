"""The command that shows the rendered worlds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longtake.cli.common import Overwrite, app, needs_extra, stoppable
from longtake.errors import OptionError
from longtake.files import beside, exclusive, printable
from longtake.progress import track
from longtake.worlds import WorldName, load_world

if TYPE_CHECKING:
    from longtake.evaluation.world import World

PORTION = 24  # frames that are drawn and written at a time


@app.command()
def world(
    name: Annotated[
        WorldName, typer.Argument(metavar="WORLD", help=" or ".join(WorldName))
    ] = WorldName.tracking_shot,
    prompt: Annotated[
        str | None, typer.Argument(help="What to film; drawn by chance if not given.", show_default=False)
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="PNG", help="Draw a contact sheet.")
    ] = None,
    film: Annotated[Path | None, typer.Option("--film", metavar="MP4", help="Draw a film.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Length of the film.")] = 60,
    width: Annotated[int | None, typer.Option("--width", min=16, max=4096, help="Of the film.")] = None,
    height: Annotated[int | None, typer.Option("--height", min=16, max=4096, help="Of the film.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws others.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Draw what models are trained on: drone flights, or the tracking shots of the embedded model."""
    if (sheet is None) == (film is None):
        raise OptionError("give either --sheet PNG or --film MP4")
    if sheet is not None and prompt is not None:
        raise OptionError("a sheet shows the whole world: a prompt goes with --film MP4")
    with needs_extra("world"):
        shown = load_world(name)
    if sheet is not None:
        from longtake.video import check_output

        check_output(sheet, suffix=".png", overwrite=overwrite)
        with needs_extra("world"), stoppable("nothing was written"), exclusive(sheet), beside(sheet) as part:
            shown.sheet(part, seed)
    if film is not None:
        size = width or shown.sizes[0][0], height or shown.sizes[0][1]
        _film(shown, film, prompt, seed, max(1, round(seconds * shown.fps)), size, overwrite)


def _film(
    of: "World", path: Path, prompt: str | None, seed: int, count: int, size: tuple[int, int], overwrite: bool
) -> None:
    from longtake.video import VideoWriter, check_output, film_bytes

    check_output(path, overwrite=overwrite, num_bytes=film_bytes(*size, count))
    if prompt is None:
        drawn, told = of.drawn(seed, count)
    else:
        drawn, told = of.described(prompt, seed), [(0, prompt)]
    metadata = {"prompt": told[0][1], "captions": told, "seed": seed, "num_frames": count}
    writer = VideoWriter(path, *size, of.fps, metadata, overwrite=overwrite)
    portions = range(0, count, PORTION)
    with stoppable(f"what is drawn plays: {printable(writer.part)}"), writer:
        for first in track(portions, "drawing", len(portions)):
            writer.write(drawn.render(first, min(PORTION, count - first), *size))
    print(f"{printable(path)}: {count / of.fps:g} s, {count} frames")
    for frame, caption in told:
        print(f"{frame / of.fps:7.2f} s  {caption}")
