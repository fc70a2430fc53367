"""The command line, a guest of the library: the only room that prints or exits.

torch is imported by the commands that film or plan, not by `--help`. Errors a user can mend are one line on
stderr, exit code 2; Ctrl-C is exit code 130."""

import sys
from typing import Annotated, NoReturn

import typer

from longtake import __version__
from longtake.cli import compare, convert, film, measure, prepare, train  # noqa: F401  (each puts its commands on the app)
from longtake.cli.common import BAD_INPUT, app, say
from longtake.errors import LongTakeError


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"longtake {__version__}")
        raise typer.Exit


def main() -> NoReturn:
    """Runs the command line and exits."""
    try:
        sys.exit(app(standalone_mode=False))
    except LongTakeError as error:
        say(f"error: {error}")
    except typer.TyperException as error:
        say(f"error: {error.format_message()}")
    except OSError as error:
        if error.filename is None:  # not of a file that was named
            raise
        say(f"error: cannot use {error.filename}: {error.strerror}")
    sys.exit(BAD_INPUT)
