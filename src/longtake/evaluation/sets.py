"""Which video files are measured, and what each is compared as.

A file is a row of its own, a folder of files a row together: a set, which has intervals.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.errors import LongTakeError
from longtake.evaluation.variants import REAL
from longtake.files import printable
from longtake.names import grouped, is_hidden
from longtake.video import probe

# What is taken for film in a folder; a file that is named is opened whatever it is called.
SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".flv", ".ogv"),
    *(".wmv", ".3gp", ".gif", ".y4m", ".part"),
}


@dataclass(frozen=True)
class Clip:
    """A file to measure: what it is compared as, its prompt if known, and its name, unlike any other's."""

    path: Path
    row: str
    name: str
    prompt: str | None = None


def find_clips(
    paths: Sequence[Path], real: Path | None = None, prompts: Sequence[str] | None = None
) -> tuple[list[Clip], list[str]]:
    """The films of files and of folders, and those of a folder of `real` ones; and, in words, what is passed over.

    prompts: of the films other than real ones, in their order. LongTakeError for no films, the same one twice, or
    another number of prompts."""
    notes = list[str]()
    sets = [(path, _videos(path, notes) if os.path.isdir(path) else [_file(path)]) for path in paths]
    found = [path for _, videos in sets for path in videos]
    if prompts is not None and len(prompts) != len(found):
        raise LongTakeError(
            f"{len(prompts)} prompts for {len(found)} films: write one a line, in the films' order"
        )
    if real is not None:
        sets.append((real, _videos(real, notes)))
        found += sets[-1][1]
    seen = set[str]()
    for path in found:
        place = os.path.realpath(path)
        if place in seen:
            raise LongTakeError(f"{path} is given twice")
        seen.add(place)
    names, rows = _told_apart(found), _told_apart([path for path, _ in sets])
    waiting = iter(prompts or [])
    clips = [
        Clip(path, REAL if folder is real else rows[folder], names[path], next(waiting, None))
        for folder, videos in sets
        for path in videos
    ]
    return clips, notes


def check_sizes(clips: Sequence[Clip]) -> None:
    """What is taken together must have one size; a file that cannot be read is told of when its turn comes."""
    seen: dict[str, tuple[Path, str]] = {}
    for clip in clips:
        try:
            info = probe(clip.path)
        except LongTakeError:
            continue
        size = f"{info.width}x{info.height}"
        first, other = seen.setdefault(clip.row, (clip.path, size))
        if size != other:
            raise LongTakeError(f"the films of a set have one size: {first} has {other}, {clip.path} {size}")
    if REAL in seen:
        for first, size in seen.values():
            if size != seen[REAL][1]:
                raise LongTakeError(
                    f"real film has the size of the others: {first} has {size}, {seen[REAL][0]} not"
                )


def _file(path: Path) -> Path:
    """LongTakeError for what is there and no file: a pipe would be waited for, and can be read only once."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise LongTakeError(f"{path} is a pipe, a socket or a device: give a file")
    return path


def _videos(folder: Path, notes: list[str]) -> list[Path]:
    """The films in a folder, by name."""
    try:
        there = sorted(folder.iterdir())
    except OSError as error:
        raise LongTakeError(f"cannot read the folder {folder}: {error.strerror}") from error
    inside = [path for path in there if not is_hidden(path.name)]
    videos = [path for path in inside if os.path.isfile(path) and path.suffix.lower() in SUFFIXES]
    if others := [path.name for path in inside if path not in videos]:
        notes.append(f"passed over in {folder}, not video files by their names: {', '.join(others)}")
    if hidden := len(there) - len(inside):
        notes.append(f"passed over in {folder}, hidden: {hidden} files or folders")
    for same in grouped(path.name for path in videos).values():
        if len(same) > 1:
            notes.append(f"{folder} holds {' and '.join(same)}, names that look the same: each is a film")
    if not videos:
        raise LongTakeError(f"{folder} holds no video files: give a folder that does")
    return videos


def _told_apart(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for each path: as many of its last parts as tell it from the others."""
    parts = {path: Path(printable(os.path.realpath(path))).parts for path in paths}
    taken = [*parts.values(), (REAL,)]
    names = {}
    for path, own in parts.items():
        count = next(
            n
            for n in range(1, len(own) + 1)
            if sum(other[-n:] == own[-n:] for other in taken) == 1 or n == len(own)
        )
        names[path] = "/".join(own[-count:])
    return names
