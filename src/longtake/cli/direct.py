"""The commands that go on from a film: resume, extend, branch, retake, finish."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtake.cli.common import Device, Json, Model, Overwrite, app, say
from longtake.cli.film import DtypeName, Lora, Size, say_notes, sides_of
from longtake.cli.parameters import given_of, takes
from longtake.cli.placing import PLACED_ANEW, placement_like, placement_of
from longtake.cli.shooting import KeepStates, Loading, PreviewTo, every_of, film_it
from longtake.cues import Cue, seconds_of
from longtake.errors import OptionError
from longtake.models.card.placement import Placement
from longtake.models.load import read_spec
from longtake.models.places import open_model
from longtake.options import FilmOptions, options_of
from longtake.said import said

if TYPE_CHECKING:
    from longtake.models.base import ModelSpec
    from longtake.states import About

Part = Annotated[Path, typer.Argument(help="The film, its .part or its .state.", show_default=False)]
Film = Annotated[Path, typer.Argument(help="A film whose states were kept.", show_default=False)]
Another = Annotated[str | None, typer.Argument(help="What to film from there on.", show_default=False)]
Draft = Annotated[Path, typer.Argument(help="A film, made by longtake or not.", show_default=False)]
SameDevice = Annotated[
    str | None, typer.Option("--device", help="Where to compute; where the film was made, if left out.")
]
Output = Annotated[Path, typer.Option("-o", "--output", help="The mp4 to write.", show_default=False)]

# The options of a film that its draft does not settle.
FINISHING = (
    *("negative_prompt", "num_inference_steps", "steps_per_chunk", "chunk_size", "context_size"),
    *("solver", "shift", "sigmas", "guidance_scale"),
)


@app.command()
@takes(Placement, PLACED_ANEW)
def resume(
    film: Part, preview: PreviewTo = None, device: SameDevice = None, as_json: Json = False, **given: Any
) -> None:
    """Go on with a film that was stopped or killed, to the same pictures."""
    started = time.perf_counter()
    from longtake.states import read_about, state_path
    from longtake.takes import Take

    path = film.with_suffix("") if film.suffix in (".part", ".state") else film
    loading, spec = _that_made(read_about(state_path(path)), device, placement_of(given))
    film_it(Take.resumed(path, spec), loading, started, as_json, preview)


@app.command()
def extend(
    film: Film,
    output: Output,
    prompt: Another = None,
    seconds: Annotated[str, typer.Option("--seconds", metavar="TIME", help="How much longer.")] = "30",
    keep_states: KeepStates = None,
    preview: PreviewTo = None,
    model: Model = None,
    context: Annotated[
        int | None, typer.Option("--context", help="Of a film without states: latents of it that are seen.")
    ] = None,
    device: SameDevice = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a film longer: what it would be if it had been as long from the start.

    Of a film without states, anybody's, a film by MODEL begins with the last pictures and stands behind it.
    """
    started = time.perf_counter()
    from longtake.retakes import ALWAYS, continued, extended, kept_states
    from longtake.states import states_folder

    if film.is_file() and not states_folder(film).is_dir():
        if keep_states:
            raise OptionError("a film that is put together of two has no states: leave out --keep-states")
        loading = Loading(open_model(model), device or "cpu", None, None)
        spec, more = read_spec(loading.folder), seconds_of(seconds) or 0
        take = continued(film, output, spec, more, prompt, context, overwrite=overwrite)
        film_it(take, loading, started, as_json, preview)
        say(f"note: {take.notes[-1]}")
        return
    if model or context is not None:
        raise OptionError("a film with states goes on as it was made: leave out --model and --context")
    loading, spec = _that_made(kept_states(film)[-1][1], device)
    take = extended(
        film,
        output,
        spec,
        seconds_of(seconds) or 0,
        prompt,
        overwrite=overwrite,
        keep_every=every_of(keep_states) or ALWAYS,
    )
    film_it(take, loading, started, as_json, preview)


