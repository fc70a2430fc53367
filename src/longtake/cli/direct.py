"""The commands that go on from a film: resume, extend, branch; and what a film says of itself, info."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtake.cli.common import Device, Json, Overwrite, app
from longtake.cli.shooting import KeepStates, Loading, PreviewTo, film_it
from longtake.cues import Cue, seconds_of
from longtake.errors import OptionError
from longtake.files import printable
from longtake.models.load import read_spec
from longtake.models.places import open_model

if TYPE_CHECKING:
    from longtake.states import About

Part = Annotated[Path, typer.Argument(help="The film, its .part or its .state.", show_default=False)]
Film = Annotated[Path, typer.Argument(help="A film whose states were kept.", show_default=False)]
Another = Annotated[str | None, typer.Argument(help="What to film from there on.", show_default=False)]
Output = Annotated[Path, typer.Option("-o", "--output", help="The mp4 to write.", show_default=False)]


@app.command()
def resume(film: Part, preview: PreviewTo = None, device: Device = "cpu", as_json: Json = False) -> None:
    """Go on with a film that was stopped or killed, to the same pictures."""
    started = time.perf_counter()
    from longtake.states import read_about, state_path
    from longtake.takes import Take

    path = film.with_suffix("") if film.suffix in (".part", ".state") else film
    about = read_about(state_path(path))
    loading = _loading(about, device)
    film_it(Take.resumed(path, read_spec(loading.folder, about.lora)), loading, started, as_json, preview)


@app.command()
def extend(
    film: Film,
    output: Output,
    prompt: Another = None,
    seconds: Annotated[str, typer.Option("--seconds", metavar="TIME", help="How much longer.")] = "30",
    keep_states: KeepStates = None,
    preview: PreviewTo = None,
    device: Device = "cpu",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a film longer: what it would be if it had been as long from the start."""
    started = time.perf_counter()
    from longtake.retakes import ALWAYS, extended, kept_states

    about = kept_states(film)[-1][1]
    loading = _loading(about, device)
    take = extended(
        film,
        output,
        read_spec(loading.folder, about.lora),
        seconds_of(seconds) or 0,
        prompt,
        overwrite=overwrite,
        keep_every=seconds_of(keep_states) or ALWAYS,
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
    device: Device = "cpu",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Film another end of a film: the same pictures until a second, and others from there on."""
    started = time.perf_counter()
    from longtake.retakes import ALWAYS, branched, kept_states

    if not at:
        raise OptionError("say where it branches off: give --at, such as --at 23s")
    changes = Cue(at=at, prompt=prompt, seed=seed, guidance_scale=guidance)
    about = kept_states(film)[-1][1]
    loading = _loading(about, device)
    take = branched(
        film,
        output,
        read_spec(loading.folder, about.lora),
        changes,
        overwrite=overwrite,
        keep_every=seconds_of(keep_states) or ALWAYS,
    )
    film_it(take, loading, started, as_json, preview)


@app.command()
def info(
    film: Annotated[Path, typer.Argument(help="A film.", show_default=False)], as_json: Json = False
) -> None:
    """Show what a film says of itself: everything that it follows from."""
    from longtake.video import probe

    found = probe(film)
    told: dict[str, Any] = {
        "file": printable(film),
        "num_frames": found.num_frames,
        "seconds": float(found.seconds),
        "fps": str(found.fps),
        "width": found.width,
        "height": found.height,
        **found.metadata,
    }
    if as_json:
        print(json.dumps(told, indent=2))
        return
    for name, value in told.items():
        print(f"{name.replace('_', ' '):<20} {value if isinstance(value, str) else json.dumps(value)}")


def _loading(about: "About", device: str) -> Loading:
    return Loading(open_model(about.model), device, about.dtype, about.lora)
