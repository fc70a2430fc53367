"""Open-Sora's autoencoder against outputs of the released code, and its traps one by one.

tests/data/open_sora holds what that code gave for a tiny model of random weights, in its own names.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from longtake.errors import ModelError, OptionError
from longtake.models.base import Decoder, Encoder
from longtake.models.codecs import new_decoder, new_encoder
from longtake.models.open_sora.autoencoder import (
    AutoencoderOpenSora,
    CausalConv3d,
    DoubleTime,
    OpenSoraDecoder,
    OpenSoraEncoder,
    ResidualBlock,
    latents_of,
)
from longtake.models.open_sora.convert_autoencoder import convert_vae, vae_config
from portable import close, rounding

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data" / "open_sora"
TINY: dict[str, Any] = {
    "block_out_channels": (8, 8, 16, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "temporal_width": 4,
    "temporal_layers_per_block": 2,
    "temporal_norm_num_groups": 2,
}
Agree = Callable[[Tensor, Tensor], None]
LATENTS = {34: 10, 27: 8, 17: 5, 16: 4, 10: 3, 1: 1}


def floats(name: str) -> dict[str, Tensor]:
    return {key: tensor.float() for key, tensor in load_file(DATA / f"{name}.safetensors").items()}


@pytest.fixture(scope="module")
def original() -> dict[str, Tensor]:
    """The tiny model's weights, under their original names."""
    return floats("vae_tiny_state_dict")


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    """What the released code was given, and gave."""
    return floats("vae_tiny_io")


@pytest.fixture(scope="module")
def vae(original: dict[str, Tensor]) -> AutoencoderOpenSora:
    model = AutoencoderOpenSora(**TINY).eval().requires_grad_(False)
    model.load_state_dict(convert_vae(original, TINY))
    return model


@pytest.fixture(scope="module")
def agree(vae: AutoencoderOpenSora, golden: dict[str, Tensor]) -> Agree:
    """Fails if two results of the tiny model differ by more than rounding moves what comes out of it."""
    pixels, z = golden["pixels"], golden["z"]
    tolerance = rounding(lambda: [vae.encode(pixels), vae.decode(z, 34)], vae, pixels, z)
    assert tolerance < 1e-4
    return lambda ours, theirs: close(ours, theirs, tolerance)


def pushed(codec: Decoder | Encoder, whole: Tensor, sizes: Sequence[int]) -> Tensor:
    return torch.cat([codec.push(portion) for portion in whole.split(sizes, dim=2)], dim=2)


@pytest.mark.parametrize("num_frames", LATENTS)
def test_means(vae: AutoencoderOpenSora, golden: dict[str, Tensor], num_frames: int, agree: Agree) -> None:
    """Guards scale, statistics, levels and the zeros in front: whole groups, and tails that fill a latent or not."""
    latents = vae.encode(golden["pixels"][:, :, :num_frames])
    assert latents.shape[2] == latents_of(num_frames) == LATENTS[num_frames]
    agree(latents, golden[f"encode_mean_{num_frames}"])


def test_samples(vae: AutoencoderOpenSora, golden: dict[str, Tensor], agree: Agree) -> None:
    """Guards both deviations: the noise of pictures enters before their scale, each group has its own of latents."""
    noise = golden["noise_2d"].transpose(0, 1)[None], golden["noise_temporal"]
    agree(vae.encode(golden["pixels"], noise), golden["encode_sample_34"])


@pytest.mark.parametrize(
    ("name", "num_frames"),
    [("decode_34", 34), ("decode_17", 17), ("decode_16_first4", 16), ("decode_10", 10), ("decode_1", 1)],
)
def test_frames(
    vae: AutoencoderOpenSora, golden: dict[str, Tensor], name: str, num_frames: int, agree: Agree
) -> None:
    """Guards the frames that are dropped, at the front, and the order of a latent's channels in time."""
    frames = vae.decode(golden["z"][:, :, : LATENTS[num_frames]], num_frames)
    assert frames.shape[2] == num_frames
    agree(frames[:, :, : golden[name].shape[2]], golden[name])


