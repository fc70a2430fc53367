"""A take, filmed by a command: its model loaded, a bar while it is made, a report at the end."""

import json
import resource
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console, RenderableType
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

from longtake.cli.common import INTERRUPTED, PLACES, PREVIEW, quick_imports, say
from longtake.cli.signals import gently
from longtake.cues import seconds_of
from longtake.errors import OptionError, OutputError
from longtake.files import printable
from longtake.frames import number
from longtake.models.base import Loras
from longtake.models.card.placement import Placement
from longtake.models.folder import ModelFolder
from longtake.options import FilmPlan

if TYPE_CHECKING:
    from longtake.pipeline import LongTake
    from longtake.provenance import Made
    from longtake.shot import Look
    from longtake.takes import Speed, Take


KeepStates = Annotated[
    str | None,
    typer.Option(
        "--keep-states", metavar="TIME", help="Keep a state so often, to branch from; one is kept anyway."
    ),
]
PreviewTo = Annotated[
    str | None,
    typer.Option(
        PREVIEW,
        metavar="[FILE.png|kitty|sixel|blocks]",
        help="Show what the window holds, here or in a picture that is rewritten while the film is made. Here: as"
        " pictures where the terminal says that it shows kitty's or sixels, in half blocks elsewhere.",
    ),
]


def every_of(told: str | None) -> float | None:
    """The seconds of --keep-states. OptionError for what is no time, or none."""
    every = seconds_of(told)
    if every is not None and not every > 0:
        raise OptionError(
            f"a state is kept every so many seconds, more than 0, not {told!r}: give --keep-states 10s"
        )
    return every


class Loading(NamedTuple):
    """A model, and how it is loaded. like: what a film was made with that is to be repeated or gone on with."""

    folder: ModelFolder
    device: str
    dtype: str | None
    lora: Loras
    like: "Made | None" = None
    placement: Placement = Placement()


def film_it(
    take: "Take", loading: Loading, started: float, as_json: bool, preview: str | None = None
) -> None:
    """Load the model, film a take and print the report. A signal ends it after a pass, and is told what goes on.

    preview: where the window is shown while it is filmed, the terminal or a PNG.
    """
    if preview is not None:
        from longtake.cli.conveyor import check_place

        check_place(preview)
    try:
        model = loaded(loading)
        take.check(model)
        tell_reading(model, take.film)
        if loading.like is not None:
            tell_differences(model, loading.like)
        _shoot(take, model, started, as_json, preview)
    except KeyboardInterrupt:
        say(f"stopped: {take.left}{_then(take)}")
        raise typer.Exit(INTERRUPTED) from None
    except OutputError as error:
        raise OutputError(f"{error}{_then(take)}") from error


def _then(take: "Take") -> str:
    """What goes on with a film that was not finished."""
    return f"; longtake resume {shlex.quote(str(take.path))}.part goes on" if take.is_resumable else ""


def loaded(loading: Loading) -> "LongTake":
    """The model, loaded."""
    folder, device, dtype, lora, _, placement = loading
    with quick_imports():
        from longtake.models.parts import import_code
        from longtake.pipeline import LongTake

        import_code(folder)
    return LongTake.from_pretrained(folder, device, dtype, lora, **placement.model_dump())


def tell_differences(model: "LongTake", before: "Made") -> None:
    """Tell what is other than when a film was made that is to be repeated or gone on with, and what cannot be known."""
    from longtake.provenance import differences, made_by, unknown

    now = made_by(model, model.weights)
    if differ := differences(before, now):
        say(f"note: the pictures may differ: {'; '.join(differ)}")
    if missing := unknown(before, now):
        say(
            f"note: the pictures may differ: the film does not say {', '.join(missing)}, as films by an older longtake"
            " do not"
        )