@app.command()
def branch(
    film: Film,
    output: Output,
    prompt: Another = None,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="Where it branches off.")] = "",
    seed: Annotated[int | None, typer.Option("--seed", help="Another seed from there on.")] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Another guidance from there on.")
    ] = None,
    keep_states: KeepStates = None,
    preview: PreviewTo = None,
    device: SameDevice = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Film another end of a film: the same pictures until a second, and others from there on."""
    started = time.perf_counter()
    from longtake.retakes import ALWAYS, branched, kept_states

    if not at:
        raise OptionError("say where it branches off: give --at, such as --at 23s")
    changes = Cue(at=at, prompt=prompt, seed=seed, guidance_scale=guidance)
    loading, spec = _that_made(kept_states(film)[-1][1], device)
    take = branched(
        film,
        output,
        spec,
        changes,
        overwrite=overwrite,
        keep_every=every_of(keep_states) or ALWAYS,
    )
    film_it(take, loading, started, as_json, preview)


@app.command()
@takes(FilmOptions, FINISHING)
@takes(Placement)
def finish(
    draft: Draft,
    output: Output,
    scale: Annotated[float, typer.Option("--scale", min=0.01, help="How much larger.")] = 2.0,
    size: Size = None,
    strength: Annotated[
        float,
        typer.Option(
            "--strength", help="The noise level that the draft is noised to, 0 to 1: more keeps less of it."
        ),
    ] = 0.45,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="What it shows; a film of longtake says so itself.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Another seed is another film; the draft's if not given.")
    ] = None,
    model: Model = None,
    lora: Lora = None,
    device: Device = "cpu",
    dtype: DtypeName = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Make a film larger: scale its pictures, noise them in part and denoise them again, of any length."""
    started = time.perf_counter()
    from longtake.retakes import finished
    from longtake.video import probe

    told, placed = said(probe(draft).metadata, draft), placement_of(given)
    folder = open_model(told.get("model") if model is None else model)
    options = given_of(given | {"prompt": prompt, "seed": seed}) | sides_of(size)
    spec = read_spec(folder, lora, placed)
    take = finished(draft, output, spec, strength, scale, overwrite=overwrite, **options)
    say_notes(take.film)
    film_it(take, Loading(folder, device, dtype, lora, placement=placed), started, as_json)


@app.command()
def retake(
    film: Film,
    output: Output,
    prompt: Another = None,
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help="Where the section begins.")] = "",
    to: Annotated[
        str, typer.Option("--to", metavar="TIME", help="Where it ends; the whole chunk is made.")
    ] = "",
    seed: Annotated[int | None, typer.Option("--seed", help="Its seed; the next one if left out.")] = None,
    preview: PreviewTo = None,
    device: SameDevice = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Film a section of a film anew, between the pictures before and behind it, and say how much it jumps there."""
    started = time.perf_counter()
    from longtake.retakes import kept_states, retaken

    if not begin or not to:
        raise OptionError("say what is filmed anew: give --from and --to, such as --from 23s --to 31s")
    about = kept_states(film)[-1][1]
    changes = Cue(at=begin, prompt=prompt, seed=options_of(about.film).seed + 1 if seed is None else seed)
    loading, spec = _that_made(about, device)
    take = retaken(film, output, spec, changes, seconds_of(to) or 0, overwrite=overwrite)
    say_notes(take.film)
    film_it(take, loading, started, as_json, preview)


def _that_made(
    about: "About", device: str | None, asked: Placement | None = None
) -> tuple[Loading, "ModelSpec"]:
    """The model that a state was made with, how it is loaded, and its description. device: None is the state's.
    asked: how it is put there, where that is not as it was."""
    folder, made = open_model(about.model), about.made
    where = device or made.device or "cpu"
    placed = placement_like(about.film, made, asked)
    loading = Loading(folder, where, made.dtype, about.lora, made, placed)
    return loading, read_spec(folder, about.lora, placed)