def test_inside(vae: AutoencoderOpenSora, golden: dict[str, Tensor], agree: Agree) -> None:
    """Guards each part by itself: the moments of latents, with their log-variance, and all 20 frames of a group."""
    agree(vae.temporal_vae.encode(golden["mid.spatial_latent_17"]), golden["mid.temporal_moments_17"])
    mean, std = vae._statistics()
    groups = (golden["z"] * std + mean).split(5, dim=2)
    agree(
        torch.cat([vae.temporal_vae.decode(z, 20) for z in groups], 2), golden["mid.temporal_decoder_out_34"]
    )
    agree(
        torch.cat([vae.temporal_vae.decode(z, 17) for z in groups], 2)[:, :, 14:20],
        golden["mid.temporal_decoder_out_34"][:, :, [17, 18, 19, 23, 24, 25]],
    )


def test_a_batch_is_its_films(vae: AutoencoderOpenSora, golden: dict[str, Tensor], agree: Agree) -> None:
    """Guards the pictures of a batch, which pass four at a time, one film's with the next one's."""
    films = golden["pixels_b2"]
    noise = torch.randn(2, 4, 5, 2, 3), torch.randn(2, 4, 2, 2, 3)
    alone = [vae.encode(films[i : i + 1], (noise[0][i : i + 1], noise[1][i : i + 1])) for i in range(2)]
    latents = vae.encode(films, noise)
    agree(latents, torch.cat(alone))
    agree(vae.decode(latents, 5), torch.cat([vae.decode(film, 5) for film in alone]))


def test_zeros_come_before_a_film_and_none_after() -> None:
    """Guards causality and left padding: 2 frames of zeros, but 1 where time is halved."""
    impulse = torch.zeros(1, 1, 4, 1, 1)
    impulse[:, :, 1] = 1
    for stride, expected in ((1, [0, 3, 2, 1]), (2, [3, 1])):
        conv = CausalConv3d(1, 1, 3, time_stride=stride, bias=False)
        with torch.no_grad():
            conv.weight.zero_()[0, 0, :, 1, 1] = torch.tensor([1.0, 2.0, 3.0])
            out = conv(impulse).flatten()
        assert out.tolist() == expected


def test_pairs_of_channels_become_frames() -> None:
    """Guards the order of doubled time: channel 2c + s at time t is channel c at time 2t + s."""
    double = DoubleTime(2)
    with torch.no_grad():
        double.weight.zero_()
        double.load_state_dict({"weight": double.weight, "bias": torch.arange(4.0)})
        out = double(torch.zeros(1, 2, 3, 1, 1))
    assert out.flatten(2).tolist() == [[[0, 1] * 3, [2, 3] * 3]]


def test_a_group_is_normalised_as_one() -> None:
    """Guards the statistics: they run over all frames of a group, so its last frame moves its first; eps is 1e-5."""
    block = ResidualBlock(4, 4, groups=2)
    x = torch.randn(1, 4, 5, 2, 2)
    changed = x.clone()
    changed[:, :, -1] += 1
    with torch.no_grad():
        assert (block(x) - block(changed))[:, :, 0].abs().max() > 1e-3
    assert block.norm1.eps == 1e-5


def test_groups_never_see_each_other(vae: AutoencoderOpenSora, golden: dict[str, Tensor]) -> None:
    """Guards streaming: what comes in one group, no bit of another group changes, there and back."""
    pixels, z = golden["pixels"], golden["z"]
    assert torch.equal(vae.encode(pixels)[:, :, :5], vae.encode(pixels[:, :, :17]))
    assert torch.equal(vae.decode(z, 34)[:, :, 17:], vae.decode(z[:, :, 5:], 17))


@pytest.mark.parametrize(("num_latents", "num_frames"), [(10, 17), (5, 18), (5, 16), (1, 0), (0, 0)])
def test_another_number_of_frames(vae: AutoencoderOpenSora, num_latents: int, num_frames: int) -> None:
    """Guards against the released code's 20 untrimmed frames for a group that nobody asked for."""
    with pytest.raises(OptionError, match=f"{num_frames} frames are .* latents, not {num_latents}"):
        vae.decode(torch.zeros(1, 4, num_latents, 2, 3), num_frames)


