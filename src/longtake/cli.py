"""The command line, a guest of the library: the only module that prints or exits.

torch is imported by the commands that film or plan, not by `--help`. Errors a user can mend are one line on
stderr, exit code 2; Ctrl-C is exit code 130."""

import json
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

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

from longtake import __version__
from longtake.errors import LongTakeError, OptionError
from longtake.models.load import list_models, read_spec
from longtake.options import Film, FilmOptions

if TYPE_CHECKING:
    from longtake.video import VideoWriter

SLUG_LENGTH = 60
BAD_INPUT = 2
INTERRUPTED = 130

app = typer.Typer(
    help="One unbroken shot of any length from a video diffusion model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Dtype(StrEnum):
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def _about(field: str) -> str | None:
    return FilmOptions.model_fields[field].description


Prompt = Annotated[str, typer.Argument(help=_about("prompt"), show_default=False)]
Seconds = Annotated[float | None, typer.Option("--seconds", help=_about("seconds"))]
Frames = Annotated[int | None, typer.Option("--frames", help=_about("num_frames"))]
Seed = Annotated[int | None, typer.Option("--seed", help=_about("seed"))]
Negative = Annotated[str | None, typer.Option("--negative", help=_about("negative_prompt"))]
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Size of the picture in pixels.")]
Fps = Annotated[float | None, typer.Option("--fps", help=_about("fps"))]
Steps = Annotated[int | None, typer.Option("--steps", help=_about("num_inference_steps"))]
StepsPerChunk = Annotated[int | None, typer.Option("--steps-per-chunk", help=_about("steps_per_chunk"))]
ChunkSize = Annotated[int | None, typer.Option("--chunk-size", help=_about("chunk_size"))]
ContextSize = Annotated[int | None, typer.Option("--context", help=_about("context_size"))]
Shift = Annotated[float | None, typer.Option("--shift", help=_about("shift"))]
Guidance = Annotated[float | None, typer.Option("--guidance", help=_about("guidance_scale"))]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="DIR|HUB-ID", help="Another model than the embedded one."),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="The mp4 to write; named after the prompt if not given.")
]
Device = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1 …")]
DtypeName = Annotated[Dtype | None, typer.Option("--dtype", help="Precision of the network.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"longtake {__version__}")
        raise typer.Exit


# Parameters named like a field of FilmOptions reach it through `context.params`.


@app.command()
def generate(
    context: typer.Context,
    prompt: Prompt,
    seconds: Seconds = None,
    num_frames: Frames = None,
    seed: Seed = None,
    output: Output = None,
    model: Model = None,
    device: Device = "cpu",
    dtype: DtypeName = None,
    num_inference_steps: Steps = None,
    steps_per_chunk: StepsPerChunk = None,
    chunk_size: ChunkSize = None,
    context_size: ContextSize = None,
    shift: Shift = None,
    guidance_scale: Guidance = None,
    negative_prompt: Negative = None,
    size: Size = None,
    fps: Fps = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Film PROMPT and write it to an mp4, which grows while it is made.

    What is left out is the model's own choice; `longtake plan` shows it.
    """
    started = time.perf_counter()
    film = _options(context.params).resolved(read_spec(model))
    writer = _writer(output or Path(f"{_slug(prompt)}.mp4"), film, overwrite)
    try:
        speed = _shoot(film, writer, model, device, dtype)
    except KeyboardInterrupt:
        _say(f"stopped: {_what_is_left(writer)}")
        raise typer.Exit(INTERRUPTED) from None
    report = {
        "file": str(writer.path),
        "num_frames": writer.num_frames,
        "seconds": float(writer.num_frames / film.rate),
        "frames_per_second": round(speed.frames_per_second, 2),
        "seconds_to_first_frame": round(speed.first_frame - started, 2),
        "peak_memory_bytes": _peak_memory(),
        "options": film.metadata,
    }
    print(json.dumps(report, indent=2) if as_json else _one_line(report))


@app.command()
def plan(
    context: typer.Context,
    seconds: Seconds = None,
    num_frames: Frames = None,
    model: Model = None,
    num_inference_steps: Steps = None,
    steps_per_chunk: StepsPerChunk = None,
    chunk_size: ChunkSize = None,
    context_size: ContextSize = None,
    shift: Shift = None,
    guidance_scale: Guidance = None,
    size: Size = None,
    fps: Fps = None,
    as_json: Json = False,
) -> None:
    """Show what a film would cost, without loading any weights."""
    film = _options({**context.params, "prompt": "any"}).resolved(read_spec(model))
    from longtake.noise import sigma_table
    from longtake.plan import ladder_picture

    settings = film.settings
    sigmas = sigma_table(settings.num_inference_steps, settings.shift).tolist()
    if as_json:
        report = {"model": film.model, "settings": asdict(settings)}
        report |= {"plan": asdict(film.plan), "sigmas": sigmas}
        print(json.dumps(report, indent=2))
    else:
        ladder = ladder_picture(sigmas, settings.steps_per_chunk, settings.chunk_size, settings.context_size)
        print(f"{_cost(film)}\n\n{ladder}")


@app.command()
def models() -> None:
    """List models to film with."""
    for known in list_models():
        print(f"{known.name:<36} {known.about}{'' if known.on_disk else ' (not on this disk)'}")


@app.command()
def world(
    sheet: Annotated[Path, typer.Option("--sheet", metavar="PNG", help="The picture to write.")],
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other shots.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Draw a contact sheet of the tracking shots that the embedded model is trained on."""
    from longtake.video import check_output

    check_output(sheet, suffix=".png", overwrite=overwrite)
    with _needs_world():
        from longtake.worlds.tracking_shot import contact_sheet

        contact_sheet(sheet, seed)


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
    with _needs_world():
        from longtake.training.default import Recipe, train_default

        print(train_default(run, Recipe(steps=steps or Recipe.steps, device=device, bf16=bf16)))


@app.command()
def adherence(
    run: Annotated[
        Path, typer.Argument(help="Folder for the films' readings; a run that was stopped goes on.")
    ],
    model: Model = None,
    prompts: Annotated[
        int, typer.Option("--prompts", help="Attribute combinations unseen in training.")
    ] = 24,
    seeds: Annotated[int, typer.Option("--seeds", help="Films of each prompt.")] = 2,
    seconds: Annotated[int, typer.Option("--seconds", help="Length of each film.")] = 60,
) -> None:
    """Measure, second by second, whether tracking shots show what their prompts say."""
    with _needs_world():
        from longtake.evaluation.adherence import measure

        print(json.dumps(measure(run, model, prompts, seeds, seconds), indent=2))


@contextmanager
def _needs_world() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise LongTakeError(f"this needs {error.name}: pip install 'longtake[world]'") from error


def main() -> NoReturn:
    """Runs the command line and exits."""
    try:
        sys.exit(app(standalone_mode=False))
    except LongTakeError as error:
        _say(f"error: {error}")
    except typer.TyperException as error:
        _say(f"error: {error.format_message()}")
    sys.exit(BAD_INPUT)


def _options(parameters: dict[str, Any]) -> FilmOptions:
    given = {name: value for name, value in parameters.items() if name in FilmOptions.model_fields}
    if size := parameters["size"]:
        sides = re.fullmatch(r"(\d+)x(\d+)", size)
        if sides is None:
            raise OptionError(f"size is two numbers of pixels such as 832x480, not {size!r}")
        given["width"], given["height"] = map(int, sides.groups())
    return FilmOptions(**{name: value for name, value in given.items() if value is not None})


def _writer(path: Path, film: Film, overwrite: bool) -> "VideoWriter":
    from longtake.video import VideoWriter, check_output, film_bytes

    width, height = film.settings.width, film.settings.height
    check_output(path, overwrite=overwrite, num_bytes=film_bytes(width, height, film.length.num_frames))
    return VideoWriter(path, width, height, film.rate, film.metadata, overwrite=overwrite)


@dataclass(frozen=True)
class Speed:
    """When the first pictures were written (`time.perf_counter()`), and the frames a second over all of
    them."""

    first_frame: float
    frames_per_second: float


def _shoot(film: Film, writer: "VideoWriter", model: str | None, device: str, dtype: str | None) -> Speed:
    from longtake.pipeline import LongTake

    take = LongTake.from_pretrained(model, device, dtype)
    if unknown := take.model.unknown_words(film.prompt):
        _say(f"note: {film.model} does not know {', '.join(unknown)}")
    started, first_frame = time.perf_counter(), 0.0
    with closing(take.shoot(film)) as pictures, writer, _progress(film.length.num_frames) as advance:
        for portion in pictures:
            writer.write(portion)
            first_frame = first_frame or time.perf_counter()
            advance(len(portion))
    return Speed(first_frame, writer.num_frames / (time.perf_counter() - started))


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


def _what_is_left(writer: "VideoWriter") -> str:
    if writer.num_frames == 0:
        return "nothing was written"
    return f"{writer.num_frames} frames ({float(writer.num_frames / writer.fps):g} s) are in {writer.part}"


def _one_line(report: dict[str, Any]) -> str:
    return (
        f"{report['file']}: {report['seconds']:g} s, {report['num_frames']} frames,"
        f" {report['frames_per_second']:.1f} frames/s, peak memory {report['peak_memory_bytes'] / 1e6:.0f} MB"
    )


def _cost(film: Film) -> str:
    settings, cost, length = film.settings, film.plan, film.length
    rows = "one row" if settings.guidance_scale == 1 else "two rows, for guidance"
    return "\n".join(
        [
            f"{film.model}, {settings.width}x{settings.height} pixels, {settings.fps:g} frames/s",
            f"steps         {settings.num_inference_steps}, {settings.steps_per_chunk} for each chunk of"
            f" {settings.chunk_size}, shift {settings.shift:g}, guidance {settings.guidance_scale:g}",
            f"length        {float(length.num_frames / film.rate):g} s, {length.num_frames} frames,"
            f" {length.num_latent_frames} latents in {length.num_chunks} chunks",
            f"passes        {cost.passes}, of {rows}",
            f"window        at most {cost.peak_window} latents, {settings.context_size} of them context",
            f"work          {cost.latent_evaluations} latents through the network",
            f"first frames  {length.first_chunk_frames} after {cost.passes_until_first_chunk} passes",
        ]
    )


def _slug(prompt: str) -> str:
    words = "-".join(re.findall(r"\w+", prompt.lower()))
    return words[:SLUG_LENGTH].rstrip("-") or "film"


def _peak_memory() -> int:
    """The most bytes this process has held in main memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _say(line: str) -> None:
    print(line, file=sys.stderr)
