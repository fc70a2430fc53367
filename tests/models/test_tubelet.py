"""The tubelet autoencoder: each latent frame stands alone, and training starts from principal components."""

from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.models.small.tubelet import AutoencoderTubelet
from longtake.pictures import to_tensor
from longtake.training.autoencoder import psnr
from longtake.training.tubelet import principal_components, start_from_pca
from longtake.worlds.tracking_shot.shot import Shot
from portable import close, rounding

pytestmark = pytest.mark.slow


def tiny() -> AutoencoderTubelet:
    torch.manual_seed(0)
    vae = AutoencoderTubelet(z_dim=6, encoder_width=16, decoder_width=16, encoder_blocks=1, decoder_blocks=1)
    for parameter in vae.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return vae.eval()


def test_latent_frames_are_independent() -> None:
    """A change of one latent frame changes its own four pixel frames and no other."""
    vae, latents = tiny(), torch.randn(1, 6, 3, 2, 4)
    changed = latents.clone()
    changed[:, :, 1] += 1
    with torch.no_grad():
        moved = (vae.decode(latents) - vae.decode(changed)).abs().amax((0, 1, 3, 4)) > 0
    assert moved.tolist() == [False] * 4 + [True] * 4 + [False] * 4


def test_shapes() -> None:
    """4 x 8 x 8 pixels make one latent, there and back, in batches."""
    vae, frames = tiny(), torch.randn(2, 3, 8, 16, 32)
    assert vae.encode(frames).shape == (2, 6, 2, 2, 4)
    assert vae(frames).shape == frames.shape


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    """It is an ordinary diffusers model: a folder of config and safetensors."""
    vae, frames = tiny(), torch.randn(1, 3, 4, 16, 16)
    vae.save_pretrained(tmp_path)
    again = AutoencoderTubelet.from_pretrained(tmp_path, use_safetensors=True)
    torch.testing.assert_close(again.state_dict(), vae.state_dict(), rtol=0, atol=0)
    with torch.no_grad():
        close(vae(frames), again.eval()(frames), rounding(lambda: vae(frames), vae, frames))


def test_training_starts_as_principal_components() -> None:
    """Before its first step the network reproduces the picture as well as a PCA of as many numbers, no worse."""
    shots = [
        Shot("car", "red", "hills", time, "clear", "steady", seed=i)
        for i, time in enumerate(("noon", "dusk"))
    ]
    footage = np.stack([shot.render(0, 8) for shot in shots])
    torch.manual_seed(0)
    vae = AutoencoderTubelet(z_dim=8, encoder_width=768, decoder_width=16, encoder_blocks=1, decoder_blocks=1)
    start_from_pca(vae, footage)
    frames = to_tensor(footage[:, :4])
    mean, components, _ = principal_components(footage)
    rows = torch.nn.functional.pixel_unshuffle(frames.flatten(1, 2), 8).movedim(1, -1) - mean
    lost = (rows - rows @ components[:, :8] @ components[:, :8].T).square().mean()
    with torch.no_grad():
        assert abs(psnr(vae(frames), frames) + 10 * float(torch.log10(lost / 4))) < 0.01
