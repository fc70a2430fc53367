"""Captioned film in a folder: which clips there are, and what each one shows. Decodes nothing.

Three layouts: WebDataset shards (`*.tar`), one table (`metadata.jsonl` or `metadata.csv`, as for video folders of
`datasets`), or video files with their captions in text files beside them. A clip that cannot be used is skipped with
a reason; a folder or a table that cannot be used is a DataError.
"""

from __future__ import annotations

import csv
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from longtake.errors import DataError

VIDEOS = {".mp4", ".mov", ".webm", ".mkv"}
TABLES = ("metadata.jsonl", "metadata.csv")
CAPTION_COLUMNS = ("text", "caption")
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
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: give one that holds {EXPECTED}")
    videos, shards = _files(folder, VIDEOS), _files(folder, {".tar"})
    layouts = ["tar shards"] * bool(shards) + [table for table in TABLES if (folder / table).is_file()]
    if len(layouts) > 1:
        raise DataError(f"{folder} holds both {layouts[0]} and {layouts[1]}: keep one of them")
    if shards:
        found = [item for shard in shards for item in _in_shard(folder, shard)]
    elif layouts:
        found = list(_in_table(folder, layouts[0]))
    else:
        found = [_beside(folder, video) for video in videos]
        texts = {video.with_suffix(".txt") for video in videos}
        kinds = ", ".join(sorted(kind.removeprefix(".") for kind in VIDEOS))
        found += [
            Skipped(_name(folder, text), f"has no video ({kinds}) beside it")
            for text in _files(folder, {".txt"})
            if text not in texts
        ]
    known = {item.name for item in found}
    found += [
        Skipped(name, f"is not in the {layouts[0]}")
        for name in (_name(folder, video) for video in videos)
        if name not in known
    ]
    clips = [item for item in found if isinstance(item, SourceClip)]
    skipped = [item for item in found if isinstance(item, Skipped)]
    if not clips:
        why = f"; {skipped[0].name} {skipped[0].reason}" if skipped else ""
        raise DataError(f"no captioned film in {folder}{why}: it needs {EXPECTED}")
    return clips, skipped


def _files(folder: Path, suffixes: set[str]) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _beside(folder: Path, video: Path) -> SourceClip | Skipped:
    name, text = _name(folder, video), video.with_suffix(".txt")
    try:
        return SourceClip(name, _caption(text.read_bytes()), video)
    except OSError:
        return Skipped(name, f"has no caption {text.name} beside it")
    except DataError as error:
        return Skipped(name, str(error))


def _in_shard(folder: Path, shard: Path) -> Iterator[SourceClip | Skipped]:
    try:
        with tarfile.open(shard, "r:") as tar:
            members = {member.name: member for member in tar.getmembers() if member.isfile()}
            for name, member in members.items():
                if PurePosixPath(name).suffix.lower() in VIDEOS:
                    full_name = f"{_name(folder, shard)}/{name}"
                    try:
                        yield SourceClip(full_name, _caption_in(tar, members, name), shard, member)
                    except DataError as error:
                        yield Skipped(full_name, str(error))
    except (OSError, ValueError, tarfile.TarError) as error:
        yield Skipped(_name(folder, shard), f"cannot be read as a tar file ({error})")


def _caption_in(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], video: str) -> str:
    """The caption that a shard holds for a video of it."""
    for suffix in (".txt", ".json"):
        member = members.get(str(PurePosixPath(video).with_suffix(suffix)))
        file = tar.extractfile(member) if member else None
        if file is None:
            continue
        with file:
            raw = file.read()
        return _caption(raw) if suffix == ".txt" else _caption_of_row(_json_object(raw))
    raise DataError("has no .txt or .json of its name in the shard")


def _in_table(folder: Path, table: str) -> Iterator[SourceClip | Skipped]:
    read = _json_lines if table.endswith(".jsonl") else _csv_rows
    names = set()
    for place, row in read(folder / table):
        name = row.get("file_name")
        if not isinstance(name, str) or not name:
            raise DataError(f"{place}: file_name is missing")
        path = PureWindowsPath(name)  # knows the separators and roots of every system
        if path.anchor or ".." in path.parts or "://" in name:
            raise DataError(f"{place}: file_name must be a path inside {folder}, not {name!r}")
        if not os.path.isfile(folder / name):  # no other check takes any string
            raise DataError(f"{place} names {name!r}, which is not in {folder}")
        name = PurePosixPath(name).as_posix()
        if name in names:
            raise DataError(f"{place} names {name!r} a second time: keep one row for each file")
        names.add(name)
        try:
            yield SourceClip(name, _caption_of_row(row), folder / name)
        except DataError as error:
            yield Skipped(name, str(error))


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if line.strip():
            place = f"{path} line {number}"
            try:
                yield place, _json_object(line)
            except DataError as error:
                raise DataError(f"{place} {error}") from error


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or ()
            if "file_name" not in columns or not {*CAPTION_COLUMNS} & {*columns}:
                raise DataError(
                    f"{path} needs the columns file_name and text, not {', '.join(columns) or 'none'}"
                )
            yield from ((f"{path} line {rows.line_num}", row) for row in rows)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table in UTF-8 ({error})") from error


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        content = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError("is not JSON") from error
    if not isinstance(content, dict):
        raise DataError("is not a JSON object")
    return content


def _caption_of_row(row: Mapping[str, Any]) -> str:
    caption = next((row[column] for column in CAPTION_COLUMNS if row.get(column)), "")
    if not isinstance(caption, str):
        raise DataError("has a caption that is not text")
    return _caption(caption.encode(errors="surrogatepass"))


def _caption(raw: bytes) -> str:
    """A caption on one line."""
    try:
        caption = " ".join(raw.decode("utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise DataError("has a caption that is not UTF-8") from error
    if not caption:
        raise DataError("has no caption")
    return caption
