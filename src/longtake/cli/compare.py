"""The commands that compare methods and measure films: compare, evaluate."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from longtake.cli.common import BAD_INPUT, INTERRUPTED, Device, Json, Model, app, needs_extra, say, stoppable
from longtake.cli.film import DtypeName, FitStart, Lora
from longtake.errors import OptionError
from longtake.files import exclusive, exclusive_folder, printable
from longtake.plan import Method
from longtake.presets import added_to
from longtake.worlds import WorldName, load_world

if TYPE_CHECKING:
    from longtake.evaluation.jobs import Prompt
    from longtake.evaluation.variants import Setting, Variant
    from longtake.evaluation.world import World

WeightsDir = Annotated[
    Path | None,
    typer.Option(
        "--weights-dir", metavar="DIR", help="Weights of VBench's networks, to measure with these too."
    ),
]
Judge = Annotated[
    Path | None,
    typer.Option("--judge", metavar="FILE", help="Who reads films of a world, as judge trains it."),
]

Comparison = Literal["table1-open-sora"]
SEEDS = 3
NUM_PROMPTS = 8
ALL = [*get_args(Method), "no-context", "no-chunks"]


@app.command()
def compare(
    run: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="RUN", help="Folder of the run; one that was stopped goes on."
        ),
    ],
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="Prompts, one a line; # starts a comment. With a preset: lines of prompt||clip.",
        ),
    ] = None,
    preset: Annotated[
        Comparison | None,
        typer.Option(
            "--preset",
            help="Instead of methods: the paper's own comparison with Open-Sora v1.2. Clips to begin with lie in the"
            " folder of the prompts.",
        ),
    ] = None,
    fit_start: FitStart = False,
    world: Annotated[
        WorldName | None,
        typer.Option(
            "--world", metavar="WORLD", help="Instead of a file: prompts of a world that training never saw."
        ),
    ] = None,
    num_prompts: Annotated[
        int, typer.Option("--num-prompts", min=1, help="How many prompts of a world.")
    ] = NUM_PROMPTS,
    judge: Judge = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, help=f"Films of each prompt; {SEEDS} if not given, 2 with a preset."),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Length of each film.")] = 60,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods", metavar="A,B,…", help=f"What to compare: {', '.join(ALL)}, or some of these."
        ),
    ] = None,
    model: Model = None,
    lora: Lora = None,
    device: Device = "cpu",
    dtype: DtypeName = None,
    weights_dir: WeightsDir = None,
    equal_steps: Annotated[
        bool, typer.Option("--equal-steps", help="At equal steps alone, not at equal cost as well.")
    ] = False,
    report_only: Annotated[
        bool,
        typer.Option("--report-only", help="Write the report of the films that are there, and film none."),
    ] = False,
) -> None:
    """Film the same prompts and seeds by several methods, measure every film, and write a report.

    Another call with more prompts, seeds or methods adds films to the run.
    """
    with needs_extra("evaluate"):
        from longtake.evaluation.compare import film_all, report, table1
        from longtake.evaluation.tables import markdown
        from longtake.evaluation.variants import TABLE1, TABLE1_SEEDS, Setting
        from longtake.evaluation.vbench.dimensions import missing_weights
    if not report_only:
        if (prompts is None) == (world is None):
            raise OptionError("give either --prompts FILE or --world WORLD")
        shown = _world(world, judge)
        setting = Setting(seconds, model, lora, device, dtype, weights_dir, world=shown, judge=judge)
        notes = _unmeasured(missing_weights(weights_dir) if weights_dir else {})
        if preset is None:
            variants, left_out = _variants(methods, setting, not equal_steps)
            chosen, passed = _prompts(prompts, shown, num_prompts)
            notes += [*left_out, *passed]
        else:
            if prompts is None or methods or equal_steps:
                raise OptionError(f"preset {preset} takes --prompts FILE; its methods and steps are its own")
            setting, chosen = table1(prompts, setting, fit_start)
            variants, seeds = TABLE1, seeds or TABLE1_SEEDS
            if adds := dict.fromkeys(filter(None, (added_to(prompt.text) for prompt in chosen))):
                notes.append(f'presets add "{"".join(adds)}" to prompts that name no score')
        for variant in variants[:1]:
            notes += setting.film(variant).notes
        for note in notes:
            say(f"note: {note}")
    stopped = False
    with exclusive_folder(run):
        try:
            if not report_only:
                with bar("films") as show:
                    film_all(run, setting, chosen, seeds or SEEDS, variants, show)
        except KeyboardInterrupt:
            stopped = True
            say(f"stopped: give the same command again, and {run} goes on")
        if not stopped or any((run / "films").glob("*.json")):
            summary, path = report(run, [] if report_only else [_command()])
            print(f"{markdown(summary)}\n{printable(path)}")
    if stopped:
        raise typer.Exit(INTERRUPTED)


@app.command()
def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|DIR…", help="Films, and folders of films that belong together."),
    ],
    run: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="RUN", help="Folder for each film's numbers and the report."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", metavar="FILE", help="Their prompts, one a line, in their order."),
    ] = None,
    real: Annotated[
        Path | None, typer.Option("--real", metavar="DIR", help="Folder of real film to compare them with.")
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(
            "--clips", metavar="DIR", help="Also cut them into clips for VBench-Long's and FVD's own tools."
        ),
    ] = None,
    world: Annotated[
        WorldName | None,
        typer.Option(
            "--world",
            metavar="WORLD",
            help="What their prompts describe: read how much of it each film shows.",
        ),
    ] = None,
    judge: Judge = None,
    weights_dir: WeightsDir = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure films: any codec, size and frame rate, with curves over time."""
    with needs_extra("evaluate"):
        from longtake.evaluation.evaluate import evaluate_files, find_clips
        from longtake.evaluation.export import check_new, export_clips
        from longtake.evaluation.prompts import read_prompts
        from longtake.evaluation.registry import load_vbench
        from longtake.evaluation.tables import markdown
        from longtake.evaluation.variants import REAL
    shown = _world(world, judge)
    texts = read_prompts(prompts, unique=False)[0] if prompts else None
    if clips is not None:
        check_new(clips)
    found, notes = find_clips(files, real, texts)
    vbench = load_vbench(weights_dir, device) if weights_dir else None
    for note in [*notes, *_unmeasured(vbench.missing if vbench else {})]:
        say(f"note: {note}")
    with ExitStack() as stack:
        folder = run or Path(stack.enter_context(TemporaryDirectory()))
        stack.enter_context(stoppable("give the same command again, which begins anew"))
        show = stack.enter_context(bar("frames"))
        stack.enter_context(exclusive_folder(folder))
        summary, errors = evaluate_files(found, folder, vbench, show, [_command()], shown, judge)
    if summary is not None:
        records = [film.record for film in summary.films]
        if clips is not None:
            measured = {record["file"] for record in records if record["row"] != REAL}
            with stoppable(f"{clips} is not there"), exclusive(clips):
                export_clips([clip.path for clip in found if printable(clip.path) in measured], clips)
        print(json.dumps(records, indent=2) if as_json else markdown(summary))
        for film in summary.films:
            for note in film.record["notes"]:
                say(f"note: {film.record['file']}: {note}")
    for error in errors:
        say(f"error: {error}")
    if errors:
        raise typer.Exit(BAD_INPUT)


