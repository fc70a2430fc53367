"""Open-Sora v1.2, the open model of the paper, as diffusers classes of our own."""

from longtake.models.open_sora.autoencoder import AutoencoderOpenSora
from longtake.models.open_sora.convert import convert_transformer
from longtake.models.open_sora.convert_vae import convert_vae
from longtake.models.open_sora.transformer import OpenSoraTransformer3DModel

__all__ = ["AutoencoderOpenSora", "OpenSoraTransformer3DModel", "convert_transformer", "convert_vae"]
