"""How large the state of a half-made film is, from configurations alone: no weights are loaded, and nothing is filmed.

    python benchmarks/states.py

For the embedded model and for Wan 2.1 1.3B, each at its own size: the window's latents, what the decoder remembers
while it films, what a file keeps of that, and the pictures of a second, the most that are made and in no whole second
of the film yet. The decoder is the real one on tensors that have a shape and no numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import AutoencoderKLWan
from diffusers.utils import logging

from longtake.models.base import ModelSpec, num_bytes, stored
from longtake.models.codecs import new_decoder
from longtake.models.parts import empty_part
from longtake.models.places import open_model
from longtake.options import FilmOptions
from real_sizes import FAMILIES

PUSHED = 48  # latents, more than these decoders look back
FLOAT = 4  # the bytes of a number of a latent


def main() -> None:
    logging.set_verbosity_error()  # it would warn of a precision that is given afterwards
    embedded, wan = open_model(None), FAMILIES["wan-2.1"].spec
    models: list[tuple[ModelSpec, Callable[[], torch.nn.Module], torch.dtype]] = [
        (embedded.spec, lambda: empty_part(embedded, "vae"), torch.float32),
        (wan, AutoencoderKLWan, torch.bfloat16),
        (wan, AutoencoderKLWan, torch.float32),
    ]
    print("| MB | window | decoder, while it films | decoder, in a file | a second of pictures | in a file |")
    print("|---|---|---|---|---|---|")
    for spec, vae, dtype in models:
        with torch.device("meta"):
            window, caches, kept, pictures = sizes(spec, vae().to(dtype))
        told = f"{spec.name}, {spec.defaults.width}x{spec.defaults.height}, autoencoder in {dtype}"
        cells = (window, caches, kept, pictures, window + kept + pictures)
        print(f"| {told.replace('torch.', '')} | {' | '.join(f'{n / 1e6:.2f}' for n in cells)} |")


def sizes(spec: ModelSpec, vae: torch.nn.Module) -> tuple[int, int, int, int]:
    """The bytes of a state at most, solver Euler's: of the window, of what the decoder remembers, of what of that is
    kept in a file, and of the pictures of a second. vae: on the meta device."""
    film, decoder = FilmOptions(prompt="any").resolved(spec), new_decoder(vae)
    channels, height, width = film.latent_shape
    for _ in range(PUSHED):
        decoder.push(torch.empty(1, channels, 1, height, width))
    state, settings = decoder.state(), film.settings
    return (
        film.cost.peak_window * channels * height * width * FLOAT,
        num_bytes(state),
        num_bytes(stored(state)),
        round(film.rate) * settings.width * settings.height * 3,
    )


if __name__ == "__main__":
    main()
