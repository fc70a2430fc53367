"""The commands that train: train, distil, train-default."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtake.cli.common import BAD_INPUT, INTERRUPTED, Device, Model, app, bar, needs_extra, say, stoppable
from longtake.cli.parameters import Config, takes, told_by
from longtake.cli.signals import gently
from longtake.errors import LongTakeError, OptionError
from longtake.files import exclusive_folder, printable, write_text
from longtake.frames import lasting
from longtake.models.folder import ModelFolder
from longtake.models.places import model_folder, open_model
from longtake.training.options import DistilOptions, RunOptions, RunPlaces, TrainOptions
from longtake.worlds import WorldName, load_world

RATE = 1e14  # FLOP a second, for hours that are easily turned into those of another card
SHOWN = 3  # captions of the film in a sample strip, where no prompts are given
ALSO = {"context_size": ("--context-size", "--context")}  # the latter is what the commands that film call it

if TYPE_CHECKING:
    from longtake.training.data import PreparedFilm
    from longtake.training.report import Step
    from longtake.training.trainer import Trainer


Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Captioned film, prepared or not (see prepare).", show_default=False
    ),
]
Run = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="RUN", help="Folder of the run; one that was stopped goes on."),
]
GivenRun = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="RUN", help="Folder of the run; one that was stopped goes on."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what it would take, and do nothing.")]


@app.command()
@takes(TrainOptions, names=ALSO)
def train(
    data: Data = None,
    output: GivenRun = None,
    model: Model = None,
    config: Config = None,
    dry_run: DryRun = False,
    **given: Any,
) -> None:
    """Fine-tune a model for long takes on your own film.

    --config recipes/NAME.yaml takes all that it needs from a file.

    In many processes: torchrun --nproc-per-node N -m longtake train …, or accelerate launch -m longtake train ….
    """
    _learn(TrainOptions, config, dry_run, given | {"data": data, "output": output, "model": model})


@app.command()
@takes(DistilOptions, names=ALSO)
def distil(
    data: Data = None,
    output: GivenRun = None,
    model: Model = None,
    config: Config = None,
    dry_run: DryRun = False,
    **given: Any,
) -> None:
    """Halve the steps that a model films with: one step of the result goes where two of the model went.

    The model, guided as it is filmed with, teaches a copy of itself, which then needs no guidance.

    The result's window holds as many latents: steps per chunk are halved where they are even, else chunks are doubled.

    From 8 steps to 2 go by way of 4: distil the result once more. In many processes as train.
    """
    _learn(DistilOptions, config, dry_run, given | {"data": data, "output": output, "model": model})


@app.command()
def train_default(
    run: Annotated[Path, typer.Argument(help="Folder of the run; one that was stopped goes on.")],
    world: Annotated[
        WorldName, typer.Option("--world", metavar="WORLD", help="What its films show.")
    ] = WorldName.tracking_shot,
    edition: Annotated[str, typer.Option("--edition", help="How large it is: tiny, small …")] = "small",
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of the transformer.")] = None,
    device: Device = "cpu",
    bf16: Annotated[
        bool, typer.Option("--bf16", help="bfloat16 autocast, where the processor has it.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the blocks of the transformer.")
    ] = False,
) -> None:
    """Train a small model from nothing: footage, autoencoder, text encoder and transformer.

    That of tracking shots is the embedded one, and the trainer finishes it.
    """
    with needs_extra("world,train"):
        recipes = load_world(world).editions()
    if edition not in recipes:
        raise OptionError(f"{world} has no edition {edition}: choose among {', '.join(recipes)}")
    recipe = recipes[edition]
    recipe = replace(recipe, steps=steps or recipe.steps, device=device, bf16=bf16, compiled=compiled)
    with stoppable(f"give the same command again, and {run} goes on from its newest checkpoint"):
        with exclusive_folder(run):
            model = recipe.train(run, _after_a_step)
        print(printable(model))


def _learn(kind: type[RunOptions], config: Path | None, dry_run: bool, given: dict[str, Any]) -> None:
    """What train and distil do, which differ in their options and in what is learnt. given: their own, and the
    places."""
    try:
        told = told_by(config, [*RunPlaces.model_fields, *kind.model_fields], given)
        if missing := [f"--{name}" for name in ("data", "output") if name not in told]:
            raise OptionError(f"give {' and '.join(missing)}, or a --config that says it")
        places = RunPlaces(**{name: told.pop(name) for name in RunPlaces.model_fields if name in told})
        options = kind(**told)
        with needs_extra("train"):
            folder = open_model(places.model)
            if dry_run:
                _describe(folder, options, places.data)
            else:
                with exclusive_folder(places.output) if _first_process() else nullcontext():
                    _train(folder, options, places.data, places.output)
    except LongTakeError:
        if _first_process():
            raise
        raise typer.Exit(BAD_INPUT) from None


def _train(model: ModelFolder, options: RunOptions, data: Path, run: Path) -> None:
    from longtake.training.changes import FILM, check_film
    from longtake.training.data import MANIFEST
    from longtake.training.distil import distilling
    from longtake.training.objectives import Denoising
    from longtake.training.trainer import Trainer

    try:
        film = _film(model, options, _prepared(model, options, data, run))
        if not options.sample_prompts:
            options = options.model_copy(update={"sample_prompts": tuple(film.captions[:SHOWN])})
        check_film(run, film.manifest)
        manifest = (film.folder / MANIFEST).read_bytes()
        hashes = {"data": hashlib.sha256(manifest).hexdigest()}
        objective = distilling if isinstance(options, DistilOptions) else Denoising
        trainer = Trainer(model, film, run, options, hashes, objective=objective)
        if _first_process():
            write_text(run / FILM, manifest.decode())
        if trainer.step == options.steps:
            _say(f"{run} is finished: all its {options.steps} steps are taken")
        with _progress(trainer.step, options.steps) as show, _a_step_at_a_time(trainer):
            for step in trainer.steps():
                show(step)
        trainer.accelerator.end_training()  # or the threads of gloo may abort a process that ends
    except KeyboardInterrupt:
        _say(f"stopped: give the same command again, and {run} goes on from its newest checkpoint")
        raise typer.Exit(INTERRUPTED) from None
    if trainer.step < options.steps:
        _say(f"stopped after {trainer.step} steps: give the same command again, and {run} goes on")
        raise typer.Exit(INTERRUPTED)
    if _first_process():
        print(printable(trainer.result))


def _a_step_at_a_time(trainer: "Trainer") -> AbstractContextManager[None]:
    """Of many processes each would end at another step, so there the first Ctrl-C stops at once."""
    return _after_a_step(trainer.stop) if trainer.accelerator.num_processes == 1 else nullcontext()


def _after_a_step(stop: Callable[[], None]) -> AbstractContextManager[None]:
    """The first Ctrl-C lets a step end and keeps it, the second stops at once."""

    def told() -> None:
        stop()
        say("stopping after this step; Ctrl-C once more to lose it")

    return gently(told)


def _prepared(model: ModelFolder, options: RunOptions, data: Path, run: Path) -> Path:
    """The folder of prepared film: the one given, or what is made of it in the run."""
    if os.path.exists(data / "manifest.json"):
        return data
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise OptionError(
            f"{data} is not prepared, which takes one process: longtake prepare {data} -o FOLDER"
        )
    from longtake.runs import CONFIG
    from longtake.training.changes import check_source
    from longtake.training.data import longest_windows
    from longtake.training.prepare import prepare
    from longtake.training.trainer import check_run

    target = run / "data"
    check_run(model, run, options)
    if os.path.exists(run / CONFIG):
        if not (target / "manifest.json").exists():
            raise OptionError(
                f"{run} learns from film that was prepared elsewhere: give that folder as --data"
            )
        check_source(data, target)
    windows = longest_windows(model.spec, options.windows(options.sampling(model.spec)))
    prepare(data, target, model, windows=windows, say=say)
    return target


def _film(model: ModelFolder, options: RunOptions, folder: Path) -> "PreparedFilm":
    from longtake.training.data import PreparedFilm, frames_needed, hashes

    spec = model.spec
    sampling = options.sampling(spec)
    film = PreparedFilm(folder, spec, hashes(model_folder(model)), sampling, options.windows(sampling))
    if film.left_out:
        window = lasting(frames_needed(spec, film.needed), Fraction(film.manifest.fps))
        _say(f"note: {film.left_out} shots are left out, shorter than a training window of {window}")
    return film


def _describe(model: ModelFolder, options: RunOptions, data: Path) -> None:
    """Print what a run would take."""
    from longtake.training.estimate import estimate
    from longtake.training.sources import find_clips

    if os.path.exists(data / "manifest.json"):
        film = _film(model, options, data)
        sampling = film.sampling
    else:
        film, sampling = None, options.sampling(model.spec)
    cost = estimate(model, options, sampling, int(os.environ.get("WORLD_SIZE", 1)))
    if film:
        steps = film.num_latents / cost.latents_per_step
        epoch = (
            f"{steps:{'.0f' if steps >= 10 else '.2g'}} steps: {len(film)} clips, {film.num_latents} latents"
        )
    else:
        epoch = f"its steps are known once the {len(find_clips(data)[0])} clips are prepared"
    for kind, (share, fewest, most) in cost.kinds.items():
        print(f"{kind:<11}{share:6.1%} of the steps, {fewest} to {most} latents")
    print(
        f"step       {options.batch_size} windows: {cost.latents_per_step:.0f} latents, {cost.tokens_per_step:.0f}"
        f" tokens\nepoch      {epoch}\nweights    {cost.trained:,} of {cost.parameters:,} are trained"
    )
    held = ", ".join(f"{name} {size / 1e9:.3g}" for name, size in cost.memory.items())
    hours = cost.flops_per_step * options.steps / RATE / 3600
    print(
        f"work       {cost.flops_per_step:.3g} FLOP a step; {options.steps} steps are {hours:.3g} hours of"
        f" {RATE / 1e12:g} TFLOP/s, counted and not measured"
    )
    print(f"memory     some {sum(cost.memory.values()) / 1e9:.3g} GB a process: {held}")


@contextmanager
def _progress(done: int, steps: int) -> Iterator[Callable[["Step"], None]]:
    """A bar on stderr, where that is a terminal; yields the function that shows a step."""
    with bar("steps", quiet=not _first_process()) as progress:
        progress(done, steps)

        def show(step: "Step") -> None:
            about = f" loss {step.loss:.4f}, {step.latents_per_second:.1f} latents/s"
            progress(step.step + 1, steps, about)

        yield show


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _say(line: str) -> None:
    if _first_process():
        say(line)
