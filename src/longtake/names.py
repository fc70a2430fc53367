"""Names of files, as people's systems write them: what they are compared by, and which there are in a folder.

One name is spelt in several ways: é is one character or two (macOS), suffixes are large where a camera wrote them,
tables and archives of Windows have backslashes. All of these are the same name here.
"""

from __future__ import annotations

import os
import unicodedata
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from longtake.files import printable

# What systems put beside people's files: resource forks of zip files, thumbnails and bins of network disks.
LITTER = {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"}


def comparable(name: str) -> str:
    """What a name is compared by: its characters composed (NFC), its suffix small, / alone between its parts."""
    path = PurePosixPath(name.replace("\\", "/"))
    path = path.with_suffix(path.suffix.lower()) if path.suffix else path
    return unicodedata.normalize("NFC", path.as_posix())


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by what they are compared by."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(comparable(name), []).append(name)
    return groups


def repeated(names: Iterable[str]) -> str:
    """Names that count as one, in words."""
    listed = list(names)
    spelt = " and ".join(printable(name) for name in dict.fromkeys(listed))
    return f"{len(listed)} times, as {spelt}, which count as one name: keep one of them"


def leads_out(name: str) -> bool:
    """Whether a name may be meant for anything outside of a folder, on any system, or on a network."""
    path = PureWindowsPath(name)  # knows the separators and roots of every system
    return bool(path.root) or ".." in path.parts or "://" in name


def is_hidden(name: str) -> bool:
    """Whether a name, or a folder that it lies in, is hidden or litter of a system."""
    return any(
        part in LITTER or (part.startswith(".") and part != "..") for part in PurePosixPath(name).parts
    )


@dataclass(frozen=True)
class Listing:
    """The files below a folder, by their paths in it, in order; hidden files and folders; and what else is passed over,
    behind which is why."""

    files: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)


def walk(folder: Path) -> Listing:
    """What lies below a folder. Links are followed, each folder is read once, and first by its own name.

    OSError if the folder itself cannot be read.
    """
    found, own = Listing(), os.path.realpath(folder)
    read = {_identity(Path(parent)): "" for parent in Path(own).parents}
    folders, links = [PurePosixPath()], deque[PurePosixPath]()
    while folders or links:
        here = folders.pop() if folders else links.popleft()
        try:
            identity = _identity(folder / here)
            if identity in read:
                where = read[identity] or "a folder that it lies in"
                found.passed.append((here.as_posix(), f"is the same folder as {where}"))
                continue
            read[identity] = here.as_posix()
            entries = list(os.scandir(folder / here))
        except OSError as error:
            if here == PurePosixPath():
                raise
            found.passed.append((here.as_posix(), f"cannot be read ({error.strerror})"))
            continue
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = here / entry.name
            if is_hidden(entry.name):
                found.hidden.append(name.as_posix())
            elif os.path.isdir(entry.path):
                (links if entry.is_symlink() else folders).append(name)
            elif os.path.isfile(entry.path):
                found.files.append(name.as_posix())
            else:
                there = os.path.exists(entry.path)
                reason = "is a pipe, a socket or a device" if there else "is a broken link"
                found.passed.append((name.as_posix(), reason))
    for names in (found.files, found.hidden):
        names.sort(key=PurePosixPath)
    found.passed.sort()
    return found


class Finder:
    """Files of a folder, found by names as other systems spell them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def listing(self) -> Listing:
        return walk(self.folder)

    @cached_property
    def _groups(self) -> dict[str, list[str]]:
        return grouped(self.listing.files)

    def find(self, name: str) -> list[str]:
        """The file that has exactly this name, or those that have it as names are compared."""
        if os.path.isfile(self.folder / name):  # no other check takes any string
            return [PurePosixPath(name).as_posix()]
        return self._groups.get(comparable(name), [])


def _identity(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
