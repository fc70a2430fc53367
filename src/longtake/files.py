"""Files that are whole or not there: written beside their place, flushed to disk, put there; and their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A file to be written, beside its place; it is flushed to disk and put there, or removed if that fails."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        to_disk(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file; the one before stays whole until this one is."""
    with beside(path) as part:
        part.write_text(text, encoding="utf-8")


def printable(name: Path | str) -> str:
    """A name as text; bytes of it that are none are question marks."""
    return str(name).encode(errors="replace").decode()


def to_disk(path: Path) -> None:
    """Flush a file, or a folder's list of files, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
