"""Files that are whole or not there: written beside their place, flushed to disk, put there; their locks and names."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from longtake.errors import OutputError

LOCK_SUFFIX = ".lock"
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


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


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """The right to write a file or a folder, which one process has at a time.

    The lock is a file `NAME.lock` beside `path`, gone afterwards. The system lets go of it when the process ends,
    however it ends. OutputError, at once, while another one has it, or if no lock can be had there.
    """
    lock = path.with_name(path.name + LOCK_SUFFIX)
    try:
        descriptor = _locked(lock)
    except BlockingIOError:
        raise OutputError(
            f"{path} is being written by {_holder(lock)}: wait for it, or give another name"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot lock {path}: {error.strerror}") from error
    try:
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


@contextmanager
def folder_made(folder: Path) -> Iterator[None]:
    """A folder and those it lies in, made where missing; if what is done then fails, new empty ones go again."""
    new = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in new:
            with suppress(OSError):
                path.rmdir()
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file; the one before stays whole until this one is. Characters that UTF-8 does not know are escaped
    as JSON escapes them."""
    with beside(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def is_text(name: Path | str) -> bool:
    """Whether all bytes of a name are text in UTF-8, as safetensors and tokenizers want it."""
    return not re.search("[\ud800-\udfff]", str(name))


def printable(name: Path | str) -> str:
    """A name as text of one line: control characters, and bytes that are no text, are escapes such as \\n and \\xff."""
    return UNPRINTABLE.sub(_escape, str(name))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for a byte
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape").decode()


def to_disk(path: Path) -> None:
    """Flush a file, or a folder's list of files, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
