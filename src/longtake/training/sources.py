"""Captioned film in a folder: which clips there are, and what each one shows. Decodes nothing.

Three layouts: WebDataset shards (`*.tar`), one table (`metadata.jsonl` or `metadata.csv`, as for video folders of
`datasets`), or video files with their captions in text files beside them. names.py says which names are the same. A
clip that cannot be used is skipped with a reason; a folder or a table that cannot be used is a DataError.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from longtake.errors import DataError
from longtake.files import printable
from longtake.names import Finder, comparable, grouped, is_hidden, leads_out, repeated
from longtake.training.captions import TABLES, caption_of, caption_of_row, json_object, rows_of

VIDEOS = {".mp4", ".mov", ".webm", ".mkv"}
EXPECTED = (
    "clip.mp4 with its caption in clip.txt beside it, a metadata.jsonl or metadata.csv with file_name and text, or"
    " WebDataset shards *.tar of clip.mp4 and clip.txt or clip.json"
)


@dataclass(frozen=True)
class SourceClip:
    """A video file, or a member of a tar shard, and what it shows. `name` is unique in its folder."""

    name: str
    caption: str
    path: Path
    member: tarfile.TarInfo | None = None

    @property
    def num_bytes(self) -> int:
        return self.path.stat().st_size if self.member is None else self.member.size

    @property
    def modified(self) -> int:
        """When its file, or its shard, was last written, in nanoseconds; 0 if that has gone."""
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0

    def sha256(self) -> str:
        """The hash of the video file's bytes. DataError if it cannot be read."""
        with self.open() as file:
            try:
                return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            except OSError as error:
                raise DataError(f"cannot be read ({error})") from error

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The video file as a stream of bytes. DataError if it cannot be opened."""
        with ExitStack() as stack:
            try:
                if self.member is None:
                    file: IO[bytes] | None = stack.enter_context(self.path.open("rb"))
                else:
                    file = stack.enter_context(tarfile.open(self.path, "r:")).extractfile(self.member)
            except (OSError, tarfile.TarError) as error:
                raise DataError(f"cannot be opened ({error})") from error
            assert file is not None, "members that are no files are never listed"
            yield stack.enter_context(file)


@dataclass(frozen=True)
class Skipped:
    """A clip, or a part of one, that is not trained on, and why. `num_latents`: of a shot that is too short; else 0."""

    name: str
    reason: str
    num_latents: int = 0


def find_clips(folder: Path) -> tuple[list[SourceClip], list[Skipped]]:
    """The captioned clips of a folder in a stable order, and what is there but cannot be used.

    DataError for a folder without a captioned clip, of two layouts at once, or with a table that is damaged, lacks a
    column, or names a file that is missing or outside the folder.
    """
    if not os.path.isdir(folder):
        raise DataError(f"no folder {folder}: give one that holds {EXPECTED}")
    finder = Finder(folder)
    try:
        there = finder.listing
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}") from error
    shards, hidden = _of_kind(there.files, {".tar"}), list(there.hidden)
    tables = sorted(name for name in there.files if name.lower() in TABLES)
    layouts = ["tar shards"] * bool(shards) + tables[::-1]
    if len(layouts) > 1:
        raise DataError(f"{folder} holds both {layouts[0]} and {layouts[1]}: keep one of them")
    if shards:
        found = [item for shard in shards for item in _in_shard(folder, shard, hidden)]
    elif tables:
        found = list(_in_table(folder, tables[0], finder))
    else:
        found = list(_beside(folder, there.files))
    known = {item.name for item in found}
    found += [
        Skipped(name, f"is not in the {layouts[0]}")
        for name in map(printable, _of_kind(there.files, VIDEOS))
        if name not in known
    ]
    found += [Skipped(printable(name), reason) for name, reason in there.passed]
    if hidden:
        found.append(Skipped(printable(hidden[0]), f"is hidden or a system's own ({len(hidden)} in all)"))
    clips = [item for item in found if isinstance(item, SourceClip)]
    skipped = [item for item in found if isinstance(item, Skipped)]
    if not clips:
        why = f"; {skipped[0].name} {skipped[0].reason}" if skipped else ""
        raise DataError(f"no captioned film in {folder}{why}: it needs {EXPECTED}")
    return clips, skipped


def _of_kind(names: Iterable[str], suffixes: Collection[str]) -> list[str]:
    return [name for name in names if PurePosixPath(name).suffix.lower() in suffixes]


def _paired(names: Sequence[str], kinds: Sequence[str]) -> Iterator[tuple[str, str | None] | Skipped]:
    """Each video among names, and the caption of its name, of the first of the kinds there is. Skipped for a video
    where it is not clear which of several is meant."""
    groups = grouped(names)
    for video in dict.fromkeys(_of_kind(names, VIDEOS)):
        name = PurePosixPath(comparable(video))
        films = groups[str(name)]
        captions = next(filter(None, (groups.get(str(name.with_suffix(kind))) for kind in kinds)), [])
        if len(films) > 1:
            yield Skipped(printable(video), f"is there {repeated(films)}")
        elif len(captions) > 1:
            yield Skipped(printable(video), f"has a caption {repeated(captions)}")
        else:
            yield video, captions[0] if captions else None


def _beside(folder: Path, names: Sequence[str]) -> Iterator[SourceClip | Skipped]:
    stems = {PurePosixPath(comparable(video)).with_suffix("") for video in _of_kind(names, VIDEOS)}
    for pair in _paired(names, [".txt"]):
        if isinstance(pair, Skipped):
            yield pair
            continue
        video, text = pair
        name = printable(video)
        try:
            if text is None:
                raise DataError(f"has no caption {PurePosixPath(name).with_suffix('.txt').name} beside it")
            yield SourceClip(name, caption_of((folder / text).read_bytes()), folder / video)
        except OSError as error:
            yield Skipped(name, f"has a caption that cannot be read ({error.strerror})")
        except DataError as error:
            yield Skipped(name, str(error))
    kinds = ", ".join(sorted(kind.removeprefix(".") for kind in VIDEOS))
    for text in _of_kind(names, {".txt"}):
        if PurePosixPath(comparable(text)).with_suffix("") not in stems:
            yield Skipped(printable(text), f"has no video ({kinds}) beside it")


def _in_shard(folder: Path, shard: str, hidden: list[str]) -> Iterator[SourceClip | Skipped]:
    """The clips of a tar file. Adds what is hidden in it to `hidden`."""
    path = folder / shard
    try:
        with tarfile.open(path, "r:") as tar:
            files = [member for member in tar.getmembers() if member.isfile()]
            hidden += [f"{shard}/{member.name}" for member in files if is_hidden(member.name)]
            members = {member.name: member for member in files}
            for pair in _paired([file.name for file in files if not is_hidden(file.name)], [".txt", ".json"]):
                if isinstance(pair, Skipped):
                    yield Skipped(printable(f"{shard}/{pair.name}"), pair.reason)
                    continue
                video, text = pair
                name = printable(f"{shard}/{video}")
                try:
                    yield SourceClip(name, _caption_in(tar, members, text), path, members[video])
                except DataError as error:
                    yield Skipped(name, str(error))
    except (OSError, ValueError, tarfile.TarError) as error:
        yield Skipped(printable(shard), f"cannot be read as a tar file ({error})")


def _caption_in(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], text: str | None) -> str:
    """The caption that a member of a shard holds."""
    file = tar.extractfile(members[text]) if text else None
    if text is None or file is None:
        raise DataError("has no .txt or .json of its name in the shard")
    with file:
        raw = file.read()
    return caption_of(raw) if text.lower().endswith(".txt") else caption_of_row(json_object(raw))


def _in_table(folder: Path, table: str, finder: Finder) -> Iterator[SourceClip | Skipped]:
    named = set()
    for place, row in rows_of(folder / table):
        told = row.get("file_name")
        if not isinstance(told, str) or not told:
            raise DataError(f"{place}: file_name is missing")
        if leads_out(told):
            raise DataError(f"{place}: file_name must be a path inside {folder}, not {told!r}")
        file = finder.find(told)
        if len(file) > 1:
            raise DataError(f"{place} names {told!r}, which is there {repeated(file)}")
        if not file:
            raise DataError(f"{place} names {told!r}, which is not in {folder}")
        if file[0] in named:
            raise DataError(f"{place} names {told!r} a second time: keep one row for each file")
        named.add(file[0])
        name = printable(file[0])
        try:
            yield SourceClip(name, caption_of_row(row), folder / file[0])
        except DataError as error:
            yield Skipped(name, str(error))
