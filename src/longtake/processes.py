"""A pool of processes that ends with the command: when it is stopped, when it fails, and when it is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any, Literal

from longtake.errors import LongTakeError

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
