"""From the released weights of Open-Sora v1.2's autoencoder to ours: names alone change, no number does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from longtake.errors import ModelError
from longtake.models.open_sora.autoencoder import AutoencoderOpenSora
from longtake.models.open_sora.convert import tensor_shape
from longtake.models.weights import check_tensors

# Parts of our names in the temporal autoencoder, and of the original ones.
NAMES = {
    "coder.norm_out.": "coder.norm1.",
    "encoder.conv_out.": "encoder.conv2.",
    "decoder.conv_in.": "decoder.conv1.",
    ".levels.": ".block_res_blocks.",
    ".middle.": ".res_blocks.",
    ".resamplers.": ".conv_blocks.",
    ".shortcut.": ".conv3.",
}
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
STATISTICS = {"shift": "latents_mean", "scale": "latents_std"}  # ours are part of the configuration


def convert_vae(
    state_dict: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> dict[str, Tensor]:
    """The state dict of AutoencoderOpenSora from that of the original: the same tensors, not copied.

    config: the arguments of AutoencoderOpenSora that it must fit, {} for those of the real one; None reads them
    off the tensors. The names that old diffusers gave to attention are taken too. Raises ModelError, which names
    the tensor, if one is missing, left over or of another shape, or if shift or scale are not the configuration's.
    """
    if config is None:
        config = {**vae_config(state_dict), "norm_num_groups": 1, "temporal_norm_num_groups": 1}
    with torch.device("meta"):
        model = AutoencoderOpenSora(**config)
    originals = {
        name if (renewed := _renewed(name)) in state_dict else renewed: tensor
        for name, tensor in state_dict.items()
    }
    names = {_original_name(name): name for name in model.state_dict()}
    shapes = {name: tuple(model.get_parameter(ours).shape) for name, ours in names.items()}
    check_tensors(originals, shapes | dict.fromkeys(STATISTICS, (1, model.config.z_dim, 1, 1, 1)))
    for name, key in STATISTICS.items():
        given = originals[name].flatten()
        if not torch.equal(given, torch.tensor(model.config[key], dtype=given.dtype)):
            raise ModelError(f"the checkpoint's {name} is {given.tolist()}, but must be {model.config[key]}")
    return {ours: originals[name] for name, ours in names.items()}


def vae_config(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of AutoencoderOpenSora, read off the original tensors, but for the numbers of groups.

    Raises ModelError if a tensor that tells them is missing.
    """
    pictures, time = "spatial_vae.module.encoder.down_blocks", "temporal_vae.encoder"
    levels = range(_count(state_dict, f"{pictures}.") or 1)
    widths = [tensor_shape(state_dict, f"{pictures}.{i}.resnets.0.conv1.weight", 4)[0] for i in levels]
    return {
        "z_dim": tensor_shape(state_dict, "shift", 5)[1],
        "block_out_channels": tuple(widths),
        "layers_per_block": _count(state_dict, f"{pictures}.0.resnets."),
        "temporal_width": tensor_shape(state_dict, f"{time}.conv_in.conv.weight", 5)[0],
        "temporal_layers_per_block": _count(state_dict, f"{time}.res_blocks."),
        **{key: _numbers(state_dict, name) for name, key in STATISTICS.items()},
    }


def _numbers(state_dict: Mapping[str, Tensor], name: str) -> tuple[float, ...]:
    tensor_shape(state_dict, name, 5)
    return tuple(state_dict[name].flatten().tolist())


def _count(state_dict: Mapping[str, Tensor], prefix: str) -> int:
    """How many parts a list of the original has."""
    return len({name.removeprefix(prefix).split(".")[0] for name in state_dict if name.startswith(prefix)})


def _original_name(name: str) -> str:
    part, rest = name.split(".", 1)
    if part == "spatial_vae":
        return f"{part}.module.{rest}"
    for ours, original in NAMES.items():
        name = name.replace(ours, original)
    layer, kind = name.rsplit(".", 1)
    return name if "norm" in layer else f"{layer}.conv.{kind}"


def _renewed(name: str) -> str:
    """The original name, with the names that attention has in new diffusers."""
    return re.sub(
        r"(attentions\.0)\.(query|key|value|proj_attn)\.", lambda m: f"{m[1]}.{OLD_ATTENTION[m[2]]}.", name
    )
