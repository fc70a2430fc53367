"""Autoencoders too small to be good for anything."""

from longtake.models.lapped import AutoencoderLapped


def lapped_autoencoder(z: int = 8, width: int = 8, mean: float = 0.0, std: float = 1.0) -> AutoencoderLapped:
    """One of z channels, every layer `width` wide."""
    return AutoencoderLapped(
        z_dim=z,
        encoder_width=width,
        decoder_widths=(width, width, width),
        last_width=width,
        latents_mean=(mean,) * z,
        latents_std=(std,) * z,
    )