def _variants(
    methods: str | None, setting: "Setting", equal_cost: bool
) -> tuple[Sequence["Variant"], list[str]]:
    """What is compared, and, in words, what is left out."""
    from longtake.evaluation.variants import variants_of

    names = [name.strip() for name in methods.split(",")] if methods else ALL
    return variants_of(names, setting, equal_cost)


def _prompts(file: Path | None, world: "World | None", count: int) -> tuple[Sequence["Prompt"], list[str]]:
    """The prompts of a file, or so many of the world; and, in words, what is passed over."""
    from longtake.evaluation.jobs import Prompt, world_prompts
    from longtake.evaluation.prompts import read_prompts

    if file is not None:
        texts, passed = read_prompts(file)
        words = [f"{passed} blank lines and comments of {file} are passed over"] if passed else []
        return [Prompt(text) for text in texts], words
    assert world is not None
    return world_prompts(world, count), []


def _world(name: WorldName | None, judge: Path | None) -> "World | None":
    if name is None and judge is not None:
        raise OptionError("--judge FILE goes with --world WORLD")
    with needs_extra("world"):
        return load_world(name) if name is not None else None


def _unmeasured(missing: dict[str, list[str]]) -> list[str]:
    """VBench's dimensions whose weights are not there, in words."""
    return [
        f"VBench's {name} is not measured: it needs {' and '.join(files)}" for name, files in missing.items()
    ]


def _command() -> str:
    return printable(shlex.join(["longtake", *sys.argv[1:]]))


@contextmanager
def bar(unit: str) -> Iterator[Callable[..., None]]:
    """A bar on stderr, where that is a terminal; yields the function to call with what it is at, if that changes, how
    many are done, and of how many."""
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit} {{task.description}}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, of: int, name: str = "") -> None:
            progress.update(task, completed=done, total=of, description=name)

        yield show
