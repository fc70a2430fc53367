"""The command that shows the rendered worlds."""

import random
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, Protocol

import typer

from longtake.cli.common import Overwrite, app, needs_extra, stoppable
from longtake.errors import OptionError
from longtake.files import beside, exclusive, printable
from longtake.progress import track

if TYPE_CHECKING:
    from longtake.video import Pictures

PORTION = 24  # frames that are drawn and written at a time


class World(StrEnum):
    flight = "flight"
    tracking_shot = "tracking-shot"


class Drawn(Protocol):
    """An endless film, as worlds draw it."""

    def render(self, first_frame: int, num_frames: int, width: int, height: int, /) -> "Pictures": ...


class Show(NamedTuple):
    """What there is to see of a world. film: from a prompt or without one, a seed and a length in frames; with what is
    seen from which frame on."""

    sheet: Callable[[Path, int], None]
    film: Callable[[str | None, int, int], tuple[Drawn, list[tuple[int, str]]]]
    fps: int
    size: tuple[int, int]


@app.command()
def world(
    name: Annotated[World, typer.Argument(metavar="WORLD", help=" or ".join(World))] = World.tracking_shot,
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
        show = SHOWS[name]()
    if sheet is not None:
        _sheet(show, sheet, seed, overwrite)
    if film is not None:
        size = width or show.size[0], height or show.size[1]
        _film(show, film, prompt, seed, max(1, round(seconds * show.fps)), size, overwrite)


def _sheet(show: Show, path: Path, seed: int, overwrite: bool) -> None:
    from longtake.video import check_output

    check_output(path, suffix=".png", overwrite=overwrite)
    with needs_extra("world"), stoppable("nothing was written"), exclusive(path), beside(path) as part:
        show.sheet(part, seed)


def _film(
    show: Show, path: Path, prompt: str | None, seed: int, count: int, size: tuple[int, int], overwrite: bool
) -> None:
    from longtake.video import VideoWriter, check_output, film_bytes

    check_output(path, overwrite=overwrite, num_bytes=film_bytes(*size, count))
    drawn, told = show.film(prompt, seed, count)
    metadata = {"prompt": told[0][1], "captions": told, "seed": seed, "num_frames": count}
    writer = VideoWriter(path, *size, show.fps, metadata, overwrite=overwrite)
    portions = range(0, count, PORTION)
    with stoppable(f"what is drawn plays: {printable(writer.part)}"), writer:
        for first in track(portions, "drawing", len(portions)):
            writer.write(drawn.render(first, min(PORTION, count - first), *size))
    print(f"{printable(path)}: {count / show.fps:g} s, {count} frames")
    for frame, caption in told:
        print(f"{frame / show.fps:7.2f} s  {caption}")


def _flight() -> Show:
    from longtake.worlds.flight.flight import FPS, HEIGHT, WIDTH, Flight, random_flight
    from longtake.worlds.flight.scene import described
    from longtake.worlds.flight.sheet import contact_sheet

    def film(prompt: str | None, seed: int, count: int) -> tuple[Drawn, list[tuple[int, str]]]:
        rng = random.Random(seed)
        flight = (
            random_flight(rng, changes=1, length=count) if prompt is None else Flight(described(prompt), seed)
        )
        scenes = [(0, flight.scene), *((change.at, change.scene) for change in flight.changes)]
        return flight, [(frame, scene.caption(rng) if prompt is None else prompt) for frame, scene in scenes]

    return Show(contact_sheet, film, FPS, (WIDTH, HEIGHT))


def _tracking_shot() -> Show:
    import longtake.worlds.paint  # noqa: F401  (needs what draws)
    from longtake.worlds.tracking_shot import (
        FPS,
        HEIGHT,
        WIDTH,
        Shot,
        contact_sheet,
        described,
        random_shot,
    )

    def film(prompt: str | None, seed: int, count: int) -> tuple[Drawn, list[tuple[int, str]]]:
        rng = random.Random(seed)
        shot = random_shot(rng) if prompt is None else Shot(**described(prompt).attributes, seed=seed)
        return shot, [(0, shot.caption(rng) if prompt is None else prompt)]

    return Show(contact_sheet, film, FPS, (WIDTH, HEIGHT))


SHOWS: dict[World, Callable[[], Show]] = {World.flight: _flight, World.tracking_shot: _tracking_shot}
