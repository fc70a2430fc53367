"""The command that shows what a film says of itself: what it follows from, was made with and grew out of."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtake.cli.common import Json, app
from longtake.files import printable
from longtake.frames import number
from longtake.provenance import WORDS, Made, followed, loras_in, made_in

if TYPE_CHECKING:
    from longtake.video import VideoInfo

# The files that a film grew out of, by their keys.
ORIGINS = {
    "start": "begins with",
    "end": "ends with",
    "parent": "goes on from",
    "continues": "stands behind",
    "draft": "finished from",
}
CUES, RETAKE, LORAS = "cues", "retake", ("lora", "loras")
IN_HEAD = ("num_frames", "fps", "width", "height")  # of the file itself
Row = tuple[str, str]


@app.command()
def info(
    film: Annotated[Path, typer.Argument(help="A film.", show_default=False)], as_json: Json = False
) -> None:
    """Show what a film says of itself: all that it follows from, and what it was made with."""
    from longtake.video import probe

    found = probe(film)
    if as_json:
        print(json.dumps({**_of_file(film, found), **found.metadata}, indent=2))
        return
    sections = {
        "": [
            ("file", printable(film)),
            ("length", _length(found)),
            ("size", f"{found.width}x{found.height}"),
        ],
        "follows from": list(_follows_from(followed(found.metadata))),
        "made with": list(_made_with(made_in(found.metadata))),
        "grew out of": list(_grew_out_of(found.metadata)),
    }
    print("\n\n".join(_section(title, rows) for title, rows in sections.items() if rows))


def _of_file(film: Path, found: "VideoInfo") -> dict[str, Any]:
    return {
        "file": printable(film),
        "num_frames": found.num_frames,
        "seconds": float(found.seconds),
        "fps": str(found.fps),
        "width": found.width,
        "height": found.height,
    }


def _length(found: "VideoInfo") -> str:
    return f"{number(found.seconds)} s, {found.num_frames} frames at {number(found.fps)} fps"


def _follows_from(told: Mapping[str, Any]) -> Iterator[Row]:
    """Prompt and timeline, then every other option."""
    apart = {"prompt", CUES, RETAKE, *LORAS, *ORIGINS, *IN_HEAD}
    if "prompt" in told:
        yield "prompt", _text(told["prompt"])
    for cue in _items(told.get(CUES)):
        yield f"at {_number(cue.get('at'))} s", "; ".join(_cue(cue))
    if isinstance(section := told.get(RETAKE), dict):
        yield "filmed anew", f"frames {_text(section.get('from'))} to {_text(section.get('to'))}"
    for name, value in told.items():
        if name not in apart:
            yield name.replace("_", " "), _text(value)
    for lora in loras_in(told):
        yield "LoRA", f"{_file(lora)}, {_number(lora.get('weight'))} times"


def _cue(cue: Mapping[str, Any]) -> Iterator[str]:
    if "prompt" in cue:
        yield _text(cue["prompt"])
    for name in sorted(cue.keys() - {"at", "prompt"}):
        yield f"{name.replace('_', ' ')} {_text(cue[name])}"


def _made_with(made: Made) -> Iterator[Row]:
    for name, word in WORDS.items():
        if (value := getattr(made, name)) is not None:
            yield word.removeprefix("the "), _text(value)
    for name, value in made.earlier.items():
        yield "earlier", f"{WORDS.get(name, name)} was {_text(value)}"
    if made.wall_seconds is not None:
        yield "filming took", f"{number(made.wall_seconds)} s"
    if made == Made():
        yield "", "not said, as films by an older longtake and by others do not"


def _grew_out_of(told: Mapping[str, Any]) -> Iterator[Row]:
    for key, word in ORIGINS.items():
        if key in told:
            yield word, _file(told[key])


def _file(told: Any) -> str:
    """A file by its name and hash."""
    if not isinstance(told, dict):
        return _text(told)
    return f"{_text(told.get('name'))}, sha256 {_text(told.get('sha256'))}"


def _items(told: Any) -> list[dict[str, Any]]:
    return [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []


def _number(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else _text(value)


def _text(value: Any) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value))


def _section(title: str, rows: list[Row]) -> str:
    lines = [f"  {printable(name):<22} {value}".rstrip() for name, value in rows]
    return "\n".join([title, *lines] if title else [line.removeprefix("  ") for line in lines])
