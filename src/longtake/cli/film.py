"""The command that films, and how its options become a film."""

import re
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from longtake.cli.common import Command, Device, Json, Model, Overwrite, app, quick_imports, say
from longtake.cli.parameters import given_of, takes
from longtake.cli.placing import placement_like, placement_of
from longtake.cli.shooting import KeepStates, Loading, PreviewTo, every_of, film_it
from longtake.cues import Cue, read_script
from longtake.errors import OptionError
from longtake.files import printable
from longtake.given import Given
from longtake.models.card.placement import Placement
from longtake.models.folder import ModelFolder
from longtake.models.load import read_spec
from longtake.models.places import open_model
from longtake.models.records import PresetName
from longtake.options import FilmOptions, FilmPlan, options_of
from longtake.presets import ABOUT, added_to, preset_model, preset_options
from longtake.prompts import slug
from longtake.provenance import loras_in, made_in
from longtake.said import said

TEXT = "text"  # in place of a clip: begin with text alone


class FitMode(StrEnum):
    crop = "crop"
    pad = "pad"
    scale = "scale"


class Dtype(StrEnum):
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


Prompt = Annotated[
    str | None, typer.Argument(help="What to film; a script may say it too.", show_default=False)
]
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Size of the picture in pixels.")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="The mp4 to write; named after the prompt if not given.")
]
Part = Annotated[Path, typer.Argument(help="The film, its .part or its .state.", show_default=False)]
Script = Annotated[
    Path | None,
    typer.Option(
        "--script",
        metavar="YAML",
        help="Options of the film and its cues in a file; those that are given here hold before it.",
    ),
]
Like = Annotated[
    Path | None,
    typer.Option("--like", metavar="FILM", help="Film once more what a film of longtake says of itself."),
]
At = Annotated[
    list[str] | None,
    typer.Option(
        "--at",
        metavar="TIME PROMPT",
        help='Another prompt from a second on, such as --at 20s "a red car at sunset"; may be given again.',
    ),
]
Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="RUN|DIR|FILE[=WEIGHT]",
        help="A LoRA to add to the model, as train makes it or in diffusers', ComfyUI's, kohya's or"
        " diffusion-pipe's spelling; =0.8 behind it makes it count so often. May be given again.",
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
        metavar="CLIP|PHOTO|text",
        help="A video (mp4, mov, mkv or webm) whose first frames the film begins with: as many as its context holds,"
        " plan says how many. Or a photo (png, jpg, webp, …), held still for a latent. Presets need one, or text, to"
        " begin with none.",
    ),
]
End = Annotated[
    Path | None,
    typer.Option(
        "--end",
        metavar="CLIP|PHOTO",
        help="A video whose first frames the film runs into and ends with, as many as its window sees; or a photo.",
    ),
]
FitStart = Annotated[
    bool, typer.Option("--fit-start", help="Fit a clip of another size or rate: scale, crop and resample it.")
]
FitName = Annotated[
    FitMode | None,
    typer.Option(
        "--fit",
        help="What becomes of a clip or photo of another size: cropped to its middle, padded with black or stretched."
        " A clip of another rate is resampled then. Photos are cropped if it is not given.",
    ),
]
DtypeName = Annotated[Dtype | None, typer.Option("--dtype", help="Precision of the network.")]


# Options that take the place of others, which a script or a film may say.
RIVALS = {
    "sigmas": ("num_inference_steps", "shift"),
    "num_inference_steps": ("sigmas",),
    "shift": ("sigmas",),
}
FIELDS = [name for name in FilmOptions.model_fields if name not in ("prompt", "width", "height", "cues")]


class WithCues(Command):
    """A command whose --at takes two words: typer has no option of two that may be given again."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join each time with the prompt behind it."""
        joined, words = [], iter(args)
        for word in words:
            joined.append(word)
            if word == "--at" and (time := next(words, None)) is not None:
                joined.append(time if " " in time else " ".join([time, *islice(words, 1)]))
        return super().parse_args(ctx, joined)


