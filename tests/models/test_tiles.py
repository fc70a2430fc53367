"""Large pictures in tiles: streamed as diffusers makes them in one shot, and told.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from joint import CHANNELS, hunyuan_vae
from joint_folders import FOLDERS
from longtake.errors import OptionError
from longtake.models.adapter import Adapter
from longtake.models.base import PICTURES, RECENT, stored
from longtake.models.card.placement import Placement
from longtake.models.codecs import denormalised, new_decoder, new_encoder, normalised
from longtake.models.families import AUTOENCODERS
from longtake.models.joint.hunyuan_codec import HunyuanVideoDecoder, HunyuanVideoEncoder
from longtake.models.load import load_model, read_spec
from longtake.models.wan.codec import WanDecoder, WanEncoder
from longtake.models.wan.model import WanModel
from longtake.options import FilmOptions
from longtake.pipeline import LongTake
from portable import close, rounding

WAN_2_2 = {
    "is_residual": True,
    "patch_size": 2,
    "in_channels": 12,
    "out_channels": 12,
    "scale_factor_spatial": 16,
}
TILED = Placement(tile=True)


def in_small_tiles(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """Of 3 x 4 latents, 2 x 3 from one to the next."""
    side = vae.config.scale_factor_spatial
    vae.enable_tiling(3 * side, 4 * side, 2 * side, 3 * side)
    return vae


@pytest.fixture(scope="module", params=[{}, WAN_2_2], ids=["Wan 2.1", "Wan 2.2"])
def vae(request: pytest.FixtureRequest, wan_model: WanModel) -> AutoencoderKLWan:
    torch.manual_seed(3)
    return in_small_tiles(AutoencoderKLWan.from_config({**wan_model.vae.config, **request.param}).eval())


@torch.no_grad()
def test_decoder_equals_one_shot(vae: AutoencoderKLWan) -> None:
    """Guards tiles that are not cut, remembered or faded as `vae.decode` does: portions of any size are the whole."""
    latents = torch.randn(1, vae.config.z_dim, 4, 5, 6)

    def decoded() -> Tensor:
        return vae.decode(denormalised(vae, latents)).sample

    whole, tolerance = decoded(), rounding(decoded, vae, latents, makers=1)
    for sizes in ([4], [1, 1, 1, 1], [1, 3]):
        decoder = WanDecoder(vae)
        frames = torch.cat([decoder.push(portion) for portion in latents.split(sizes, dim=2)], dim=2)
        close(frames, whole, tolerance)
    assert {name[:9] for name in decoder.state()} == {
        RECENT,
        *(f"tile.{row}.{column}." for row in range(3) for column in range(2)),
    }


@torch.no_grad()
def test_encoder_equals_one_shot(vae: AutoencoderKLWan) -> None:
    """The same of `vae.encode`, whose tiles are twice as large where it makes patches of two by two pixels."""
    side = vae.config.scale_factor_spatial
    frames = torch.rand(1, 3, 9, 5 * side, 8 * side) * 2 - 1

    def encoded() -> Tensor:
        return normalised(vae, vae.encode(frames).latent_dist.mean)

    whole, tolerance = encoded(), rounding(encoded, vae, frames, makers=1)
    for sizes in ([9], [2, 4, 3]):
        encoder = WanEncoder(vae)
        latents = torch.cat([encoder.push(portion) for portion in frames.split(sizes, dim=2)], dim=2)
        close(latents, whole, tolerance)
    assert any(name.startswith("tile.0.1.") for name in encoder.state())


@torch.no_grad()
def test_codecs_go_on_to_the_same_bits(vae: AutoencoderKLWan) -> None:
    """Guards states that lack a tile: those of all caches, and those of latents, or of a number of pictures, alone."""
    latents = torch.randn(1, vae.config.z_dim, 4, 4, 5)
    decoder, encoder = WanDecoder(vae), WanEncoder(vae)
    frames = decoder.push(latents[:, :, :3])
    encoder.push(frames)
    state, coding = decoder.state(), encoder.state()
    after, coded = decoder.push(latents[:, :, 3:]), encoder.push(frames[:, :, :4])
    assert stored(state).keys() == {RECENT} and stored(coding).keys() == {PICTURES}
    for each in (state, stored(state)):
        another = WanDecoder(vae)
        another.restore(each)
        assert torch.equal(another.push(latents[:, :, 3:]), after)
    for count in (0, int(coding[PICTURES])):
        again = WanEncoder(vae)
        if count:
            again.push(frames[:, :, -count:])
        else:
            again.restore(coding)
        assert torch.equal(again.push(frames[:, :, :4]), coded)


@torch.no_grad()
def test_small_pictures_are_whole(vae: AutoencoderKLWan) -> None:
    """Guards what fits a tile: the bits of no tiles at all."""
    latents = torch.randn(1, vae.config.z_dim, 2, 3, 4)
    frames = new_decoder(vae).push(latents)
    coded = new_encoder(vae).push(frames)
    vae.disable_tiling()
    whole = new_decoder(vae).push(latents), new_encoder(vae).push(frames)
    vae.use_tiling = True
    assert torch.equal(frames, whole[0]) and torch.equal(coded, whole[1])


@torch.no_grad()
def test_hunyuan() -> None:
    """The same of HunyuanVideo, whose autoencoder makes its tiles by itself."""
    torch.manual_seed(6)
    vae = hunyuan_vae()
    vae.enable_tiling(tile_sample_min_height=24, tile_sample_stride_height=16)
    latents = torch.randn(1, CHANNELS, 5, 4, 3)

    def decoded() -> Tensor:
        return vae.decode(denormalised(vae, latents)).sample.clamp(-1, 1)

    frames, decoder, encoder = decoded(), HunyuanVideoDecoder(vae), HunyuanVideoEncoder(vae)
    made = torch.cat([decoder.push(latents), *decoder.rest()], dim=2)
    close(made, frames, rounding(decoded, vae, latents, makers=1))

    def encoded() -> Tensor:
        return normalised(vae, vae.encode(frames).latent_dist.mean)

    coded = torch.cat([encoder.push(frames), *encoder.rest()], dim=2)
    close(coded, encoded(), rounding(encoded, vae, frames, makers=1))
    small, films = latents[:, :, :, :3], list[Tensor]()
    vae.tile_sample_stride_height = 8  # so that two tiles begin within the first
    for tiling in (True, False):
        vae.use_tiling = tiling
        decoder = HunyuanVideoDecoder(vae)
        films.append(torch.cat([decoder.push(small), *decoder.rest()], dim=2))
    assert torch.equal(*films)


def test_a_film_says_that_it_was_made_in_tiles(wan_folder: Path, tmp_path: Path) -> None:
    """Guards films that cannot be told from those of whole pictures, and only these; and the switch, by either
    library's autoencoder."""
    film = FilmOptions(prompt="a red car", num_frames=5, width=48, height=32)
    take = LongTake.from_pretrained(wan_folder, tile=True)
    assert isinstance(take.model, Adapter) and take.model.vae.use_tiling
    assert film.resolved(take.model.spec).metadata["tile"] is True
    assert "tile" not in film.resolved(read_spec(wan_folder)).metadata
    joint = load_model(FOLDERS["HunyuanVideo"](tmp_path / "joint"), placement=TILED)
    assert isinstance(joint, Adapter) and joint.vae.use_tiling


def test_others_are_refused(tubelet_folder: Path) -> None:
    """Guards an option that would do nothing, or break pictures."""
    with pytest.raises(OptionError, match="is not filmed in tiles: its autoencoder streams whole pictures"):
        read_spec(tubelet_folder, placement=TILED)
    with pytest.raises(OptionError, match="leave tile out"):
        load_model(tubelet_folder, placement=TILED)
    able = {name for name, record in AUTOENCODERS.items() if record.not_tiled is None}
    assert able == {"AutoencoderKLWan", "AutoencoderKLHunyuanVideo"}
