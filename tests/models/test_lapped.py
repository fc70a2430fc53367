"""The lapped autoencoder: borders are turned, orthogonally; streaming is exact; training starts as a linear map.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from longtake.models.small.lapped import AutoencoderLapped, LappedDecoder, LappedEncoder, in_space, lapped
from longtake.pictures import to_tensor
from longtake.training.autoencoder import psnr
from longtake.training.lapped import start_from_components
from portable import close, rounding
from tiny import lapped_autoencoder

pytestmark = pytest.mark.slow

Z = 6


@pytest.fixture(scope="module")
def vae() -> AutoencoderLapped:
    """Tiny, and every part of it at work."""
    torch.manual_seed(0)
    vae = lapped_autoencoder(Z, 16, mean=0.5, std=2.0)
    for parameter in vae.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return vae.eval()


def test_the_turn_is_orthogonal() -> None:
    """What is turned has the norm of what was, is another, and is turned back to it."""
    frames = torch.randn(2, 3, 12, 32, 48, dtype=torch.float64)
    turned = lapped(frames, 2, 4, 2)
    assert not torch.allclose(turned, frames)
    assert turned.norm().item() == pytest.approx(frames.norm().item(), rel=1e-6)
    torch.testing.assert_close(lapped(turned, 2, 4, 2, back=True), frames, rtol=0, atol=1e-5)
    torch.testing.assert_close(in_space(in_space(frames), back=True), frames, rtol=0, atol=1e-5)


def test_what_is_the_same_on_both_sides_is_left_alone() -> None:
    """An even picture has no borders to hide; nor are first and last places, which have one neighbour, ever touched."""
    assert torch.equal(lapped(torch.full((1, 16), 0.3), 1, 4, 2), torch.full((1, 16), 0.3))
    row = torch.arange(12.0)
    turned = lapped(row, 0, 4, 2)
    assert torch.equal(turned[:2], row[:2]) and torch.equal(turned[-2:], row[-2:])
    assert not torch.equal(turned[2:-2], row[2:-2])


def test_the_turn_of_two_by_hand() -> None:
    """With a reach of two, differences (d0, d1), counted from the border, are turned by an eighth of pi."""
    cos, sin = np.cos(np.pi / 8), np.sin(np.pi / 8)
    for d0, d1 in ((1.0, 0.0), (0.0, 1.0)):
        turned = lapped(torch.tensor([0.0, 0.0, -d1, -d0, d0, d1, 0.0, 0.0], dtype=torch.float64), 0, 4, 2)
        wanted = torch.tensor([cos * d0 + sin * d1, cos * d1 - sin * d0], dtype=torch.float64)
        assert torch.allclose(turned[4:6].abs(), wanted.abs(), atol=1e-6)
        assert torch.equal(turned[2:4], -turned[4:6].flip(0))


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[30], [1] * 30, [1, 3, 9, 2, 15], [5, 1, 24]])
def test_encoder_equals_one_shot(vae: AutoencoderLapped, sizes: list[int]) -> None:
    """A latent is known two frames after its own: 4n + 2 frames are n latents, those that `encode` finds."""
    frames = torch.rand(1, 3, 30, 32, 32) * 2 - 1

    def encoded() -> Tensor:
        whole = torch.cat([frames, torch.zeros(1, 3, 2, 32, 32)], dim=2)
        return (vae.encode(whole)[:, :, :7] - 0.5) / 2

    encoder = LappedEncoder(vae)
    latents = torch.cat([encoder.push(portion) for portion in frames.split(sizes, dim=2)], dim=2)
    assert latents.shape == (1, Z, 7, 2, 2)
    close(latents, encoded(), rounding(encoded, vae, frames, makers=2))


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[6], [1] * 6, [1, 3, 2], [4, 2]])
def test_decoder_equals_one_shot(vae: AutoencoderLapped, sizes: list[int]) -> None:
    """n latents are 4n - 2 frames, in portions of any size: those that `decode` makes of the whole."""
    latents = torch.randn(2, Z, 6, 2, 3)

    def decoded() -> Tensor:
        return vae.decode(latents * 2 + 0.5).clamp(-1, 1)

    decoder = LappedDecoder(vae)
    frames = torch.cat([decoder.push(portion) for portion in latents.split(sizes, dim=2)], dim=2)
    assert frames.shape == (2, 3, 22, 32, 48)
    close(frames, decoded(), rounding(decoded, vae, latents, makers=2))


@torch.no_grad()
def test_a_latent_reaches_into_its_neighbours_and_no_further(vae: AutoencoderLapped) -> None:
    """Of latent 2 know the blocks of latents 2 and 3, frames 8 to 15; the turn reaches two further on either side, and
    what sees the four frames before carries it on to frame 21."""
    latents = torch.randn(1, Z, 6, 2, 2)
    changed = latents.clone()
    changed[:, :, 2] += 1
    moved = (vae.decode(latents) - vae.decode(changed)).abs().amax((0, 1, 3, 4)) > 1e-6
    first, last = moved.nonzero()[0].item(), moved.nonzero()[-1].item()
    assert (first, last) == (6, 21)


def test_training_starts_as_principal_components() -> None:
    """Before its first step it is a linear map, which gives back all of a picture that has no more dimensions than it
    has channels, up to every edge and over every border."""
    rng = np.random.default_rng(0)
    faces = np.stack([_smooth(rng) for _ in range(3)])
    weights = rng.uniform(0.2, 0.3, size=(5, 3))
    footage = np.clip(np.einsum("cb,bthwk->cthwk", weights, faces), 0, 255).round().astype(np.uint8)
    torch.manual_seed(0)
    vae = AutoencoderLapped(z_dim=128, encoder_width=16, decoder_widths=(16, 16, 16), last_width=16)
    start_from_components(vae, footage)
    frames = to_tensor(footage)
    with torch.no_grad():
        assert psnr(vae(frames), frames[:, :, :-2]) > 40


def _smooth(rng: np.random.Generator) -> np.ndarray:
    """A clip (8, 32, 48, 3) of moving waves, 0 to 255."""
    t, y, x = np.meshgrid(*(np.arange(n) for n in (8, 32, 48)), indexing="ij")
    waves = [np.sin(0.1 * (t + rng.uniform(0.5, 1) * y + rng.uniform(0.5, 1) * x + i)) for i in range(3)]
    return np.stack(waves, axis=-1) * 127 + 128


def test_saved_and_loaded_it_is_the_same(vae: AutoencoderLapped, tmp_path: Path) -> None:
    """It is an ordinary diffusers model: a folder of config and safetensors."""
    vae.save_pretrained(tmp_path)
    again = AutoencoderLapped.from_pretrained(tmp_path, use_safetensors=True)
    torch.testing.assert_close(again.state_dict(), vae.state_dict(), rtol=0, atol=0)
