"""How a command is stopped: Ctrl-C, SIGTERM and a terminal that is closed are one thing, KeyboardInterrupt.

Handlers are set by the command line alone, and only where a signal would end the process: `nohup` holds.
"""

import atexit
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
ONE_STOP = 1.0  # seconds within which `timeout` and terminals send a signal again to the same end


class _Stop:
    """What was asked for so far: the first signal, when the last one came, and whether the command was interrupted.

    gently: what the first signal does in place of interrupting.
    """

    signal: int | None = None
    time = float("-inf")
    interrupted = False
    gently: Callable[[], None] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        before, self.time = self.time, time.monotonic()
        if number != signal.SIGINT and self.time - before < ONE_STOP:
            return
        self.signal = self.signal or number
        gently, self.gently = self.gently, None
        if gently is not None:
            gently()
        elif self.interrupted:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        else:
            self.interrupted = True
            raise KeyboardInterrupt


_stop = _Stop()


@contextmanager
def stops() -> Iterator[None]:
    """Have signals raise KeyboardInterrupt, the first one; a second one, while what was begun is cleaned up, ends the
    process. In the main thread only, where Python allows it."""
    global _stop
    _stop = _Stop()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in STOPS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
            atexit.register(signal.signal, number, signal.SIG_DFL)  # nothing is left that could be cleaned up


@contextmanager
def gently(stop: Callable[[], None]) -> Iterator[None]:
    """Have the first signal call `stop`; the second one raises KeyboardInterrupt."""
    _stop.gently = stop
    try:
        yield
    finally:
        _stop.gently = None


def exit_code() -> int:
    """What a process exits with that was stopped: 128 and the number of the signal."""
    return 128 + (_stop.signal or signal.SIGINT)


def was_interrupted() -> bool:
    """Whether a signal has raised KeyboardInterrupt."""
    return _stop.interrupted
