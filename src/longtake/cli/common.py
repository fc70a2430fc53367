"""What the commands share: the application, common options, and how to talk to the terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from longtake.errors import LongTakeError
from longtake.files import printable

BAD_INPUT = 2
INTERRUPTED = 130

app = typer.Typer(
    help="One unbroken shot of any length from a video diffusion model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


Model = Annotated[
    str | None,
    typer.Option("--model", metavar="DIR|HUB-ID", help="Another model than the embedded one."),
]
Device = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1 …")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")]


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise LongTakeError(f"this needs {error.name}: pip install 'longtake[{extra}]'") from error


def say(line: str) -> None:
    """Print one line, whatever characters the names in it hold."""
    print(printable(line), file=sys.stderr)
