"""longtake: one unbroken shot of any length from a video diffusion model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longtake.cues import Cue
    from longtake.options import FilmOptions
    from longtake.pipeline import LongTake
    from longtake.takes import Take

__all__ = ["Cue", "FilmOptions", "LongTake", "Take", "__version__"]
__version__ = "0.1.0"

_ROOMS = {"Cue": "cues", "FilmOptions": "options", "LongTake": "pipeline", "Take": "takes"}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for, so that `import longtake` does not wait for torch."""
    if name in _ROOMS:
        return getattr(import_module(f"longtake.{_ROOMS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
