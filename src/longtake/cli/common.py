"""What the commands share: the application, common options, and how to talk to the terminal."""

import errno
import gc
import os
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperCommand, TyperOption

from longtake.errors import LongTakeError
from longtake.files import printable

BAD_INPUT = 2
INTERRUPTED = 130  # by Ctrl-C; for another signal, `signals.exit_code` has its own
READER_GONE = 141
PREVIEW, TERMINAL = "--preview", "terminal"  # where a preview is shown that is given no file
BLOCKS, KITTY, SIXEL = (
    "blocks",
    "kitty",
    "sixel",
)  # how a terminal shows it; TERMINAL: as well as that one can
PLACES = (TERMINAL, BLOCKS, KITTY, SIXEL)

# What the file system refuses. Other numbers, such as EINVAL or EBADF, are mistakes of ours.
REFUSALS = {
    *(
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EFBIG,
        errno.EIO,
        errno.EISDIR,
        errno.ELOOP,
        errno.EMFILE,
    ),
    *(errno.ENAMETOOLONG, errno.ENFILE, errno.ENOENT, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS),
    *(errno.ESTALE, errno.ETXTBSY),
}


class Command(TyperCommand):
    """A command that takes each option once. The library lets the last of several win, unsaid. --preview is an option
    that needs no value, of which the library has none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        args = with_place(args)
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for option, times in Counter(given).items():
            if times > 1 and isinstance(option, TyperOption) and not (option.multiple or option.count):
                raise LongTakeError(f"{option.opts[0]} is given {times} times: give it once")
        return super().parse_args(ctx, args)


class Application(typer.Typer):
    """An application of such commands."""

    def command(self, *args: Any, **kwargs: Any) -> Any:
        return super().command(*args, **{"cls": Command, **kwargs})


app = Application(
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
GivenDevice = Annotated[
    str | None,
    typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1 …", show_default="cpu"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")]


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise LongTakeError(f"this needs {error.name}: pip install 'longtake[{extra}]'") from error


@contextmanager
def quick_imports() -> Iterator[None]:
    """The garbage collector does not look through what is imported, now or later, and diffusers is imported as where
    there is no peft. It does without to the end of the process, so this is for commands that train nothing."""
    hides_peft = not {"diffusers", "peft"} & sys.modules.keys()
    if hides_peft:
        sys.modules["peft"] = None  # type: ignore[assignment]  # Python's own mark of what cannot be imported
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        if hides_peft:
            del sys.modules["peft"]


@contextmanager
def stoppable(then: str) -> Iterator[None]:
    """Say what to do `then`, when a command is stopped, and end it."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"stopped: {then}")
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def bar(unit: str, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """A bar on stderr, where that is a terminal; yields the function to call with how many are done, of how many, and
    what it is at, if that is to be told."""
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit} {{task.description}}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, of: int, about: str = "") -> None:
            progress.update(task, completed=done, total=of, description=about)

        yield show


def with_place(words: list[str]) -> list[str]:
    """The words of a command, where --preview has a PNG behind it or a way to show it, or else the terminal."""
    end = words.index("--") if "--" in words else len(words)
    told = []
    for word, follows in zip(words[:end], [*words[1:end], ""], strict=False):
        told.append(word)
        if word == PREVIEW and not (follows.lower().endswith(".png") or follows in PLACES):
            told.append(TERMINAL)
    return told + words[end:]


def say(line: str) -> None:
    """Print one line to stderr, whatever characters the names in it hold."""
    print(printable(line), file=sys.stderr)


def in_a_line(error: Exception) -> str | None:
    """What disk and memory refused, in words; None for any other error, which is ours."""
    if isinstance(error, OSError) and error.errno in REFUSALS:
        name = error.filename
        where = f"{os.fsdecode(name)}: " if isinstance(name, str | bytes | os.PathLike) else ""
        return f"{where}{error.strerror}"
    if _is_out_of_memory(error):
        why = textwrap.shorten(str(error), 150, placeholder=" ...") or "there is no more"
        return (
            f"not enough memory ({why}): a smaller size, chunk_size, context_size or batch_size takes less, and so"
            " does bfloat16"
        )
    return None


def _is_out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return type(error) is RuntimeError and "DefaultCPUAllocator" in str(error)  # torch has no class for these
