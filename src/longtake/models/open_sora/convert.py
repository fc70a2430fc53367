"""From the tensors of the original checkpoint to ours: every one accounted for, none changed.

Ours are views of the originals, so a checkpoint that lies mapped in a file stays there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from longtake.errors import ModelError
from longtake.models.open_sora.transformer import OpenSoraTransformer3DModel
from longtake.models.weights import check_tensors

# Parts of our names, and of the original ones; several of ours to one are its rows, in this order.
NAMES = {
    "patch_embedding": "x_embedder.proj",
    "time_embedding.linear_1": "t_embedder.mlp.0",
    "time_embedding.linear_2": "t_embedder.mlp.2",
    "fps_embedding.linear_1": "fps_embedder.mlp.0",
    "fps_embedding.linear_2": "fps_embedder.mlp.2",
    "time_proj": "t_block.1",
    "caption_projection.linear_": "y_embedder.y_proj.fc",
    "null_caption": "y_embedder.y_embedding",
    "attn1.to_q": "attn.qkv",
    "attn1.to_k": "attn.qkv",
    "attn1.to_v": "attn.qkv",
    "attn1.norm_q": "attn.q_norm",
    "attn1.norm_k": "attn.k_norm",
    "attn1.to_out.0": "attn.proj",
    "attn2.to_q": "cross_attn.q_linear",
    "attn2.to_k": "cross_attn.kv_linear",
    "attn2.to_v": "cross_attn.kv_linear",
    "attn2.to_out.0": "cross_attn.proj",
    "ff.net.0.proj": "mlp.fc1",
    "ff.net.2": "mlp.fc2",
}
RELEASED_WIDTH = 1152
ROTATION = "rope.freqs"  # in the checkpoint, but follows from the head's size


def convert_transformer(
    state_dict: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> dict[str, Tensor]:
    """The state dict of OpenSoraTransformer3DModel from that of the original STDiT3, precision kept.

    config: the arguments of OpenSoraTransformer3DModel that it must fit, {} for those of the real one; None
    is those of `transformer_config`. Raises ModelError, which names the tensor, if one is missing, left over or of
    another shape, if rope.freqs is not what it must be, or for Open-Sora v1.1 and older.
    """
    for name in state_dict:
        if name.startswith("blocks."):
            raise ModelError(
                f"the checkpoint holds {name}: it is Open-Sora v1.1 or older; take v1.2,"
                " hpcai-tech/OpenSora-STDiT-v3"
            )
    with torch.device("meta"):
        network = OpenSoraTransformer3DModel(**(transformer_config(state_dict) if config is None else config))
    rows: dict[str, list[str]] = {}
    shapes: dict[str, tuple[int, ...]] = {ROTATION: (network.config.attention_head_dim // 2,)}
    for name, tensor in network.state_dict().items():
        original = _original_name(name)
        rows.setdefault(original, []).append(name)
        shapes[original] = (len(rows[original]) * tensor.shape[0], *tensor.shape[1:])
    check_tensors(state_dict, shapes)
    _check_rotation(state_dict[ROTATION])
    return {
        name: part
        for original, names in rows.items()
        for name, part in zip(names, state_dict[original].chunk(len(names)), strict=True)
    }


def transformer_config(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of OpenSoraTransformer3DModel, read off the shapes of the original tensors.

    {} where they have the width of the released network, which must be whole: the loss of its last layers would leave
    a smaller one. Raises ModelError if a tensor that tells them is missing or impossible.
    """
    dim, in_channels, *_ = tensor_shape(state_dict, "x_embedder.proj.weight", 5)
    if dim == RELEASED_WIDTH:
        return {}
    (head_dim,) = tensor_shape(state_dict, "spatial_blocks.0.attn.q_norm.weight", 1)
    ff_dim, _ = tensor_shape(state_dict, "spatial_blocks.0.mlp.fc1.weight", 2)
    tokens, caption_channels = tensor_shape(state_dict, "y_embedder.y_embedding", 2)
    if dim % head_dim:
        raise ModelError(f"the checkpoint's heads of {head_dim} do not fill its width of {dim}")
    layers = {match[1] for name in state_dict if (match := re.match(r"\w+_blocks\.(\d+)\.", name))}
    return {
        "in_channels": in_channels,
        "num_layers": len(layers),
        "num_attention_heads": dim // head_dim,
        "attention_head_dim": head_dim,
        "mlp_ratio": ff_dim / dim,
        "caption_channels": caption_channels,
        "max_caption_tokens": tokens,
    }


def _original_name(name: str) -> str:
    for ours, original in NAMES.items():
        name = name.replace(ours, original)
    return name


def tensor_shape(state_dict: Mapping[str, Tensor], name: str, ndim: int) -> tuple[int, ...]:
    """The shape of a checkpoint's tensor. Raises ModelError unless it is there and has so many axes."""
    if name not in state_dict:
        raise ModelError(f"the checkpoint lacks {name}, which Open-Sora v1.2 has")
    shape = tuple(state_dict[name].shape)
    if len(shape) != ndim or 0 in shape:
        raise ModelError(f"the checkpoint's {name} is of shape {shape}, but must have {ndim} axes")
    return shape


def _check_rotation(frequencies: Tensor) -> None:
    steps = torch.arange(len(frequencies), dtype=torch.float64) / len(frequencies)
    if not torch.allclose(frequencies.double(), 10000**-steps, rtol=1e-2, atol=0):  # it may be bfloat16
        raise ModelError(f"the checkpoint's {ROTATION} are not 10000^(-2i/d), those of Open-Sora v1.2")
