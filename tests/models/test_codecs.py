"""Streaming codecs against the autoencoders' own one-shot calls.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, N pixel frames
"""

from collections.abc import Sequence

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from longtake.models.base import Decoder, Encoder
from longtake.models.codecs import WanDecoder, WanEncoder, new_decoder, new_encoder
from longtake.models.wan import WanModel
from portable import close, rounding

WAN_2_2 = {
    "is_residual": True,
    "patch_size": 2,
    "in_channels": 12,
    "out_channels": 12,
    "scale_factor_spatial": 16,
}


@pytest.fixture(scope="module", params=["Wan 2.1", "Wan 2.2"])
def vae(request: pytest.FixtureRequest, wan_model: WanModel) -> AutoencoderKLWan:
    if request.param == "Wan 2.1":
        return wan_model.vae
    torch.manual_seed(3)
    return AutoencoderKLWan.from_config({**wan_model.vae.config, **WAN_2_2}).eval()


def row(values: Sequence[float]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1, 1)


def pushed(codec: Decoder | Encoder, whole: Tensor, sizes: Sequence[int]) -> Tensor:
    return torch.cat([codec.push(portion) for portion in whole.split(sizes, dim=2)], dim=2)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[6], [1] * 6, [1, 3, 2], [4, 2]])
def test_wan_decoder_equals_one_shot(vae: AutoencoderKLWan, sizes: list[int]) -> None:
    """Portions of any size, through our own cache, are `vae.decode` of the whole."""
    latents = torch.randn(2, vae.config.z_dim, 6, 4, 6)

    def decoded() -> Tensor:
        scaled = latents * row(vae.config.latents_std) + row(vae.config.latents_mean)
        return vae.decode(scaled).sample

    whole = decoded()
    frames = pushed(WanDecoder(vae), latents, sizes)
    side = vae.config.scale_factor_spatial
    assert frames.shape == (2, 3, 21, 4 * side, 6 * side)
    assert frames.std() > 0.01
    close(frames, whole, rounding(decoded, vae, latents, makers=2))


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[17], [1, 4, 4, 4, 4], [3, 1, 6, 2, 5], [16, 1]])
def test_wan_encoder_equals_one_shot(vae: AutoencoderKLWan, sizes: list[int]) -> None:
    """Frames wait until they fill a latent, which is the mean that `vae.encode` of the whole finds."""
    frames = torch.rand(2, 3, 17, 32, 48) * 2 - 1

    def encoded() -> Tensor:
        mean = vae.encode(frames).latent_dist.mean
        return (mean - row(vae.config.latents_mean)) / row(vae.config.latents_std)

    whole = encoded()
    latents = pushed(WanEncoder(vae), frames, sizes)
    assert latents.shape == whole.shape == (2, vae.config.z_dim, 5, *latents.shape[3:])
    close(latents, whole, rounding(encoded, vae, frames, makers=2))


@torch.no_grad()
def test_two_films_share_one_autoencoder(vae: AutoencoderKLWan) -> None:
    """The cache belongs to the film: another film, or a one-shot call in between, changes nothing."""
    latents = torch.randn(2, 1, vae.config.z_dim, 3, 2, 2)
    alone = [pushed(WanDecoder(vae), film, [3]) for film in latents]
    decoders = WanDecoder(vae), WanDecoder(vae)
    films: tuple[list[Tensor], list[Tensor]] = ([], [])
    for i in range(3):
        for decoder, film, portions in zip(decoders, latents, films, strict=True):
            portions.append(decoder.push(film[:, :, i : i + 1]))
        vae.decode(latents[0])
    assert all(
        torch.equal(torch.cat(portions, dim=2), film) for portions, film in zip(films, alone, strict=True)
    )


@torch.no_grad()
def test_wan_caches_stop_growing(vae: AutoencoderKLWan) -> None:
    """After the second latent a codec holds the same amount for ever, and no view of anything larger."""

    def held(codec: WanDecoder | WanEncoder) -> int:
        return sum(entry.untyped_storage().nbytes() for entry in codec._cache if isinstance(entry, Tensor))

    decoder, encoder = WanDecoder(vae), WanEncoder(vae)
    sizes = []
    for _ in range(12):
        encoder.push(decoder.push(torch.randn(1, vae.config.z_dim, 2, 2, 2)))
        sizes.append((held(decoder), held(encoder)))
    assert sizes[0] == sizes[-1]
    assert min(sizes[0]) > 0


@torch.no_grad()
def test_tubelet_codec_equals_one_shot(tubelet_model: WanModel) -> None:
    """Each latent stands alone, so portions make no difference; frames wait for their tubelet."""
    vae = tubelet_model.vae
    mean, std = row(vae.config["latents_mean"]), row(vae.config["latents_std"])
    latents = torch.randn(2, 4, 6, 2, 4)
    frames = pushed(new_decoder(vae), latents, [1, 3, 2])
    assert frames.shape == (2, 3, 24, 16, 32)

    def decoded() -> Tensor:
        return vae.decode(latents * std + mean).clamp(-1, 1)

    def encoded() -> Tensor:
        return (vae.encode(frames) - mean) / std

    close(frames, decoded(), rounding(decoded, vae, latents))
    back = pushed(new_encoder(vae), frames, [1, 2, 9, 4, 8])
    close(back, encoded(), rounding(encoded, vae, frames))


def test_frames_too_few_for_a_latent_give_none(wan_model: WanModel, tubelet_model: WanModel) -> None:
    """An encoder that has nothing yet returns no latents, of the right size, instead of failing."""
    frames = torch.zeros(1, 3, 3, 16, 32)
    assert tubelet_model.encoder().push(frames).shape == (1, 4, 0, 2, 4)
    encoder = wan_model.encoder()
    assert encoder.push(frames).shape == (1, 4, 1, 2, 4)
    assert encoder.push(frames[:, :, :1]).shape == (1, 4, 0, 2, 4)
