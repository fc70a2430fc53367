"""Open-Sora v1.2, the open model of the paper, as diffusers classes of our own."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longtake.models.open_sora.autoencoder import AutoencoderOpenSora
    from longtake.models.open_sora.convert import convert_transformer
    from longtake.models.open_sora.convert_autoencoder import convert_vae
    from longtake.models.open_sora.transformer import OpenSoraTransformer3DModel

__all__ = ["AutoencoderOpenSora", "OpenSoraTransformer3DModel", "convert_transformer", "convert_vae"]

_PLACES = {
    "AutoencoderOpenSora": "autoencoder",
    "OpenSoraTransformer3DModel": "transformer",
    "convert_transformer": "convert",
    "convert_vae": "convert_autoencoder",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is, so that its numbers can be known without torch."""
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
