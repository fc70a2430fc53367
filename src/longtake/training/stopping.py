"""Stopping between two steps, so that none is lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

# What it is given is called when the work within is to stop soon; the command line's `gently` is one.
Gently = Callable[[Callable[[], None]], AbstractContextManager[None]]


def at_once(stop: Callable[[], None]) -> AbstractContextManager[None]:
    """Whatever stops the work stops it at once, as where nobody says otherwise."""
    return nullcontext()


class Stop:
    """Whether the work is to stop: called, it is."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> None:
        self.asked = True
