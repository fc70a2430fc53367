"""A loaded model, put on a device as its Placement says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from longtake.models.card.kernels import compile_blocks, set_attention
from longtake.models.card.offload import offload_on, place
from longtake.models.card.quantize import check_quantize, hold_in_fp8

if TYPE_CHECKING:
    from longtake.models.adapter import Adapter
    from longtake.models.card.placement import Placement


def check_placement(placement: Placement, device: torch.device, with_lora: bool) -> None:
    """OptionError, before anything is loaded, for what a device or the installed packages cannot do."""
    offload_on(device, placement.offload)
    check_quantize(placement.quantize, device, with_lora)


def put(model: Adapter, placement: Placement, device: torch.device) -> None:
    """Put a model, whose parts lie in main memory, on a device. OptionError for what its network has no switch for."""
    for network in model.networks:
        if placement.attention is not None:
            set_attention(network, placement.attention)
        if placement.quantize == "fp8":
            hold_in_fp8(network, model.dtype)
    if placement.tile:
        model.vae.enable_tiling()
    parts = model.text_encoder.parts.values()
    encoders = [part for part in parts if isinstance(part, nn.Module) and part is not model.transformer]
    place(encoders, model.networks, model.vae, device, offload_on(device, placement.offload))
    for network in model.networks if placement.compile else ():
        compile_blocks(network)
