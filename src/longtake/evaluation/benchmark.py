"""The paper's benchmark as its authors released it: a prompt and the film that begins it, a line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from longtake.errors import OptionError
from longtake.evaluation.prompts import read_text
from longtake.names import leads_out
from longtake.prompts import flaw

BETWEEN = "||"


@dataclass(frozen=True)
class Item:
    """A prompt, and the film that its film begins with, a path inside the folder that the user points to."""

    prompt: str
    video: PurePosixPath


def read_benchmark(path: Path) -> list[Item]:
    """The items of a benchmark's file; OptionError as of parse_benchmark, LongTakeError for one that
    cannot be read."""
    return parse_benchmark(read_text(path))


def parse_benchmark(text: str) -> list[Item]:
    """The items of a benchmark, lines of `prompt||video`. Blank lines are passed over.

    What comes behind the last || is the video, so a prompt may hold any marks. OptionError, which names the line, for
    one that is no such pair, a path that leads out of the folder, an item that comes twice, and a text without any.
    """
    items: dict[Item, int] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not line.strip():
            continue
        prompt, between, video = (part.strip() for part in line.rpartition(BETWEEN))
        if not (prompt and between and video):
            raise OptionError(f"line {number} is not PROMPT{BETWEEN}VIDEO: {line.strip()[:60]!r}")
        if words := flaw(line):
            raise OptionError(f"line {number} {words}")
        if leads_out(video):
            raise OptionError(f"line {number}: the video must be a path inside its folder, not {video!r}")
        item = Item(prompt, PurePosixPath(video))
        if item in items:
            raise OptionError(f"line {number} repeats line {items[item]}: keep one of them")
        items[item] = number
    if not items:
        raise OptionError(f"there is no line PROMPT{BETWEEN}VIDEO")
    return list(items)
