"""The commands that compare methods and measure films: compare, evaluate."""

import json
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtake.cli.common import (
    BAD_INPUT,
    INTERRUPTED,
    Device,
    Json,
    Model,
    app,
    bar,
    needs_extra,
    say,
    stoppable,
)
from longtake.cli.film import DtypeName, FitStart, Lora
from longtake.cli.parameters import given_of, takes
from longtake.cli.placing import placement_of
from longtake.cli.train import Run
from longtake.errors import OptionError
from longtake.evaluation.options import CompareOptions, EvaluateOptions
from longtake.files import exclusive, exclusive_folder, printable
from longtake.models.card.placement import Placement
from longtake.worlds import WorldName, load_world

if TYPE_CHECKING:
    from longtake.evaluation.compare import Comparison
    from longtake.evaluation.report.summary import Summary
    from longtake.evaluation.world import World


@app.command()
@takes(CompareOptions)
@takes(Placement)
def compare(
    run: Run,
    fit_start: FitStart = False,
    model: Model = None,
    lora: Lora = None,
    device: Device = "cpu",
    dtype: DtypeName = None,
    report_only: Annotated[
        bool,
        typer.Option("--report-only", help="Write the report of the films that are there, and film none."),
    ] = False,
    **given: Any,
) -> None:
    """Film the same prompts and seeds by several methods, measure every film, and write a report.

    Another call with more prompts, seeds or methods adds films to the run.
    """
    with needs_extra("evaluate"):
        from longtake.evaluation.compare import comparison, report
        from longtake.evaluation.report.tables import markdown
        from longtake.evaluation.variants import Setting
    films, placed = None, placement_of(given)
    if not report_only:
        options = CompareOptions(**given_of(given))
        world = _world(options)
        setting = Setting(
            options.seconds, model, lora, device, dtype, fit_start=fit_start, world=world, placement=placed
        )
        films = comparison(options, setting)
        for note in films.notes:
            say(f"note: {note}")
    with exclusive_folder(run):
        finished = films is None or _film(run, films)
        if finished or any((run / "films").glob("*.json")):
            summary, path = report(run, [_command()] if films else [])
            print(f"{markdown(summary)}\n{printable(path)}")
    if not finished:
        raise typer.Exit(INTERRUPTED)


def _film(run: Path, films: "Comparison") -> bool:
    """Whether all of them were made, and the command was not stopped."""
    from longtake.evaluation.compare import film_all

    try:
        with bar("films") as show:
            film_all(run, films, show)
    except KeyboardInterrupt:
        say(f"stopped: give the same command again, and {run} goes on")
        return False
    return True


@app.command()
@takes(EvaluateOptions)
def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|DIR…", help="Films, and folders of films that belong together."),
    ],
    run: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="RUN", help="Folder for each film's numbers and the report."),
    ] = None,
    device: Device = "cpu",
    as_json: Json = False,
    **given: Any,
) -> None:
    """Measure films: any codec, size and frame rate, with curves over time."""
    with needs_extra("evaluate"):
        from longtake.evaluation.evaluate import evaluate_files, evaluation
    options = EvaluateOptions(**given_of(given))
    films = evaluation(files, options, device, _world(options))
    for note in films.notes:
        say(f"note: {note}")
    with ExitStack() as stack:
        folder = run or Path(stack.enter_context(TemporaryDirectory()))
        stack.enter_context(stoppable("give the same command again, which begins anew"))
        show = stack.enter_context(bar("frames"))
        stack.enter_context(exclusive_folder(folder))
        summary, errors = evaluate_files(films, folder, show, [_command()])
    if summary is not None:
        if options.clips is not None:
            _export(films.paths_of(summary), options.clips)
        _tell(summary, as_json)
    for error in errors:
        say(f"error: {error}")
    if errors:
        raise typer.Exit(BAD_INPUT)


def _export(films: list[Path], folder: Path) -> None:
    from longtake.evaluation.export import export_clips

    with stoppable(f"{folder} is not there"), exclusive(folder):
        export_clips(films, folder)


def _tell(summary: "Summary", as_json: bool) -> None:
    from longtake.evaluation.report.tables import markdown

    records = [film.record for film in summary.films]
    told = [record.json_values() for record in records]
    print(json.dumps(told, indent=2) if as_json else markdown(summary))
    for record in records:
        for note in record.notes:
            say(f"note: {record.file}: {note}")


def _world(options: CompareOptions | EvaluateOptions) -> "World | None":
    """The world that the options name, if any."""
    if options.world is None and options.judge is not None:
        raise OptionError("--judge FILE goes with --world WORLD")
    with needs_extra("world"):
        return load_world(WorldName(options.world)) if options.world is not None else None


def _command() -> str:
    return printable(shlex.join(["longtake", *sys.argv[1:]]))
