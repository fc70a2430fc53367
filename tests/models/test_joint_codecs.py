"""Streaming codecs of CogVideoX and HunyuanVideo against the autoencoders' own one-shot calls.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from joint import CHANNELS, cogvideox_vae, hunyuan15_vae, hunyuan_vae
from longtake.models.joint import hunyuan15_codec
from longtake.models.joint.cogvideox_codec import CogVideoXDecoder, CogVideoXEncoder
from longtake.models.joint.hunyuan15_codec import HunyuanVideo15Decoder, HunyuanVideo15Encoder
from longtake.models.joint.hunyuan_codec import HunyuanVideoDecoder, HunyuanVideoEncoder
from portable import close, rounding

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Codec:
    """An autoencoder, its codecs, and numbers of latents of which they do as the autoencoder does in one shot."""

    make: Callable[[], Any]
    decoder: type
    encoder: type
    latents: tuple[int, ...]
    side: int = 8


CODECS = {
    "CogVideoX": Codec(cogvideox_vae, CogVideoXDecoder, CogVideoXEncoder, (7, 1)),
    "HunyuanVideo": Codec(hunyuan_vae, HunyuanVideoDecoder, HunyuanVideoEncoder, (8, 7, 5, 3, 1)),
    "HunyuanVideo-1.5": Codec(hunyuan15_vae, HunyuanVideo15Decoder, HunyuanVideo15Encoder, (6,), side=16),
}


@pytest.fixture(scope="module", params=CODECS.values(), ids=list(CODECS))
def codec(request: pytest.FixtureRequest) -> Codec:
    codec: Codec = request.param
    return codec


@pytest.fixture(scope="module")
def vae(codec: Codec) -> Any:
    torch.manual_seed(6)
    return codec.make()


def pushed(codec: Any, whole: Tensor, size: int) -> Tensor:
    """In portions of a size, the last one what is left, and with what the codec has kept back."""
    made = [codec.push(portion) for portion in whole.split(size, dim=2)]
    return torch.cat([*made, *codec.rest()], dim=2)


@torch.no_grad()
def test_decoder_equals_one_shot(codec: Codec, vae: Any) -> None:
    """Portions of any size, with the rest, are `vae.decode` of the whole."""
    for count in codec.latents:
        latents = torch.randn(1, CHANNELS, count, 2, 3)

        def decoded(latents: Tensor = latents) -> Tensor:
            return vae.decode(latents / vae.config.scaling_factor).sample.clamp(-1, 1)

        whole, tolerance = decoded(), rounding(decoded, vae, latents, makers=1)
        assert whole.shape == (1, 3, 4 * count - 3, 2 * codec.side, 3 * codec.side)
        assert whole.std() > 0.01
        for size in (1, 3, 8):
            close(pushed(codec.decoder(vae), latents, size), whole, tolerance)


@torch.no_grad()
def test_encoder_equals_one_shot(codec: Codec, vae: Any) -> None:
    """Frames wait until they fill a portion, whose latents are the means that `vae.encode` of the whole finds."""
    for count in codec.latents:
        frames = torch.rand(1, 3, 4 * count - 3, 2 * codec.side, 3 * codec.side) * 2 - 1

        def encoded(frames: Tensor = frames) -> Tensor:
            return vae.encode(frames).latent_dist.mean * vae.config.scaling_factor

        whole, tolerance = encoded(), rounding(encoded, vae, frames, makers=1)
        for size in (1, 11, 29):
            latents = pushed(codec.encoder(vae), frames, size)
            assert latents.shape == (1, CHANNELS, count, 2, 3)
            close(latents, whole, tolerance)


@torch.no_grad()
def test_any_number_of_latents_is_as_many_frames(codec: Codec, vae: Any) -> None:
    """Of numbers that are not whole portions too."""
    for count in range(1, 7):
        decoder, encoder = codec.decoder(vae), codec.encoder(vae)
        latents = torch.randn(1, CHANNELS, count, 2, 2)
        frames = pushed(decoder, latents, 1)
        assert frames.shape[2] == 4 * count - 3
        assert pushed(encoder, frames, 2).shape == latents.shape


@torch.no_grad()
def test_films_stop_and_go_on(codec: Codec, vae: Any) -> None:
    """From its state, saved and loaded, a codec goes on to the same bits; films share an autoencoder; too few frames
    give no latents, of the right size."""
    latents = torch.randn(1, CHANNELS, 9, 2, 3)
    whole, stopped = codec.decoder(vae), codec.decoder(vae)
    assert stopped.state() == {}
    made = [whole.push(latent) for latent in latents.split(1, dim=2)]
    encoder, encoding = codec.encoder(vae), codec.encoder(vae)
    film = torch.cat(made, dim=2).split(3, dim=2)
    coded = [encoder.push(frames) for frames in film]
    for i in (0, 4, 6):
        stopped = codec.decoder(vae)
        for latent in latents[:, :, :i].split(1, dim=2) if i else ():
            stopped.push(latent)
        another = codec.decoder(vae)
        another.restore(load(save(stopped.state())))
        assert all(torch.equal(another.push(latents[:, :, k : k + 1]), made[k]) for k in range(i, 9))
    encoding.push(film[0])
    another = codec.encoder(vae)
    another.restore(load(save(encoding.state())))
    assert all(torch.equal(another.push(frames), coded[i]) for i, frames in enumerate(film) if i)
    waits = codec.encoder(vae)
    waits.push(torch.zeros(1, 3, 1, 32, 48))
    assert waits.push(torch.zeros(1, 3, 1, 32, 48)).shape[1:] == (
        CHANNELS,
        0,
        32 // codec.side,
        48 // codec.side,
    )


@torch.no_grad()
def test_memory_stops_growing(codec: Codec, vae: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A codec comes to hold the same amount for ever, and no view of anything larger."""
    monkeypatch.setattr(hunyuan15_codec, "SEEN", 3)

    def held(codec: Any) -> int:
        return sum(entry.untyped_storage().nbytes() for entry in codec.state().values())

    decoder, encoder = codec.decoder(vae), codec.encoder(vae)
    sizes = []
    for _ in range(9):
        frames = decoder.push(torch.randn(1, CHANNELS, 2, 2, 2))
        if frames.shape[2]:
            encoder.push(frames)
        sizes.append((held(decoder), held(encoder)))
    assert sizes[2] != (0, 0)
    assert sizes[2] == sizes[5] == sizes[8]


