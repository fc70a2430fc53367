"""What of a model leaves the card while it films, by diffusers' and accelerate's own hooks.

The autoencoder always stays: its weights are few, and it is used at every chunk. Wherever weights lie, the arithmetic
is the same, and so are the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate.hooks import CpuOffload, UserCpuOffloadHook, add_hook_to_module
from diffusers.hooks import apply_group_offloading
from torch import nn

from longtake.errors import OptionError

if TYPE_CHECKING:
    from longtake.models.card.placement import Offload

MAIN_MEMORY = torch.device("cpu")


def offload_on(device: torch.device, offload: Offload | None) -> Offload:
    """What leaves a device: what is asked for, or else its default. OptionError where that device is no card."""
    if device.type in ("cpu", "mps"):
        if offload not in (None, "none"):
            raise OptionError(
                f"offload {offload} moves weights between a card and main memory, and {device} has one memory alone:"
                " give --device cuda, or leave it out"
            )
        return "none"
    return offload or "text"


def place(
    encoders: Sequence[Any], networks: Sequence[Any], autoencoder: Any, device: torch.device, offload: Offload
) -> None:
    """Put the parts of a model, which lie in main memory, where a film needs them, now and while it is made.

    text: text encoders come to the card for each prompt and leave it. model: and the network leaves for them, and of
    two networks each for the other.
    group: network by blocks, text encoders by layers, the next one on its way while one works. sequential: layer by
    layer, each when its turn comes.
    """
    autoencoder.to(device)
    streams = device.type == "cuda" and offload == "group"
    match offload:
        case "none":
            _all_to(device, networks)
            for encoder in encoders:
                encoder.to(device)
        case "text":
            _all_to(device, networks)
            for encoder in encoders:
                _visiting(encoder, device, None)
        case "model" if not encoders:  # the network reads its prompts itself
            _all_to(device, networks)
        case "model":
            last = _taking_turns(networks, device)
            for encoder in encoders:
                _visiting(encoder, device, last)
        case "group" | "sequential":
            level = {"offload_type": "block_level", "num_blocks_per_group": 1}
            by_layers = {"offload_type": "leaf_level"}
            where = {"onload_device": device, "offload_device": MAIN_MEMORY, "use_stream": streams}
            for network in networks:
                apply_group_offloading(network, **where, **(level if offload == "group" else by_layers))
            for encoder in encoders:
                apply_group_offloading(encoder, **where, **by_layers)
                _computing_on(encoder, device)


def _all_to(device: torch.device, modules: Sequence[nn.Module]) -> None:
    for module in modules:
        module.to(device)


def _taking_turns(networks: Sequence[nn.Module], device: torch.device) -> UserCpuOffloadHook:
    """Have each network come to a device when it is called, once the one before it has left. What makes the last leave:
    networks are called in order."""
    hooks = [CpuOffload(device) for _ in networks]
    leaving = [UserCpuOffloadHook(*pair) for pair in zip(networks, hooks, strict=True)]
    for index, (network, hook) in enumerate(zip(networks, hooks, strict=True)):
        if len(networks) > 1:
            hook.prev_module_hook = leaving[index - 1]
        add_hook_to_module(network, hook)
    return leaving[-1]


def _visiting(encoder: nn.Module, device: torch.device, other: UserCpuOffloadHook | None) -> None:
    """Have a text encoder come to a device when it is called, once the other has left it, and leave it at once."""
    hook = CpuOffload(device, other)
    add_hook_to_module(encoder, hook)
    leave = UserCpuOffloadHook(encoder, hook)
    inner = encoder.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        try:
            return inner(*args, **kwargs)
        finally:
            leave.offload()

    encoder.forward = forward
    _computing_on(encoder, device)


def _computing_on(module: nn.Module, device: torch.device) -> None:
    """Have a module say, as its device, where it computes, and not where its weights lie."""
    own = type(module)
    module.__class__ = type(own.__name__, (own,), {"device": device, "__module__": own.__module__})