def tell_reading(take: "LongTake", film: FilmPlan) -> None:
    """Tell what a model does not make of a film and of its prompts."""
    for lack in take.model.spec.left_out:
        say(f"note: the film is without {lack}, which {film.model} could make")
    prompts = dict.fromkeys([film.prompt, film.negative_prompt, *(cue.prompt for cue in film.cues)])
    for text in filter(None, prompts):
        if (read := take.model.clean(text)) != " ".join(text.split()):
            say(f'note: {film.model} reads the prompt as "{read}"')
    for text in filter(None, dict.fromkeys([film.prompt, *(cue.prompt for cue in film.cues)])):
        if unknown := take.model.unknown_words(text):
            say(f"note: {film.model} does not know {', '.join(unknown)}")


def _shoot(take: "Take", model: "LongTake", started: float, as_json: bool, preview: str | None) -> None:
    """Film a take and print its report."""
    speed = shoot(take, model, preview)
    report = {
        "file": printable(take.path),
        "num_frames": take.num_frames,
        "seconds": float(take.num_frames / take.film.rate),
        "frames_per_second": round(speed.frames_per_second, 2),
        "seconds_to_first_frame": round(speed.first_frame - started, 2),
        "peak_memory_bytes": _peak_memory(),
        "options": take.metadata,
        "made": take.made.model_dump(),
    }
    if take.seam is not None:
        report["seam"] = {name: round(value, 2) for name, value in asdict(take.seam).items()}
    print(json.dumps(report, indent=2) if as_json else _one_line(report))


def shoot(take: "Take", model: "LongTake", preview: str | None = None) -> "Speed":
    """Film a take behind a bar, and say how much it changes where it meets what it was given. The first signal stops it
    after a pass, its state written, by KeyboardInterrupt."""
    asked = Event()
    take.open(model)
    new_look = None if preview is None else _previewing(preview, take.film, model)
    with _progress(take.film.length.num_frames, preview in PLACES) as bar, gently(asked.set):
        look = new_look and new_look(bar.put_above)
        speed = take.shoot(model, bar.move, asked.is_set, look=look)
    if take.seam is not None:
        say(f"note: where {printable(take.path.name)} meets {take.met} it changes {take.seam}")
    return speed


def _previewing(
    place: str, film: FilmPlan, model: "LongTake"
) -> Callable[[Callable[[RenderableType], None]], "Look"]:
    """What looks at the window and shows it, once it is told how something is put above the bar."""
    from longtake.cli.conveyor import Shown
    from longtake.cli.graphics import CHARACTERS, graphics
    from longtake.preview import Preview, colour_map

    how = graphics(place) if place in PLACES else CHARACTERS
    colours, count = colour_map(model.model, model.folder), film.cost.peak_window
    return lambda above: Preview(colours, film, model.model.spec, Shown(place, count, above, how))


class _FramesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} frames/s")


class _Bar(Progress):
    """The bar of one film, and what lies above it. With something above, it is drawn when that changes."""

    above: RenderableType | None = None

    def move(self, frames: int) -> None:
        self.advance(self.task_ids[0], frames)

    def put_above(self, what: RenderableType) -> None:
        self.above = what
        self.refresh()

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.above is not None:
            yield self.above
        yield from super().get_renderables()


def _progress(num_frames: int, has_above: bool) -> _Bar:
    """A bar on stderr, where that is a terminal."""
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        _FramesPerSecond(),
        TimeRemainingColumn(),
    )
    bar = _Bar(*columns, console=console, disable=not console.is_terminal, auto_refresh=not has_above)
    bar.add_task("", total=num_frames)
    return bar


def _one_line(report: dict[str, Any]) -> str:
    return (
        f"{printable(report['file'])}: {number(report['seconds'])} s, {report['num_frames']} frames,"
        f" {report['frames_per_second']:.1f} frames/s, peak memory {report['peak_memory_bytes'] / 1e6:.0f} MB"
    )


def _peak_memory() -> int:
    """The most bytes this process has held in main memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
