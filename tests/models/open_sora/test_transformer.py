"""Our STDiT3 against the reference: its outputs, its parts at full size, and what must make no difference.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, T text width
"""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from longtake.models.lora import add_lora
from longtake.models.open_sora.transformer import (
    EPSILON,
    Attention,
    OpenSoraTransformer3DModel,
    _modulated,
    frame_rotation,
    place_embedding,
    sinusoid,
    velocity,
)
from portable import close, rounding

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data" / "open_sora"
ULP = 2**-23  # a unit in the last place of 1, in float32


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    """Inputs and outputs of the tiny network; the c are of odd size, and c2 has inputs only."""
    return load_file(DATA / "stdit3_tiny_io.safetensors")


@pytest.fixture(scope="module")
def parts() -> dict[str, Tensor]:
    return load_file(DATA / "components_full_size.safetensors")


def inputs(golden: dict[str, Tensor], case: str) -> dict[str, Any]:
    """What the reference was given in a case."""
    family, rows = ("c", 1) if case.startswith("c") else ("common", 2)
    latents = {"a": "a.x", "b1": "b1.x", "b2": "a.x", "c1": "c.x", "c2": "c.x"}
    return {
        "hidden_states": golden[latents[case]],
        "timestep": golden[f"{case}.timestep"],
        "encoder_hidden_states": golden["common.y"][:rows],
        "encoder_attention_mask": golden["common.y_mask"][:rows],
        "fps": golden["common.fps"][:rows],
        "height": golden[f"{family}.height"],
        "width": golden[f"{family}.width"],
    }


@torch.no_grad()
def sample(network: OpenSoraTransformer3DModel, given: dict[str, Any], **changes: Any) -> Tensor:
    return network(**given | changes).sample


def allowed(network: OpenSoraTransformer3DModel, given: dict[str, Any]) -> float:
    """What rounding may move a sample by."""
    return rounding(lambda: sample(network, given), network, given)


@pytest.mark.parametrize("case", ["a", "b1", "b2", "c1"])
def test_outputs_of_the_reference(
    stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor], case: str
) -> None:
    """Every formula at once: one timestep a sample and one a frame, and an odd size announced as another. Another
    GELU would move this by 1e-3; another epsilon hides in rounding, and has its own test."""
    given = inputs(golden, case)
    tolerance = allowed(stdit3, given)
    assert tolerance < 5e-4
    close(sample(stdit3, given), golden[f"{case}.out"], tolerance)


def test_epsilons(stdit3: OpenSoraTransformer3DModel) -> None:
    """Guards 1e-6 in every norm, which outputs hardly show: those of queries and keys, and those without weights."""
    assert EPSILON == 1e-6
    norms = [module for module in stdit3.modules() if isinstance(module, nn.RMSNorm)]
    assert len(norms) == 8 and {norm.eps for norm in norms} == {EPSILON}
    small = torch.randn(1, 2, 3, 4, dtype=torch.float64) * 1e-3
    exact = small - small.mean(-1, keepdim=True)
    exact = exact / (exact.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    zero = torch.zeros(1, 2, 1, 4, dtype=torch.float64)
    torch.testing.assert_close(_modulated(small, zero, zero), exact)


def test_an_odd_size_with_a_timestep_for_each_frame(
    stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor]
) -> None:
    """Guards the crop: what comes out has the size of what went in, all eight channels of it."""
    result = sample(stdit3, inputs(golden, "c2"))
    assert result.shape == (1, 8, 10, 7, 11) and result.isfinite().all()


def test_places_at_full_size(parts: dict[str, Tensor]) -> None:
    """Width before height, sine before cosine, and a base of 20 for 15 × 27 tokens.

    Ours are computed in float64; the recorded ones in float32, of angles up to 32.
    """
    table = place_embedding(1152, 15, 27, 240, 424)
    assert table.dtype == torch.float64
    close(table.float()[parts["pos_emb_1152.token_index"]], parts["pos_emb_1152.rows"], 2 * 32 * ULP)


def test_rotation_and_norm_at_full_size(parts: dict[str, Tensor]) -> None:
    """The pairs that turn are neighbours; the norm's epsilon is 1e-6. Both are what Attention does to queries."""
    attention = Attention(1152, 16, qk_norm=True)
    assert isinstance(attention.norm_q, nn.RMSNorm)
    attention.norm_q.weight = nn.Parameter(parts["rmsnorm_72.weight"], requires_grad=False)
    assert attention.norm_q.eps == 1e-6
    given = parts["rmsnorm_72.in"]
    tolerance = rounding(lambda: attention.norm_q(given), attention.norm_q, given)
    close(attention.norm_q(given), parts["rmsnorm_72.out"], tolerance)
    x = parts["rope_72.in"]
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(3)

    def rotated() -> Tensor:
        cos, sin = frame_rotation(72, 35)
        return x * cos + turned * sin

    close(rotated(), parts["rope_72.out"], rounding(rotated, x))


def test_frequencies_at_full_size(parts: dict[str, Tensor]) -> None:
    """Cosine before sine, of timesteps up to 1000: the formula in float64, as near as float32 frequencies allow.

    A frequency is `exp` of a number down to -9.2, both of which are rounded; it is off by that much times the timestep.
    """
    t, k = parts["sinusoid_256.t"].double()[..., None], torch.arange(128, dtype=torch.float64)
    exponent = -math.log(10000) * k / 128
    angle = t * exponent.exp()
    exact = torch.cat([angle.cos(), angle.sin()], -1)
    tolerance = ULP * (1 + (1 - exponent) * angle).repeat(*[1] * (angle.ndim - 1), 2)
    for table in (sinusoid(parts["sinusoid_256.t"]), parts["sinusoid_256.out"]):
        assert ((table - exact).abs() <= tolerance).all()


