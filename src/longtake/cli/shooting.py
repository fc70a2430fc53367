"""A take, filmed by a command: its model loaded, a bar while it is made, a report at the end."""

import json
import resource
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from longtake.cli.common import INTERRUPTED, quick_imports, say
from longtake.cli.signals import gently
from longtake.files import printable
from longtake.frames import number
from longtake.models.folder import ModelFolder
from longtake.options import FilmPlan

if TYPE_CHECKING:
    from longtake.pipeline import LongTake
    from longtake.takes import Take


KeepStates = Annotated[
    str | None,
    typer.Option(
        "--keep-states", metavar="TIME", help="Keep a state so often, to branch from; one is kept anyway."
    ),
]


class Loading(NamedTuple):
    """A model, and how it is loaded."""

    folder: ModelFolder
    device: str
    dtype: str | None
    lora: str | None


def film_it(take: "Take", loading: Loading, started: float, as_json: bool) -> None:
    """Load the model, film a take and print the report. A signal ends it after a pass, and is told what goes on."""
    try:
        _shoot(take, _loaded(take.film, *loading), started, as_json)
    except KeyboardInterrupt:
        then = f"; longtake resume {shlex.quote(str(take.path))}.part goes on" if take.is_resumable else ""
        say(f"stopped: {take.left}{then}")
        raise typer.Exit(INTERRUPTED) from None


def _loaded(
    film: FilmPlan, folder: ModelFolder, device: str, dtype: str | None, lora: str | None
) -> "LongTake":
    """The model, loaded. What it does not make of the prompts is told."""
    with quick_imports():
        from longtake.models.parts import import_code
        from longtake.pipeline import LongTake

        import_code(folder)
    take = LongTake.from_pretrained(folder, device, dtype, lora)
    prompts = dict.fromkeys([film.prompt, film.negative_prompt, *(cue.prompt for cue in film.cues)])
    for text in filter(None, prompts):
        if (read := take.model.clean(text)) != " ".join(text.split()):
            say(f'note: {film.model} reads the prompt as "{read}"')
    for text in filter(None, dict.fromkeys([film.prompt, *(cue.prompt for cue in film.cues)])):
        if unknown := take.model.unknown_words(text):
            say(f"note: {film.model} does not know {', '.join(unknown)}")
    return take


def _shoot(take: "Take", model: "LongTake", started: float, as_json: bool) -> None:
    """Film a take and print its report. The first signal stops it after a pass, its state written."""
    asked = Event()
    with _progress(take.film.length.num_frames) as advance, gently(asked.set):
        speed = take.shoot(model, advance, asked.is_set)
    report = {
        "file": printable(take.path),
        "num_frames": take.num_frames,
        "seconds": float(take.num_frames / take.film.rate),
        "frames_per_second": round(speed.frames_per_second, 2),
        "seconds_to_first_frame": round(speed.first_frame - started, 2),
        "peak_memory_bytes": _peak_memory(),
        "options": take.metadata,
    }
    if take.seam is not None:
        report["seam"] = round(take.seam, 2)
        say(
            f"note: where the new pictures end it changes {take.seam:.1f} times as much as between two of them"
        )
    print(json.dumps(report, indent=2) if as_json else _one_line(report))


class _FramesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} frames/s")


@contextmanager
def _progress(num_frames: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal; yields the function to call with the frames just done."""
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        _FramesPerSecond(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=num_frames)
        yield lambda frames: progress.advance(task, frames)


def _one_line(report: dict[str, Any]) -> str:
    return (
        f"{printable(report['file'])}: {number(report['seconds'])} s, {report['num_frames']} frames,"
        f" {report['frames_per_second']:.1f} frames/s, peak memory {report['peak_memory_bytes'] / 1e6:.0f} MB"
    )


def _peak_memory() -> int:
    """The most bytes this process has held in main memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