@app.command(cls=WithCues)
@takes(FilmOptions, FIELDS)
@takes(Placement)
def generate(
    prompt: Prompt = None,
    output: Output = None,
    script: Script = None,
    at: At = None,
    like: Like = None,
    start: Start = None,
    end: End = None,
    fit: FitName = None,
    fit_start: FitStart = False,
    model: Model = None,
    preset: Preset = None,
    bfloat16_shift: Bfloat16Shift = False,
    lora: Lora = None,
    device: Device = "cpu",
    dtype: DtypeName = None,
    size: Size = None,
    keep_states: KeepStates = None,
    preview: PreviewTo = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Film PROMPT and write it to an mp4, which grows while it is made.

    What is left out is the model's own choice; `longtake plan` shows it.
    """
    started, asked = time.perf_counter(), placement_of(given)
    told = {} if like is None else _told(like, start, end, lora)
    placed = placement_like(told, made_in(told), asked)
    options = film_options(prompt, size, preset, bfloat16_shift, script, at, told, **given)
    folder = open_model(model_of(told.get("model") if model is None else model, preset))
    film = film_of(options, folder, preset, lora, start, end, placed)
    if preset and start is None:
        raise OptionError(f"preset {preset} begins with a clip: give --start CLIP, or --start text for none")
    with quick_imports():
        from longtake.takes import Take

    path = output or Path(f"{slug(options.prompt)}.mp4")
    clip = None if start == TEXT else start
    take = Take(
        film,
        path,
        start=clip,
        end=end,
        fit=fit.value if fit else "crop" if fit_start else None,
        overwrite=overwrite,
        keep_every=every_of(keep_states),
    )
    if preset and (added := added_to(prompt or "")):
        say(f'note: preset {preset} adds "{added}" to the prompt')
    say_notes(film, take.notes)
    before = None if like is None else made_in(told)
    film_it(take, Loading(folder, device, dtype, lora, before, placed), started, as_json, preview)


def film_options(
    prompt: str | None,
    size: str | None = None,
    preset: PresetName | None = None,
    bfloat16_shift: bool = False,
    script: Path | None = None,
    at: list[str] | None = None,
    like: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> FilmOptions:
    """The options of a film, of those of a command; they hold before those of its script, and these before what a film
    like it says of itself."""
    given = options_of(like).model_dump(exclude_unset=True) if like else {}
    given |= {} if script is None else read_script(script, list(FilmOptions.model_fields))
    if keywords.get("seconds") is not None or "seconds" in given:
        given.pop("num_frames", None)
    for name in given_of(keywords):
        given = {key: value for key, value in given.items() if key not in RIVALS.get(name, ())}
    given |= given_of(keywords) | ({} if prompt is None else {"prompt": prompt})
    if at:
        said = (each.partition(" ") for each in at)
        given["cues"] = (*given.get("cues", ()), *(Cue(at=time, prompt=text) for time, _, text in said))
    if "prompt" not in given:
        raise OptionError("say what to film: give a prompt, or a --script that has one")
    given |= sides_of(size)
    if preset:
        given = preset_options(preset, given, bfloat16_shift)
    elif bfloat16_shift:
        raise OptionError("--bfloat16-shift needs a preset; without one give --shift")
    return FilmOptions(**given)


def sides_of(size: str | None) -> dict[str, int]:
    """Width and height in pixels of what is written as 832x480, if it is given. OptionError for anything else."""
    if not size:
        return {}
    if (sides := re.fullmatch(r"(\d+)x(\d+)", size)) is None:
        raise OptionError(f"size is two numbers of pixels such as 832x480, not {size!r}")
    return {"width": int(sides[1]), "height": int(sides[2])}


def _told(film: Path, start: str | None, end: Path | None, lora: list[str] | None) -> dict[str, Any]:
    """What a film says of itself. OptionError for one that is not ours, or was made with a clip or a LoRA that is not
    given."""
    from longtake.video import probe

    told = said(probe(film).metadata, film)
    if "prompt" not in told:
        raise OptionError(f"{printable(film)} does not say how it was made: only films of longtake do")
    if "draft" in told:
        raise OptionError(
            f"{printable(film)} was finished from a draft, {told['draft']['name']}: give that to longtake finish"
        )
    if "retake" in told or "continues" in told:
        raise OptionError(f"{printable(film)} is put together of two films, and not filmed in one go")
    for side, given in (("start", start), ("end", end)):
        if side in told and given is None:
            raise OptionError(f"{printable(film)} {side}s with {told[side]['name']}: give it with --{side}")
    if (made_with := loras_in(told)) and not lora:
        names = " and ".join(printable(str(each.get("name"))) for each in made_with)
        raise OptionError(f"{printable(film)} was made with LoRA {names}: give it with --lora")
    return told


def say_notes(film: FilmPlan, more: Sequence[str] = ()) -> None:
    """Tell what about a film is not quite as it was asked for."""
    for note in (*film.notes, *more):
        say(f"note: {note}")


def film_of(
    options: FilmOptions,
    model: ModelFolder,
    preset: PresetName | None,
    lora: list[str] | None,
    start: str | None,
    end: Path | None,
    placed: Placement | None = None,
) -> FilmPlan:
    """The film that a command asks for. One by a preset begins with a clip unless it is to begin with text."""
    from_clip = start != TEXT and bool(start or preset)
    from longtake.start import is_photo

    photo = from_clip and start is not None and is_photo(start)
    kind: Given | None = None if end is None else "photo" if is_photo(end) else "clip"
    return options.resolved(read_spec(model, lora, placed), from_clip, photo=photo, end=kind)


def model_of(given: str | None, preset: PresetName | None) -> str | None:
    """The model to film with: the one given, or the preset's."""
    return preset_model(preset) if preset and given is None else given