def test_equal_timesteps_are_one_timestep(
    stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor]
) -> None:
    """The per-frame mode is the same network."""
    given = inputs(golden, "a")
    each_frame = given["timestep"][:, None].expand(-1, 10)
    close(sample(stdit3, given, timestep=each_frame), sample(stdit3, given), allowed(stdit3, given))


def test_a_mask_is_a_shorter_caption(stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor]) -> None:
    """Tokens that a mask leaves out do nothing, wherever they stand; no mask means all; captions may have an
    axis of 1 too many."""
    given = inputs(golden, "b2")
    captions, mask = given["encoder_hidden_states"], torch.tensor([[0, 1, 1, 0, 1, 0, 0, 1]])
    masked = sample(stdit3, given, encoder_attention_mask=mask)
    shorter = captions[:, 0, mask[0] == 1]
    tolerance = allowed(stdit3, given)
    close(
        masked, sample(stdit3, given, encoder_hidden_states=shorter, encoder_attention_mask=None), tolerance
    )
    full = sample(stdit3, given, encoder_attention_mask=torch.ones(2, 8))
    close(full, sample(stdit3, given, encoder_attention_mask=None), tolerance)
    assert (masked - full).abs().max() > 0.1


def test_masks_repeat_in_order(stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor]) -> None:
    """Two masks for four captions are m0, m1, m0, m1, as guidance doubles a batch."""
    given = inputs(golden, "b2")
    doubled = {
        name: torch.cat([value, value])
        for name, value in given.items()
        if name not in ("encoder_attention_mask", "height", "width")
    }
    once = sample(stdit3, given)
    close(sample(stdit3, given, **doubled), torch.cat([once, once]), allowed(stdit3, given))


def test_samples_do_not_see_each_other(stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor]) -> None:
    """A batch is its samples one by one; but the first announced size holds for all."""
    given = inputs(golden, "b1")
    alone = [
        sample(stdit3, {name: value[i : i + 1] for name, value in given.items()}, height=48, width=64)
        for i in range(2)
    ]
    tolerance = allowed(stdit3, given)
    close(sample(stdit3, given), torch.cat(alone), tolerance)
    other = {"height": torch.tensor([48.0, 480.0]), "width": torch.tensor([64.0, 640.0])}
    close(sample(stdit3, given, **other), torch.cat(alone), tolerance)


def test_velocity_is_noise_minus_data() -> None:
    """The reference's first four channels are data - noise; the other four are not used."""
    noise, data = torch.randn(2, 4, 3, 2, 2), torch.randn(2, 4, 3, 2, 2)
    theirs = torch.cat([data - noise, torch.full_like(data, torch.nan)], dim=1)
    assert torch.equal(velocity(theirs), noise - data)


def test_gradient_checkpointing_changes_nothing(
    stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor]
) -> None:
    """Guards its arguments' order, and that nothing in a block depends on the time it is run."""
    gradients = []
    for checkpointing in (False, True):
        network = copy.deepcopy(stdit3)
        if checkpointing:
            network.enable_gradient_checkpointing()
        network(**inputs(golden, "b2"), return_dict=False)[0].square().mean().backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    assert all(gradient is not None for gradient in gradients[0].values())
    torch.testing.assert_close(*gradients, atol=0, rtol=0)


def test_save_and_load(stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor], tmp_path: Path) -> None:
    """The folder holds everything, the empty caption too; and the configuration with which it is a network."""
    stdit3.save_pretrained(tmp_path)
    loaded = OpenSoraTransformer3DModel.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.state_dict(), stdit3.state_dict(), atol=0, rtol=0)
    given = inputs(golden, "b2")
    close(sample(loaded, given), sample(stdit3, given), allowed(stdit3, given))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_timesteps_stay_float32_in_half_precision(
    stdit3: OpenSoraTransformer3DModel, golden: dict[str, Tensor], tmp_path: Path, dtype: torch.dtype
) -> None:
    """From a folder of half precision, what timestep and frame rate do to the blocks is what it is in float32.
    In bfloat16, timesteps 999 and 1000 would be one."""
    given = inputs(golden, "b2")
    modulations = []
    copy.deepcopy(stdit3).half().save_pretrained(tmp_path)
    half = OpenSoraTransformer3DModel.from_pretrained(tmp_path, torch_dtype=dtype)
    for network in (stdit3, half):
        hook = network.time_proj.register_forward_hook(lambda *passed: modulations.append(passed[-1]))
        rough = {name: given[name].to(network.dtype) for name in ("hidden_states", "encoder_hidden_states")}
        result = sample(network, given, **rough)
        hook.remove()
    assert half.dtype == half.spatial_blocks[0].attn1.to_q.weight.dtype == dtype
    assert modulations[1].dtype == torch.float32
    close(modulations[1], modulations[0], allowed(stdit3, given))
    assert result.dtype == torch.float32
    error = (result - golden["b2.out"]).std() / golden["b2.out"].std()
    assert error < (0.03 if dtype == torch.bfloat16 else 0.004)


def test_a_lora_finds_its_layers(stdit3: OpenSoraTransformer3DModel) -> None:
    """Ten in each of the four blocks: two attentions of four, and the perceptron's two."""
    network = copy.deepcopy(stdit3)
    add_lora(network, rank=2, alpha=2)
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert len(trained) == 4 * 10 * 2
