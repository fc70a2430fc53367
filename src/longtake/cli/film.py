"""The commands that film: generate, plan, models."""

import json
import os
import re
import resource
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

from longtake.cli.common import INTERRUPTED, Device, Json, Model, Overwrite, app, quick_imports, say
from longtake.cli.cost import cost_in_words, ladder_picture
from longtake.cli.parameters import given_of, takes
from longtake.errors import OptionError
from longtake.files import printable
from longtake.frames import number
from longtake.models.families import PresetName
from longtake.models.folder import ModelFolder
from longtake.models.load import read_spec
from longtake.models.places import list_models, open_model
from longtake.options import FilmOptions, FilmPlan
from longtake.presets import ABOUT, added_to, preset_model, preset_options
from longtake.prompts import decoded

if TYPE_CHECKING:
    from longtake.takes import Speed, Take

SLUG_LENGTH, SLUG_BYTES = 60, 120
TEXT = "text"  # in place of a clip: begin with text alone


class Dtype(StrEnum):
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


Prompt = Annotated[
    str, typer.Argument(help=FilmOptions.model_fields["prompt"].description, show_default=False)
]
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Size of the picture in pixels.")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="The mp4 to write; named after the prompt if not given.")
]
Lora = Annotated[
    str | None,
    typer.Option(
        "--lora",
        metavar="RUN|DIR|FILE",
        help="A LoRA to add to the model, as train makes it or in diffusers', ComfyUI's, kohya's or"
        " diffusion-pipe's spelling.",
    ),
]
Preset = Annotated[
    PresetName | None,
    typer.Option(
        "--preset",
        help="Film as the paper did with Open-Sora v1.2; other options hold before its own. "
        + ". ".join(f"{name}: {about}" for name, about in ABOUT.items()),
    ),
]
Bfloat16Shift = Annotated[
    bool,
    typer.Option("--bfloat16-shift", help="With a preset: the shift as the released script rounds it."),
]
Start = Annotated[
    str | None,
    typer.Option(
        "--start",
        metavar="CLIP|text",
        help="A video (mp4, mov, mkv or webm; no photo) whose first frames the film begins with: as many as its"
        " context holds, plan says how many. Presets need one, or text, to begin with none.",
    ),
]
Fit = Annotated[
    bool,
    typer.Option("--fit-start", help="Scale, crop and resample a clip of another size or frame rate."),
]
DtypeName = Annotated[Dtype | None, typer.Option("--dtype", help="Precision of the network.")]


FIELDS = [name for name in FilmOptions.model_fields if name not in ("prompt", "width", "height")]


