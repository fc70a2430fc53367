"""Files that are whole or not there: written beside their place, flushed to disk, put there; their locks and names."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from longtake.errors import OutputError

LOCK_SUFFIX = ".lock"


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


def lock_path(path: Path) -> Path:
    """The file that is there while a process has the right to write `path`, and after one that was killed."""
    return path.with_name(path.name + LOCK_SUFFIX)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """The right to write a file or a folder, which one process has at a time.

    The lock is a file `NAME.lock` beside `path`, gone afterwards. The system lets go of it when the process ends,
    however it ends. OutputError, at once, while another one has it, or if no lock can be had there.
    """
    lock = lock_path(path)
    try:
        descriptor = _locked(lock)
    except BlockingIOError:
        raise OutputError(
            f"{path} is being written by {_holder(lock)}: wait for it, or give another name"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot lock {path}: {error.strerror}") from error
    try:
        with suppress(OSError):  # a full disk takes no name, and the lock holds without one
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(lock: Path) -> int:
    """A descriptor of the lock file, locked. Tries again where the one before has just removed the file it opened."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(lock.stat(), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)


def _holder(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8", errors="replace") or "another process"
    except OSError:
        return "another process"


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