def test_latents_of_lengths() -> None:
    """Guards the arithmetic of groups: a minute of 85 groups, and every tail."""
    assert [latents_of(n) for n in (119, 1445, 18, 22, 33, 35)] == [35, 425, 6, 7, 9, 11]


@settings(deadline=None, max_examples=8)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_portions_make_no_difference(
    vae: AutoencoderOpenSora, golden: dict[str, Tensor], agree: Agree, cuts: list[int]
) -> None:
    """Pushed in portions of any size it is one shot, and nothing of a whole group is held back."""

    def sizes(total: int) -> list[int]:
        ends = sorted({0, total, *(cut * total // 20 for cut in cuts)})
        return [b - a for a, b in pairwise(ends)]

    pixels, z = golden["pixels"][:, :, :20], golden["z"][:, :, :8]
    agree(pushed(new_encoder(vae), pixels, sizes(20)), vae.encode(pixels[:, :, :17]))
    agree(pushed(new_decoder(vae), z, sizes(8)), vae.decode(z[:, :, :5], 17).clamp(-1, 1))


def test_codecs_hold_less_than_a_group(vae: AutoencoderOpenSora) -> None:
    """Guards constant memory: whatever went before, under 17 frames or 5 latents wait, not a view of more."""
    encoder, decoder = OpenSoraEncoder(vae), OpenSoraDecoder(vae)
    for _ in range(3):
        latents = encoder.push(torch.zeros(1, 3, 22, 8, 8))
        decoder.push(latents[:, :, :4])
        for codec, frame in ((encoder, 3 * 8 * 8), (decoder, 4)):
            (waiting,) = codec.state().values()
            assert waiting.untyped_storage().nbytes() == waiting.shape[2] * frame * 4 < 17 * frame * 4


def test_precisions(vae: AutoencoderOpenSora, golden: dict[str, Tensor]) -> None:
    """In bfloat16 latents are near the exact ones, means and samples, and all that leaves is float32."""
    rough = AutoencoderOpenSora(**TINY).eval()
    rough.load_state_dict(vae.state_dict())
    rough.to(torch.bfloat16)
    frames = golden["pixels"][:, :, :17]
    noise = torch.randn(1, 4, 17, 2, 3), torch.randn(1, 4, 5, 2, 3)
    latents, drawn = new_encoder(rough).push(frames), rough.encode(frames.bfloat16(), noise)
    assert (latents - vae.encode(frames)).abs().max() < 0.05
    assert (drawn - vae.encode(frames, noise)).abs().max() < 0.1
    assert latents.dtype == drawn.dtype == new_decoder(rough).push(latents).dtype == torch.float32


def test_saved_and_loaded_it_is_the_same(
    vae: AutoencoderOpenSora, golden: dict[str, Tensor], tmp_path: Path, agree: Agree
) -> None:
    """It is an ordinary diffusers model: a folder of config and safetensors; nothing outside them counts.

    Outputs are near only: how sums round depends on where weights lie in memory, and on whether they are trained.
    """
    vae.save_pretrained(tmp_path)
    again = AutoencoderOpenSora.from_pretrained(tmp_path, use_safetensors=True).eval()
    torch.testing.assert_close(again.state_dict(), vae.state_dict(), atol=0, rtol=0)
    frames = golden["pixels"][:, :, :5]
    with torch.no_grad():
        agree(again(frames), vae(frames))


def full_size() -> dict[str, Tensor]:
    """The released state dict's names and shapes, without numbers, but for the statistics."""
    names = json.loads((DATA / "param_names.json").read_text())["opensora_vae_v1_2"]["state_dict"]
    tensors = {name: torch.empty(shape, device="meta") for name, shape in names.items()}
    row = (1, 4, 1, 1, 1)
    shift, scale = torch.tensor([-0.10, 0.34, 0.27, 0.98]), torch.tensor([3.85, 2.32, 2.33, 3.06])
    return {**tensors, "shift": shift.view(row), "scale": scale.view(row)}


def test_full_size() -> None:
    """Guards the defaults: every one of 517 names and shapes finds its place, and 393,341,015 numbers."""
    theirs = full_size()
    ours = convert_vae(theirs, {})
    assert (len(theirs), sum(tensor.numel() for tensor in theirs.values())) == (517, 393_341_015)
    assert (len(ours), sum(tensor.numel() for tensor in ours.values())) == (515, 393_341_007)
    with torch.device("meta"):
        AutoencoderOpenSora().load_state_dict(ours, strict=True, assign=True)


def test_nothing_is_copied(original: dict[str, Tensor]) -> None:
    """Guards conversion out of a memory-mapped file: the tensors are those that were given, in their precision."""
    halves = {name: tensor.half() for name, tensor in original.items()}
    given_tensors = {tensor.data_ptr() for tensor in halves.values()}
    for tensor in convert_vae(halves, TINY).values():
        assert tensor.dtype == torch.float16 and tensor.data_ptr() in given_tensors


def test_old_names_of_attention(original: dict[str, Tensor], vae: AutoencoderOpenSora) -> None:
    """Guards checkpoints of old diffusers, whose attention has query, key, value and proj_attn."""
    old = original
    for new_name, old_name in (
        ("to_q", "query"),
        ("to_k", "key"),
        ("to_v", "value"),
        ("to_out.0", "proj_attn"),
    ):
        old = {name.replace(new_name, old_name): tensor for name, tensor in old.items()}
    assert old.keys() != original.keys()
    state = convert_vae(old, TINY)
    assert all(torch.equal(state[name], tensor) for name, tensor in vae.state_dict().items())


FIRST_PICTURES = "spatial_vae.module.encoder.down_blocks.0.resnets.0.conv1.weight"
QUERY = "spatial_vae.module.encoder.mid_block.attentions.0.query.weight"
GONE = "temporal_vae.decoder.conv_blocks.1.conv.bias"


def without(state: Mapping[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name not in names}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({GONE: None}, f"lacks {GONE}, which"),
        ({"scale": None, GONE: None}, f"lacks {GONE} and 1 more, which"),
        ({"discriminator.weight": torch.zeros(1)}, "holds discriminator.weight, which"),
        ({QUERY: torch.zeros(16, 16)}, f"holds {QUERY}, which"),
        ({GONE: torch.zeros(8)}, f"{GONE} is of shape (8,), but must be of (16,)"),
        ({"shift": torch.zeros(4)}, "shift is of shape (4,), but must be of (1, 4, 1, 1, 1)"),
        ({"shift": torch.zeros(1, 4, 1, 1, 1)}, "shift is [0.0, 0.0, 0.0, 0.0], but must be (-0.1, 0.34,"),
    ],
)
def test_bad_checkpoints(
    original: dict[str, Tensor], changes: dict[str, Tensor | None], message: str
) -> None:
    """Guards that every tensor is accounted for: each refusal is one line that names the original tensor."""
    added = {name: tensor for name, tensor in changes.items() if tensor is not None}
    with pytest.raises(ModelError) as refusal:
        convert_vae({**without(original, *changes), **added}, TINY)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "name", ["shift", "scale", FIRST_PICTURES, "temporal_vae.encoder.conv_in.conv.weight"]
)
def test_sizes_that_cannot_be_read(original: dict[str, Tensor], name: str) -> None:
    """Guards checkpoints of something else, whose sizes are to be read off tensors that are not there."""
    with pytest.raises(ModelError, match=f"the checkpoint lacks {name}"):
        convert_vae(without(original, name))
    with pytest.raises(ModelError, match=f"the checkpoint's {name} is of shape"):
        convert_vae({**original, name: torch.zeros(4)})


def test_sizes_are_read_off(original: dict[str, Tensor]) -> None:
    """Guards conversion without a configuration, of the tiny model and the real one, which is not the tiny one."""
    read = vae_config(original)
    assert {key: read.get(key, TINY[key]) for key in TINY} == TINY
    assert convert_vae(original).keys() == convert_vae(original, TINY).keys()
    with torch.device("meta"):
        default = AutoencoderOpenSora().config
    assert all(default[key] == pytest.approx(value) for key, value in vae_config(full_size()).items())
    with pytest.raises(ModelError, match=r"lacks .* and 187 more"):
        convert_vae(original, {})
