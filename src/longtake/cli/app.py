"""The application with all its commands, and what a command's end is for the shell: an exit code and one line."""

import errno
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, TextIO

import typer

from longtake import __version__
from longtake.cli import (  # noqa: F401  (each puts its commands on the app)
    batch,
    compare,
    convert,
    direct,
    doctor,
    film,
    info,
    measure,
    models,
    plan,
    prepare,
    train,
    world,
)
from longtake.cli.common import BAD_INPUT, INTERRUPTED, READER_GONE, app, in_a_line, say
from longtake.cli.signals import exit_code, was_interrupted
from longtake.cli.streams import Outlet
from longtake.errors import LongTakeError, LongTakeWarning


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"longtake {__version__}")
        raise typer.Exit


def run(stdout: Outlet | None) -> int:
    """Run the command that `sys.argv` names; returns what to exit with. stdout: what results are printed to."""
    try:
        with _warnings_told():
            code = _command()
    except Exception as error:
        if was_interrupted():  # a library has made something else of it
            code = INTERRUPTED
        elif line := in_a_line(error):
            say(f"error: {line}")
            code = BAD_INPUT
        else:
            raise
    if code == INTERRUPTED:
        code = exit_code()
    sys.stdout.flush()
    if code or stdout is None or stdout.error is None:
        return code
    if stdout.error.errno == errno.EPIPE:
        return READER_GONE
    say(f"error: cannot print the result: {stdout.error.strerror}; all else is done")
    return BAD_INPUT


def _command() -> int:
    try:
        return int(app(standalone_mode=False) or 0)
    except LongTakeError as error:
        say(f"error: {error}")
    except typer.TyperException as error:
        if message := error.format_message():  # none where help was shown in its place
            say(f"error: {message}")
    return BAD_INPUT


@contextmanager
def _warnings_told() -> Iterator[None]:
    """Put our own warnings into a line each."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def tell(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, LongTakeWarning):
                say(f"note: {message}")
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = tell
        yield
