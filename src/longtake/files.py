"""Files that are whole or not there: written beside their place, flushed to disk, put there; their locks and names."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from longtake.errors import LongTakeWarning, OutputError

LOCK_SUFFIX = ".lock"  # beside a file that is written; in a folder, the whole name
HOLDER = b"process "  # begins what a lock says
# Of file systems that know no locks.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A file to be written, beside its place; it is flushed to disk and put there, or removed if that fails.

    OutputError, which names it, when the disk gives out; the one before stays.
    """
    part = path.with_name(path.name + ".part")
    try:
        with writing(path):
            yield part
            put(part, path)
    finally:
        with suppress(OSError):  # the first error is the one to tell
            part.unlink(missing_ok=True)


def put(part: Path, path: Path) -> None:
    """Put a file that was written beside its place there, and both on disk: what it holds, then its name."""
    to_disk(part)
    part.replace(path)
    with suppress(OSError):  # some file systems cannot; it is whole by now, under one name or the other
        to_disk(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file or folder that is written when the disk gives out, by an OutputError."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith(
            str(path)
        ):  # it names another one
            raise
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise OutputError(f"cannot write {path}: {error}") from error


def lock_path(path: Path) -> Path:
    """The file that is there while a process has the right to write `path`, and after one that was killed."""
    return path.with_name(path.name + LOCK_SUFFIX)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """The right to write a file, which one process has at a time.

    The lock is a file `NAME.lock` beside it, gone afterwards. The system lets go of it when the process ends, however
    it ends. OutputError, at once, while another one has it, or if no lock can be had there. LongTakeWarning, and no
    lock, on a file system that knows none.
    """
    with _holding(path, lock_path(path)):
        yield


@contextmanager
def exclusive_folder(folder: Path) -> Iterator[None]:
    """The same right to a folder and all in it, by a file `.lock` inside: one, by whatever name the folder is reached.

    A folder that is new is made, and gone again if nothing was put into it. OutputError for a name that is no text,
    since safetensors opens no file in it.
    """
    if not is_text(folder):
        raise OutputError(f"{printable(folder)} is no name in UTF-8: take another folder")
    try:
        made = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
    try:
        with _holding(folder, folder / LOCK_SUFFIX):
            yield
    finally:
        with suppress(OSError):  # the first one that holds something
            for place in made:
                place.rmdir()


def contents(folder: Path) -> list[Path]:
    """What a folder holds beside its lock, by name; nothing if it is none."""
    return sorted(path for path in folder.iterdir() if path.name != LOCK_SUFFIX) if folder.is_dir() else []


@contextmanager
def _holding(path: Path, lock: Path) -> Iterator[None]:
    try:
        descriptor = _locked(lock)
    except BlockingIOError:
        raise OutputError(
            f"{path} is being written by {_holder(lock)}: wait for it, or give another name"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot lock {path}: {error.strerror}") from error
    if descriptor is None:
        warnings.warn(
            f"{path} cannot be locked there: start no second run that writes it", LongTakeWarning, 3
        )
        yield
        return
    try:
        with suppress(OSError):  # a full disk, which what is to be written will meet
            os.ftruncate(descriptor, 0)
            os.write(descriptor, HOLDER + f"{os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        with suppress(OSError):
            lock.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(lock: Path) -> int | None:
    """A descriptor of the lock file, locked; None where there are no locks. Tries again where the one before has just
    removed the file it opened."""
    while True:
        descriptor = _opened(lock)
        try:
            if os.pread(descriptor, len(HOLDER), 0) not in (b"", HOLDER):
                raise FileExistsError(errno.EEXIST, f"{lock} is a file of another kind")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in NO_LOCKS:
                raise
            lock.unlink(missing_ok=True)
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(lock.stat(), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)


def _opened(lock: Path) -> int:
    careful = (
        os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    )  # in a folder that is everybody's, it may be anything
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | careful, 0o666)
    except PermissionError:
        if not lock.exists():
            raise
        return os.open(lock, os.O_RDONLY | careful)  # left by another user's crash


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


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
