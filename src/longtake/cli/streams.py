"""Standard output and standard error that never fail a command: what they cannot take is dropped, and kept in mind."""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from select import select
from typing import Any, TextIO

# What our own lines draw and write with, in letters that every terminal has.
LETTERS = {
    "█": "#",
    "░": ".",
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "±": "+-",
    "σ": "sigma",
    "∣": "|",
}


class Outlet(io.FileIO):
    """A descriptor to write to. Its first failure is kept as `error`; whatever comes after it is dropped."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        while rest and self.error is None:
            try:
                written = super().write(rest)
            except OSError as error:
                self.error = error
            else:
                if written is None:  # a pipe that is full, of the kind that does not wait
                    select([], [self], [])
                rest = rest[written or 0 :]
        return memoryview(data).nbytes


@contextmanager
def standard_streams() -> Iterator[Outlet | None]:
    """Put outlets in place of stdout and stderr, where these have descriptors; yields that of stdout.

    Text that a stream's encoding does not have is written in other letters. A stream that is closed takes everything.
    """
    _occupy()
    codecs.register_error("longtake", _in_letters)
    out, err = _through_outlet(sys.stdout), _through_outlet(sys.stderr)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield out.buffer if isinstance(out.buffer, Outlet) else None
        finally:
            out.flush()
            err.flush()


def _occupy() -> None:
    """Give the null device to standard descriptors that are closed: a film that is opened would get one of them, and
    what libraries print would go into it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _through_outlet(stream: TextIO | None) -> TextIO:
    if stream is None:
        return io.TextIOWrapper(Outlet(os.devnull, "w"), "utf-8", "longtake")
    try:
        stream.flush()
        outlet = Outlet(stream.fileno(), "w", closefd=False)
    except (OSError, ValueError):  # a stream of a test's or a notebook's
        return stream
    # No buffer between: one that a signal interrupts would refuse what the signal's handler has to say.
    return io.TextIOWrapper(outlet, stream.encoding, "longtake", line_buffering=True)


def _in_letters(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_letters, error.object[error.start : error.end])), error.end


def _letters(character: str) -> str:
    if "\ud800" <= character <= "\udfff":  # a byte of a file's name that is no text
        return "?"
    return LETTERS.get(character) or character.encode("ascii", "backslashreplace").decode()
