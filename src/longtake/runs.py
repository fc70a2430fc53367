"""Folders that a command owns: claimed by its options, whole or not there, hashed; and the processes that fill them."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

from longtake.errors import LongTakeError, OutputError
from longtake.files import beside, folder_made, is_text, to_disk, write_text

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"  # of a run


def claim(run: Path, config: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """Make a folder the run of these options, by a config.json in it. OutputError as check_claim raises it."""
    check_claim(run, config, free)
    path = run / CONFIG
    try:
        with folder_made(run):
            write_text(path, json.dumps(config, indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def check_claim(run: Path, config: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """OutputError for a file, and for another run, whose options differ from these in more than the `free` ones."""
    path = run / CONFIG
    if os.path.lexists(run) and not os.path.isdir(run):
        raise OutputError(f"{run} is a file: name a folder")
    if not is_text(run):
        raise OutputError(f"{run} is no name in UTF-8: give another folder")
    if not os.path.exists(path):
        return
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise OutputError(f"{path} cannot be read as the options of a run: give another folder or delete it")
    for key in config:
        if key not in free and told.get(key) != config[key]:
            raise OutputError(
                f"{run} is another run: its {key} is {told.get(key)}, not {config[key]}; give another folder or the"
                f" options of its {CONFIG}, or delete it"
            )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to be filled, beside its place; it is flushed to disk and put there when it is full, and removed if that
    fails."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    with folder_made(folder.parent):
        part.mkdir()
        try:
            yield part
            for path in (*part.rglob("*"), part):
                to_disk(path)
            part.rename(folder)
            to_disk(folder.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file; the one before stays whole until this one is."""
    from safetensors.torch import save_file

    with beside(path) as part:
        save_file(dict(tensors), part, metadata=metadata)


# Signals that the command answers. Its processes never see them: it ends them itself.
OURS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Pool(ProcessPoolExecutor):
    """Starts its processes, as it does when it is given work, with our signals blocked, which they inherit."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, OURS)
        try:
            return super().submit(work, *arguments, **named)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def processes(method: Literal["spawn"] | None = None) -> Iterator[ProcessPoolExecutor]:
    """A process a core, started anew or, unless told so, as the platform does by itself. They end at once when this one
    is interrupted or fails, and when it is killed.

    LongTakeError if one of them is killed.
    """
    pool = _Pool(os.cpu_count(), get_context(method), _end_with_parent)
    try:
        yield pool
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in active_children():
            process.kill()
        if isinstance(error, BrokenProcessPool):
            raise LongTakeError(
                "one of its processes was killed, as the system does when memory runs out: make room, and give the"
                " same command again"
            ) from error
        raise
    finally:
        pool.shutdown()


def _end_with_parent() -> None:
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
