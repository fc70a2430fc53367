"""LTX's streaming codecs against the autoencoders' own one-shot calls.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLLTX2Video, AutoencoderKLLTXVideo
from torch import Tensor

from longtake.models.base import stored
from longtake.models.codecs import denormalised
from longtake.models.ltx.codec import DECODE_NOISE_SCALE, LTXDecoder, LTXEncoder, place_noise
from longtake.models.ltx.layers import DECODE_TIMESTEP, delay_latents
from portable import close, rounding

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[1] / "data" / "configs"
# The published forms, as few and as narrow layers as they may have.
LTX_0_9_0 = {
    "latent_channels": 8,
    "block_out_channels": (8, 16, 16, 16),
    "decoder_block_out_channels": (8, 16, 32, 32),
    "layers_per_block": (1, 1, 1, 1, 1),
    "decoder_layers_per_block": (1, 1, 1, 1, 1),
}
LTX_0_9_1 = {
    **LTX_0_9_0,
    "decoder_block_out_channels": (16, 32, 64),
    "decoder_layers_per_block": (1, 1, 1, 1),
    "decoder_spatio_temporal_scaling": (True, True, True),
    "decoder_inject_noise": (True, True, True, False),
    "upsample_residual": (True, True, True),
    "upsample_factor": (2, 2, 2),
    "timestep_conditioning": True,
}
LTX_0_9_5 = {
    **LTX_0_9_1,
    "block_out_channels": (8, 16, 32, 64, 128),
    "down_block_types": ("LTXVideo095DownBlock3D",) * 4,
    "spatio_temporal_scaling": (True, True, True, True),
    "decoder_inject_noise": (False, False, False, False),
    "downsample_type": ("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
    "spatial_compression_ratio": 32,
    "temporal_compression_ratio": 8,
}
LTX_2 = {
    "latent_channels": 8,
    "block_out_channels": (16, 32, 64, 64),
    "decoder_block_out_channels": (16, 32, 64),
    "layers_per_block": (1, 1, 1, 1, 1),
    "decoder_layers_per_block": (1, 1, 1, 1),
    "decoder_causal": False,
}
LTX_2_3 = {
    **LTX_2,
    "decoder_block_out_channels": (16, 32, 32, 64),
    "decoder_layers_per_block": (1, 1, 1, 1, 1),
    "decoder_spatio_temporal_scaling": (True, True, True, True),
    "decoder_inject_noise": (False,) * 5,
    "upsample_type": ("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
    "upsample_residual": (False,) * 4,
    "upsample_factor": (2, 2, 1, 2),
    "decoder_spatial_padding_mode": "zeros",
}
FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "LTX-Video 0.9.0": (AutoencoderKLLTXVideo, LTX_0_9_0),
    "LTX-Video 0.9.1": (AutoencoderKLLTXVideo, LTX_0_9_1),
    "LTX-Video 0.9.5": (AutoencoderKLLTXVideo, LTX_0_9_5),
    "LTX-2": (AutoencoderKLLTX2Video, LTX_2),
    "LTX-2, causal": (AutoencoderKLLTX2Video, {**LTX_2, "decoder_causal": True}),
    "LTX-2.3": (AutoencoderKLLTX2Video, LTX_2_3),
}


def made(name: str, **changed: Any) -> Any:
    """Louder than it is made, so that it does something."""
    torch.manual_seed(7)
    kind, config = FORMS[name]
    vae = kind(**config, **changed).eval().requires_grad_(False)
    for weights in vae.parameters():
        if weights.ndim > 1:
            weights.mul_(1.5)
    vae.latents_mean.normal_()
    vae.latents_std.uniform_(0.5, 2)
    return vae


@pytest.fixture(scope="module", params=FORMS)
def vae(request: pytest.FixtureRequest) -> Any:
    return made(request.param)


@pytest.fixture(scope="module", params=["LTX-Video 0.9.1", "LTX-2.3"])
def either(request: pytest.FixtureRequest) -> Any:
    """One of each class, of layers that differ most."""
    return made(request.param)


def side(vae: Any) -> tuple[int, int]:
    """The smallest latents: reflected borders need two."""
    return (2, 2) if vae.config.get("decoder_spatial_padding_mode") == "reflect" else (1, 1)


def decoded(vae: Any, latents: Tensor) -> Tensor:
    """By one call, with the noise that is each latent's."""
    raw = denormalised(vae, latents)
    if vae.config.timestep_conditioning:
        raw = torch.lerp(raw, place_noise(raw, 0), DECODE_NOISE_SCALE)
    frames: Tensor = vae.decode(raw, torch.full((len(raw),), DECODE_TIMESTEP)).sample
    return frames.clamp(-1, 1)