@torch.no_grad()
def test_copies_of_the_first_latent() -> None:
    """Where a film's first latent is a copy, it is no frames; and a clip's latents begin with one."""
    vae = cogvideox_vae()
    latents = torch.randn(1, CHANNELS, 5, 2, 2)
    copied = torch.cat([latents[:, :, :1], latents], dim=2)
    frames = pushed(CogVideoXDecoder(vae), latents, 5)
    assert torch.equal(pushed(CogVideoXDecoder(vae, copies=1), copied, 2), frames)
    coded = pushed(CogVideoXEncoder(vae), frames, 17)
    with_copy = pushed(CogVideoXEncoder(vae, copies=1), frames, 4)
    assert torch.equal(with_copy, torch.cat([coded[:, :, :1], coded], dim=2))


@torch.no_grad()
def test_attention_sees_so_many_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond as many latents as it remembers, a film's frames do not depend on how it was pushed, and are not those of
    attention to everything."""
    monkeypatch.setattr(hunyuan15_codec, "SEEN", 2)
    torch.manual_seed(6)
    vae, latents = hunyuan15_vae(), torch.randn(1, CHANNELS, 6, 2, 2)

    def whole() -> Tensor:
        return pushed(HunyuanVideo15Decoder(vae), latents, 6)

    close(pushed(HunyuanVideo15Decoder(vae), latents, 1), whole(), rounding(whole, vae, latents, makers=2))
    everything = vae.decode(latents / vae.config.scaling_factor).sample.clamp(-1, 1)
    assert not torch.allclose(whole(), everything, atol=1e-4)
