"""Bars for what takes long."""

from collections.abc import Iterable
from typing import TypeVar

from rich import progress
from rich.console import Console

Item = TypeVar("Item")


def track(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """The same items; a bar on stderr, where that is a terminal, says how many have gone by. Results are on stdout."""
    console = Console(stderr=True)
    return progress.track(items, what, total, console=console, disable=not console.is_terminal)
