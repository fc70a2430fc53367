"""Streaming codecs against the autoencoders' own one-shot calls.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, N pixel frames
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load, save
from torch import Tensor

from longtake.models.base import PICTURES, RECENT, Decoder, Encoder, stored
from longtake.models.codecs import new_decoder, new_encoder
from longtake.models.small.lapped import AutoencoderLapped
from longtake.models.wan.codec import WanDecoder, WanEncoder, decoder_reach, encoder_reach
from longtake.models.wan.model import WanModel
from portable import close, rounding
from tiny import lapped_autoencoder

pytestmark = pytest.mark.slow

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
    """After the second latent a codec's caches hold the same amount for ever, and so do a decoder's recent latents once
    they are as many as its reach; none is a view of anything larger."""

    def held(codec: WanDecoder | WanEncoder) -> int:
        return sum(entry.untyped_storage().nbytes() for entry in codec.state().values())

    decoder, encoder = WanDecoder(vae), WanEncoder(vae)
    sizes = []
    for _ in range(24):
        encoder.push(decoder.push(torch.randn(1, vae.config.z_dim, 2, 2, 2)))
        sizes.append((held(decoder), held(encoder)))
    assert sizes[0][1] == sizes[-1][1] > 0
    recent = decoder_reach(vae.decoder) - 2
    assert sizes[-1][0] - sizes[0][0] == recent * vae.config.z_dim * 2 * 2 * 4
    assert sizes[-1] == sizes[-4]


@torch.no_grad()
def test_wan_caches_come_of_the_latents_in_reach(vae: AutoencoderKLWan) -> None:
    """Guards the reach, exactly: a latent that is no number leaves the caches with the latent that pushes it out, and
    not before. And states of latents alone, from within the first latents on: the same caches, to the bit."""
    reach, width = decoder_reach(vae.decoder), vae.config.z_dim
    decoder = WanDecoder(vae)
    decoder.push(torch.full((1, width, 1, 2, 2), torch.nan))
    for count in range(1, reach + 1):
        caches = [x for name, x in decoder.state().items() if name != RECENT]
        assert not all(x.isfinite().all() for x in caches), f"{count} of {reach}"
        decoder.push(torch.randn(1, width, 1, 2, 2))
    assert all(x.isfinite().all() for x in decoder.state().values())
    latents = torch.randn(1, width, reach + 8, 2, 2)
    decoder = WanDecoder(vae)
    for done in range(1, reach + 8):
        decoder.push(latents[:, :, done - 1 : done])
        if done not in (1, 2, 5, reach, reach + 7):
            continue
        state, another, after = decoder.state(), WanDecoder(vae), latents[:, :, done : done + 1]
        assert stored(state).keys() == {RECENT} and state[RECENT].shape[2] == min(done, reach)
        another.restore(stored(state))
        same = WanDecoder(vae)
        same.restore(state)
        assert torch.equal(another.push(after), same.push(after))
        assert another.state().keys() == same.state().keys()
        assert all(torch.equal(x, same.state()[name]) for name, x in another.state().items())


@torch.no_grad()
def test_wan_encoders_caches_come_of_the_pictures_in_reach(
    vae: AutoencoderKLWan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the reach, exactly: a first picture that is no number is in the caches as long as it says."""
    monkeypatch.setattr("longtake.models.wan.codec.normalised", lambda vae, raw: raw)
    encoder, side = WanEncoder(vae), vae.config.scale_factor_spatial * 2
    encoder.push(torch.full((1, 3, 1, side, side), torch.nan))
    for behind in range(0, encoder_reach(vae.encoder), 4):
        caches = [x for name, x in encoder.state().items() if name != PICTURES]
        assert not all(x.isfinite().all() for x in caches), f"{behind} of {encoder_reach(vae.encoder)}"
        encoder.push(torch.randn(1, 3, 4, side, side))
    assert all(x.isfinite().all() for x in encoder.state().values())


@torch.no_grad()
def test_a_new_wan_encoder_is_the_same_after_the_pictures_that_its_state_says(vae: AutoencoderKLWan) -> None:
    """Guards states of a number alone: the same caches and the same latents, to the bit, where pictures wait too."""
    reach, side = encoder_reach(vae.encoder), vae.config.scale_factor_spatial * 2
    frames = torch.randn(1, 3, reach + 21, side, side)
    encoder = WanEncoder(vae)
    for done in range(1, reach + 17):
        encoder.push(frames[:, :, done - 1 : done])
        if done not in (1, 3, 5, reach, reach + 8, reach + 14, reach + 16):
            continue
        state = encoder.state()
        assert stored(state).keys() == {PICTURES}
        count = int(state[PICTURES])
        assert count <= min(done, reach + 10)
        another, same = WanEncoder(vae), WanEncoder(vae)
        same.restore(state)
        for frame in frames[:, :, done - count : done].split(1, dim=2):
            another.push(frame)
        after = frames[:, :, done : done + 5]
        assert torch.equal(another.push(after), same.push(after))
        assert another.state().keys() == same.state().keys()
        assert all(torch.equal(x, same.state()[name]) for name, x in another.state().items())


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


def lapped_vae() -> AutoencoderLapped:
    torch.manual_seed(5)
    vae = lapped_autoencoder()
    for parameter in vae.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return vae.eval()


@pytest.fixture(params=["Wan 2.1", "Wan 2.2", "tubelet", "lapped", "open-sora"])
def any_vae(request: pytest.FixtureRequest) -> Any:
    """An autoencoder of each kind that has codecs."""
    match request.param:
        case "tubelet":
            return request.getfixturevalue("tubelet_model").vae
        case "lapped":
            return lapped_vae()
        case "open-sora":
            return request.getfixturevalue("open_sora_model").vae
        case "Wan 2.2":
            torch.manual_seed(3)
            wan = request.getfixturevalue("wan_model").vae
            return AutoencoderKLWan.from_config({**wan.config, **WAN_2_2}).eval()
    return request.getfixturevalue("wan_model").vae


def saved_and_loaded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return load(save({name: x.contiguous() for name, x in state.items()}))


@torch.no_grad()
def test_a_codecs_state_is_the_film_so_far(any_vae: Any) -> None:
    """Stopped after any portion, saved, and restored in another codec, it goes on to the same bits; and what was given
    out is not changed by what is pushed."""
    latents = torch.randn(1, any_vae.config.z_dim, 11, 2, 2)
    frames = torch.rand(1, 3, 37, 32, 32) * 2 - 1
    cases: list[tuple[Callable[[Any], Decoder | Encoder], Tensor, int]] = [
        (new_decoder, latents, 1),
        (new_encoder, frames, 3),
    ]
    for new, whole, size in cases:
        portions = whole.split(size, dim=2)
        made, states = [], []
        codec = new(any_vae)
        for portion in portions:
            states.append((codec.state(), saved_and_loaded(codec.state())))
            made.append(codec.push(portion))
        for stop, (held, loaded) in enumerate(states):
            assert held.keys() == loaded.keys()
            assert all(torch.equal(held[name], loaded[name]) for name in held)
            another = new(any_vae)
            another.restore(loaded)
            assert all(torch.equal(another.push(p), made[i]) for i, p in enumerate(portions) if i >= stop)
