"""The conversion of the original checkpoint: nothing missing, nothing left over, nothing changed."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtake.errors import ModelError
from longtake.models.open_sora.convert import ROTATION, convert_transformer, transformer_config
from longtake.models.open_sora.transformer import OpenSoraTransformer3DModel

DATA = Path(__file__).parents[2] / "data" / "open_sora"
BLOCK = "spatial_blocks.1.attn.qkv.bias"


def test_full_size_has_the_original_tensors() -> None:
    """Names and shapes of all 973 tensors of STDiT3-XL/2, without allocating one. Guards against one that lost its last
    layers, and is whole otherwise."""
    table = json.loads((DATA / "param_names.json").read_text())["stdit3_xl_2"]
    original = {name: torch.empty(shape, device="meta") for name, shape in table["state_dict"].items()}
    original[ROTATION] = 10000 ** -(torch.arange(36) / 36)
    assert len(original) == table["tensors"] == 973
    converted = convert_transformer(original, config={})
    assert convert_transformer(original).keys() == converted.keys()
    with torch.device("meta"):
        network = OpenSoraTransformer3DModel()
    network.load_state_dict(converted, assign=True)
    counted = sum(tensor.numel() for tensor in network.state_dict().values())
    assert counted + 36 == table["elements"] == 1_208_872_772
    shorter = {name: tensor for name, tensor in original.items() if "_blocks.27." not in name}
    with pytest.raises(ModelError, match=r"lacks spatial_blocks\.27\.\S+ and 33 more"):
        convert_transformer(shorter)


def test_no_number_is_copied_or_changed(stdit3_weights: dict[str, Tensor]) -> None:
    """Ours are views of the originals, so a mapped file stays mapped; together they are all of them."""
    converted = convert_transformer(stdit3_weights)
    storages = {tensor.untyped_storage().data_ptr() for tensor in stdit3_weights.values()}
    assert {tensor.untyped_storage().data_ptr() for tensor in converted.values()} <= storages
    assert all(tensor.is_contiguous() for tensor in converted.values())
    rest = stdit3_weights.keys() - {ROTATION}
    assert sum(t.numel() for t in converted.values()) == sum(stdit3_weights[name].numel() for name in rest)
    assert torch.equal(converted["null_caption"], stdit3_weights["y_embedder.y_embedding"])


def test_what_is_converted_can_be_saved(stdit3_weights: dict[str, Tensor], tmp_path: Path) -> None:
    """Guards safetensors' refusal of tensors that share memory: ours share a storage, but no number."""
    converted = convert_transformer(stdit3_weights)
    save_file(converted, tmp_path / "weights.safetensors")
    loaded = load_file(tmp_path / "weights.safetensors")
    assert loaded.keys() == converted.keys()
    assert all(torch.equal(loaded[name], converted[name]) for name in converted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({BLOCK: None}, f"lacks {BLOCK}, which Open-Sora v1.2 has"),
        ({"x_embedder.proj.weight": None}, "lacks x_embedder.proj.weight"),
        ({ROTATION: None, BLOCK: None}, "lacks rope.freqs and 1 more"),
        ({"pos_embed": torch.zeros(1)}, "holds pos_embed, which Open-Sora v1.2 does not have"),
        ({"temporal_blocks.2.mlp.fc1.bias": torch.zeros(256)}, "lacks spatial_blocks.2.scale_shift_table"),
        ({BLOCK: torch.zeros(191)}, r"attn.qkv.bias is of shape \(191,\), but must be of \(192,\)"),
        ({"x_embedder.proj.weight": torch.zeros(64, 16)}, r"proj.weight is of shape \(64, 16\)"),
        ({"spatial_blocks.0.attn.q_norm.weight": torch.zeros(15)}, "heads of 15 do not fill its width of 64"),
        ({ROTATION: 1000 ** -(torch.arange(8) / 8)}, "rope.freqs are not"),
        ({"blocks.0.attn_temp.qkv.weight": torch.zeros(1)}, "Open-Sora v1.1 or older; take v1.2"),
    ],
)
def test_other_checkpoints_are_refused(
    stdit3_weights: dict[str, Tensor], changes: dict[str, Tensor | None], message: str
) -> None:
    """Each kind of bad checkpoint is one line that names the tensor."""
    changed = stdit3_weights | changes
    with pytest.raises(ModelError, match=message) as error:
        convert_transformer({name: tensor for name, tensor in changed.items() if tensor is not None})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("layer", ["spatial_blocks.0.", "spatial_blocks.1.", "temporal_blocks.1."])
def test_a_layer_that_is_lost_is_named(stdit3_weights: dict[str, Tensor], layer: str) -> None:
    """Guards layers that are not 0 to n - 1 of both kinds."""
    rest = {name: tensor for name, tensor in stdit3_weights.items() if not name.startswith(layer)}
    with pytest.raises(ModelError, match=f"lacks {layer}"):
        convert_transformer(rest)


def test_a_smaller_network_is_not_the_released_one(stdit3_weights: dict[str, Tensor]) -> None:
    """Guards a checkpoint that is whole but not of the size that was asked for, such as one cut off by layers."""
    with pytest.raises(ModelError, match=r"lacks spatial_blocks.2.scale_shift_table and 8\d\d more"):
        convert_transformer(stdit3_weights, config={})
    layers = transformer_config(stdit3_weights) | {"num_layers": 1}
    with pytest.raises(ModelError, match=r"holds spatial_blocks.1\S+ and 33 more"):
        convert_transformer(stdit3_weights, config=layers)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_tensor_that_is_gone_or_of_another_shape_is_named(
    stdit3_weights: dict[str, Tensor], data: st.DataObject
) -> None:
    """No tensor goes unchecked, those that tell the network's size included."""
    name = data.draw(st.sampled_from(sorted(stdit3_weights)))
    shape = data.draw(st.none() | st.lists(st.integers(0, 65), max_size=5).map(tuple))
    changed = dict(stdit3_weights)
    del changed[name]
    if shape is not None and shape != stdit3_weights[name].shape:
        changed[name] = torch.zeros(shape)
    with pytest.raises(ModelError):
        convert_transformer(changed)
