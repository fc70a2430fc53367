"""Autoencoders too small to be good for anything, and what is seen of a run that trains with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from longtake.models.small.lapped import AutoencoderLapped
from longtake.training import recipe


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


@contextmanager
def interrupting(at: int) -> Iterator[None]:
    """Ctrl-C in such a step of a recipe's filmmaker, counted from 0 since the command was given."""
    loss, calls = recipe.progressive_loss, iter(range(999))

    def interrupted(*given: Any) -> Any:
        if next(calls) == at:
            raise KeyboardInterrupt
        return loss(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "progressive_loss", interrupted)
        yield


def checkpoint(folder: Path, step: int) -> dict[str, bytes]:
    """The files of a checkpoint, byte for byte."""
    return {file.name: file.read_bytes() for file in (folder / f"step-{step:06d}").iterdir()}
