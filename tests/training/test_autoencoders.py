"""The training of the tubelet autoencoder."""

from pathlib import Path

import pytest
import torch

from longtake.models.small.tubelet import AutoencoderTubelet
from longtake.training.tubelet import train_tubelet
from longtake.worlds.tracking_shot.footage import footage

pytestmark = pytest.mark.slow


def test_autoencoder_learns_and_resumes(tmp_path: Path) -> None:
    """Steps that are done are not done again, and the error falls below the start's."""
    pixels, shots = footage(tmp_path / "footage", clips=3, frames=8, seed=0)
    assert len(shots) == 3 and pixels.shape[:2] == (3, 8)
    torch.manual_seed(0)
    vae = AutoencoderTubelet(z_dim=8, encoder_width=32, decoder_width=32, encoder_blocks=1, decoder_blocks=1)
    train_tubelet(vae, pixels, 4, tmp_path / "vae", batch=2)
    again = AutoencoderTubelet(
        z_dim=8, encoder_width=32, decoder_width=32, encoder_blocks=1, decoder_blocks=1
    )
    train_tubelet(again, pixels, 4, tmp_path / "vae", batch=2)
    for a, b in zip(vae.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