def pushed(codec: LTXDecoder | LTXEncoder, whole: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    return [codec.push(portion) for portion in whole.split(list(sizes), dim=2)]


@pytest.mark.parametrize("sizes", [[1] * 11, [1, 5, 2, 3]])
def test_decoder_and_its_rest_equal_one_shot(vae: Any, sizes: list[int]) -> None:
    """Portions of any size, and what is given at the end, are `vae.decode` of the whole."""
    latents = torch.randn(2, 8, 11, *side(vae))
    decoder = LTXDecoder(vae)
    frames = torch.cat([*pushed(decoder, latents, sizes), *decoder.rest()], dim=2)
    whole = decoded(vae, latents)
    assert frames.shape == whole.shape == (2, 3, 81, *(32 * n for n in side(vae)))
    assert frames.std() > 0.1
    close(frames, whole, rounding(lambda: decoded(vae, latents), vae, latents, makers=1))


@pytest.mark.parametrize("sizes", [[25], [3, 1, 13, 8]])
def test_encoder_equals_one_shot(vae: Any, sizes: list[int]) -> None:
    """Frames wait until they fill a latent, which is the mean that `vae.encode` of the whole finds."""
    frames = torch.rand(2, 3, 25, 64, 32) * 2 - 1

    def encoded() -> Tensor:
        mean, std = (x.view(1, -1, 1, 1, 1) for x in (vae.latents_mean, vae.latents_std))
        coded: Tensor = (vae.encode(frames).latent_dist.mean - mean) / std
        return coded

    latents = torch.cat(pushed(LTXEncoder(vae), frames, sizes), dim=2)
    assert latents.shape == (2, 8, 4, 2, 1)
    close(latents, encoded(), rounding(encoded, vae, frames, makers=1))


def test_delay(either: Any) -> None:
    """A latent's frames are there when so many have followed, and no later; that many change them, fewer would not be
    enough."""
    latents, ahead = torch.randn(1, 8, 16, *side(either)), delay_latents(either)
    counts = [frames.shape[2] for frames in pushed(LTXDecoder(either), latents, [1] * 16)]
    known = [sum(counts[: i + 1]) for i in range(16)]
    assert all(known[i] >= 8 * (i - ahead) + 1 for i in range(ahead, 16))
    assert all(known[i] < max(1, 8 * (i - ahead + 1) + 1) for i in range(16))
    whole = decoded(either, latents)[:, :, :33]
    enough, half = (
        (decoded(either, latents[:, :, : 5 + n])[:, :, :33] - whole).abs().max() for n in (ahead, ahead // 2)
    )
    assert enough < 1e-5
    assert half > 1e-3 or not ahead


def test_codecs_stop_growing(either: Any) -> None:
    """A codec holds the same amount for ever, and no view of anything larger."""
    decoder, encoder, sizes = LTXDecoder(either), LTXEncoder(either), []
    for _ in range(20):
        decoder.push(torch.randn(1, 8, 1, *side(either)))
        encoder.push(torch.rand(1, 3, 8, 32, 32))
        held = [*decoder.state().values(), *encoder.state().values()]
        sizes.append(sum(x.untyped_storage().nbytes() for x in held))
    assert sizes[-3] == sizes[-2] == sizes[-1]


@pytest.mark.parametrize("first", [2, 19])
def test_a_state_is_the_film_so_far(either: Any, first: int) -> None:
    """Restored in another codec, it goes on to the same bits, and so does the little of it that a file keeps."""
    latents = torch.randn(1, 8, first + 3, *side(either))
    decoder, other, little = LTXDecoder(either), LTXDecoder(either), LTXDecoder(either)
    pushed(decoder, latents[:, :, :first], [1, first - 1])
    other.restore(decoder.state())
    little.restore({name: x for name, x in decoder.state().items() if name in ("recent", "coded")})
    later = latents[:, :, first:]
    made = [
        torch.cat([*pushed(each, later, [2, 1]), *each.rest()], dim=2) for each in (decoder, other, little)
    ]
    assert torch.equal(made[0], made[1]) and torch.equal(made[0], made[2])
    assert first == 2 or stored(decoder.state()).keys() == {"recent", "coded"}


def test_a_film_of_one_latent(either: Any) -> None:
    latents, decoder = torch.randn(1, 8, 1, *side(either)), LTXDecoder(either)
    frames = torch.cat([decoder.push(latents), *decoder.rest()], dim=2)
    close(frames, decoded(either, latents), rounding(lambda: decoded(either, latents), either, latents))


def test_noise_of_layers_stands_still() -> None:
    """The noise that layers of LTX-Video 0.9.1 add is the same for all frames, in all portions."""
    vae = made("LTX-Video 0.9.1")
    for name, weights in vae.named_parameters():
        if "per_channel_scale" in name:
            weights.fill_(0.5)
    vae.register_to_config(timestep_conditioning=False)  # nothing else that changes from latent to latent
    latents = torch.randn(1, 8, 1, *side(vae)).expand(-1, -1, 20, -1, -1)
    decoder = LTXDecoder(vae)
    frames = torch.cat([*pushed(decoder, latents, [1, 5, 2, 12]), *decoder.rest()], dim=2)
    of_latents = frames[:, :, 1:].unflatten(2, (19, 8))[:, :, 8:12]
    assert (of_latents - of_latents[:, :, :1]).abs().max() < 1e-4
    assert (frames - decoded(made("LTX-Video 0.9.1"), latents)).abs().max() > 0.1


@pytest.mark.parametrize(
    ("name", "delay"),
    [("video-0.9.0", 24), ("video-0.9.1", 31), ("video-0.9.5", 22), ("2", 22), ("2.3", 14)],
)
def test_delays_of_the_released_ones(name: str, delay: int) -> None:
    """In latents of eight frames, read off the published configurations."""
    config = json.loads((CONFIGS / f"ltx-{name}.json").read_text())["vae"]
    kind = AutoencoderKLLTXVideo if "video" in name else AutoencoderKLLTX2Video
    with torch.device("meta"):
        assert delay_latents(kind.from_config(config)) == delay
