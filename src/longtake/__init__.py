"""longtake: one unbroken shot of any length from a video diffusion model."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longtake.pipeline import LongTake

__all__ = ["LongTake", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import LongTake when it is first asked for, so that `import longtake` does not wait for torch."""
    if name == "LongTake":
        from longtake.pipeline import LongTake

        return LongTake
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
