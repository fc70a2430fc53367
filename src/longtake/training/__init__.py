"""Training: the progressive loss, the trainer, and what the recipes of embedded models share."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longtake.training.loss import Shares, Window, draw_sigma, draw_window, progressive_loss

__all__ = ["Shares", "Window", "draw_sigma", "draw_window", "progressive_loss"]


def __getattr__(name: str) -> Any:
    """Import the loss when it is first asked for, so that the trainer's options do not wait for torch."""
    if name in __all__:
        from longtake.training import loss

        return getattr(loss, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