@app.command()
@takes(FilmOptions, FIELDS)
def generate(
    prompt: Prompt,
    output: Output = None,
    start: Start = None,
    fit_start: Fit = False,
    model: Model = None,
    preset: Preset = None,
    bfloat16_shift: Bfloat16Shift = False,
    lora: Lora = None,
    device: Device = "cpu",
    dtype: DtypeName = None,
    size: Size = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Film PROMPT and write it to an mp4, which grows while it is made.

    What is left out is the model's own choice; `longtake plan` shows it.
    """
    started = time.perf_counter()
    options = film_options(prompt, size, preset, bfloat16_shift, **given)
    folder = open_model(_model(model, preset))
    film = _film(options, folder, preset, lora, start)
    if preset and start is None:
        raise OptionError(f"preset {preset} begins with a clip: give --start CLIP, or --start text for none")
    from longtake.takes import Take

    path = output or Path(f"{_slug(decoded(prompt))}.mp4")
    take = Take(film, path, start=None if start == TEXT else start, fit=fit_start, overwrite=overwrite)
    if preset and (added := added_to(prompt)):
        say(f'note: preset {preset} adds "{added}" to the prompt')
    say_notes(film)
    try:
        speed = _shoot(take, folder, device, dtype, lora)
    except KeyboardInterrupt:
        say(f"stopped: {take.left}")
        raise typer.Exit(INTERRUPTED) from None
    report = {
        "file": printable(take.path),
        "num_frames": take.num_frames,
        "seconds": float(take.num_frames / film.rate),
        "frames_per_second": round(speed.frames_per_second, 2),
        "seconds_to_first_frame": round(speed.first_frame - started, 2),
        "peak_memory_bytes": _peak_memory(),
        "options": take.metadata,
    }
    print(json.dumps(report, indent=2) if as_json else _one_line(report))


@app.command()
@takes(FilmOptions, [name for name in FIELDS if name not in ("seed", "negative_prompt")])
def plan(
    start: Start = None,
    model: Model = None,
    preset: Preset = None,
    bfloat16_shift: Bfloat16Shift = False,
    lora: Lora = None,
    size: Size = None,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Show what a film would cost, without loading any weights."""
    film = _film(
        film_options("any", size, preset, bfloat16_shift, **given),
        open_model(_model(model, preset)),
        preset,
        lora,
        start,
    )
    with quick_imports():
        from longtake.noise import sigma_table

    if preset:
        say(f'note: preset {preset} adds "{added_to("any")}" to a prompt that names no score')
    say_notes(film)
    settings = film.settings
    sigmas = sigma_table(settings.num_inference_steps, settings.shift).tolist()
    if as_json:
        report = {"model": film.model, "settings": asdict(settings)}
        report |= {"plan": asdict(film.cost), "sigmas": sigmas}
        print(json.dumps(report, indent=2))
    else:
        print(f"{cost_in_words(film)}\n\n{ladder_picture(sigmas, film.cost.sampling)}")


@app.command()
def models() -> None:
    """List models to film with."""
    for known in list_models():
        print(f"{known.name:<36} {known.about}{'' if known.on_disk else ' (not on this disk)'}")


def film_options(
    prompt: str,
    size: str | None = None,
    preset: PresetName | None = None,
    bfloat16_shift: bool = False,
    **keywords: Any,
) -> FilmOptions:
    """The options of a film, of those of a command."""
    given = {"prompt": prompt, **given_of(keywords)}
    if size:
        sides = re.fullmatch(r"(\d+)x(\d+)", size)
        if sides is None:
            raise OptionError(f"size is two numbers of pixels such as 832x480, not {size!r}")
        given["width"], given["height"] = map(int, sides.groups())
    if preset:
        given = preset_options(preset, given, bfloat16_shift)
    elif bfloat16_shift:
        raise OptionError("--bfloat16-shift needs a preset; without one give --shift")
    return FilmOptions(**given)


def say_notes(film: FilmPlan) -> None:
    """Tell what about a film is not quite as it was asked for."""
    for note in film.notes:
        say(f"note: {note}")


def _film(
    options: FilmOptions,
    model: ModelFolder,
    preset: PresetName | None,
    lora: str | None,
    start: str | None,
) -> FilmPlan:
    """The film that a command asks for. One by a preset begins with a clip unless it is to begin with text."""
    from_clip = start != TEXT and bool(start or preset)
    return options.resolved(read_spec(model, lora), from_clip)


def _model(given: str | None, preset: PresetName | None) -> str | None:
    """The model to film with: the one given, or the preset's."""
    return preset_model(preset) if preset and given is None else given


def _shoot(take: "Take", folder: ModelFolder, device: str, dtype: str | None, lora: str | None) -> "Speed":
    with quick_imports():
        from longtake.models.parts import import_code
        from longtake.pipeline import LongTake

        import_code(folder)
    film, model = take.film, LongTake.from_pretrained(folder, device, dtype, lora)
    for text in filter(None, (film.prompt, film.negative_prompt)):
        if (read := model.model.clean(text)) != " ".join(text.split()):
            say(f'note: {film.model} reads the prompt as "{read}"')
    if unknown := model.model.unknown_words(film.prompt):
        say(f"note: {film.model} does not know {', '.join(unknown)}")
    with _progress(film.length.num_frames) as advance:
        return take.shoot(model, advance)


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


def _slug(prompt: str) -> str:
    """A name of the words of a prompt, of any script, with room behind them: a file name has 255 bytes at most."""
    text = unicodedata.normalize("NFC", prompt.lower())
    letters = (c if c == "_" or unicodedata.category(c)[0] in "LNM" else " " for c in text)
    words = "-".join(word for word in "".join(letters).split() if unicodedata.category(word[0])[0] != "M")
    name = words[:SLUG_LENGTH].encode()[:SLUG_BYTES].decode(errors="ignore").rstrip("-") or "film"
    return os.fsdecode(name.encode())  # for locales that have no such letters


def _peak_memory() -> int:
    """The most bytes this process has held in main memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
