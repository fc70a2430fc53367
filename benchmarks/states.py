"""How large the state of a half-made film is, from configurations alone: no weights are loaded, and nothing is filmed.

    python benchmarks/states.py

For the embedded model and for Wan 2.1 1.3B, each at its own size: the window's latents, what the decoder remembers
while it films, what a file keeps of that, and the pictures of a second, the most that are made and in no whole second
of the film yet. A film that is finished from a draft has one latent of it more and what its encoder remembers, told
beside: while it films, and in a file, where the pictures that wait for a latent are read again too. Codecs are the real
ones on tensors that have a shape and no numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import AutoencoderKLWan
from diffusers.utils import logging

from longtake.footprint import PUSHED, state_size
from longtake.models.base import ModelSpec, num_bytes, stored
from longtake.models.codecs import new_encoder
from longtake.models.parts import empty_part
from longtake.models.places import open_model
from longtake.options import FilmOptions, FilmPlan
from real_sizes import FAMILIES

HEAD = (
    "window",
    "decoder, while it films",
    "decoder, in a file",
    "a second of pictures",
    "in a file",
    "encoder of a draft, while it films",
    "encoder of a draft, in a file",
)


def main() -> None:
    logging.set_verbosity_error()  # it would warn of a precision that is given afterwards
    embedded, wan = open_model(None), FAMILIES["wan-2.1"].spec
    models: list[tuple[ModelSpec, Callable[[], torch.nn.Module], torch.dtype]] = [
        (embedded.spec, lambda: empty_part(embedded, "vae"), torch.float32),
        (wan, AutoencoderKLWan, torch.bfloat16),
        (wan, AutoencoderKLWan, torch.float32),
    ]
    print(f"| MB | {' | '.join(HEAD)} |\n|---|{'---|' * len(HEAD)}")
    for spec, new_vae, dtype in models:
        film = FilmOptions(prompt="any", seconds=30).resolved(spec)
        with torch.device("meta"):
            vae = new_vae().to(dtype)
        size, encoder = state_size(film, vae), encoder_sizes(film, vae)
        cells = (size.window, size.decoder, size.kept, size.pictures, size.in_file, *encoder)
        told = f"{spec.name}, {spec.defaults.width}x{spec.defaults.height}, autoencoder in {dtype}"
        print(f"| {told.replace('torch.', '')} | {' | '.join(f'{n / 1e6:.2f}' for n in cells)} |")


def encoder_sizes(film: FilmPlan, vae: torch.nn.Module) -> tuple[int, int]:
    """The bytes of what an encoder remembers, and of what of that is kept in a file."""
    encoder, settings = new_encoder(vae), film.settings
    with torch.device("meta"):
        for _ in range(4 * PUSHED):
            encoder.push(torch.empty(1, 3, 1, settings.height, settings.width))
    state = encoder.state()
    return num_bytes(state), num_bytes(stored(state))


if __name__ == "__main__":
    main()
