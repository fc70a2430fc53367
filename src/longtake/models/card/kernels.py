"""How a network computes: which attention, compiled or not, and no cache of what a step before has computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from longtake.errors import ModelError, OptionError
from longtake.values import nearest

# Hooks of diffusers that reuse what a network computed a step before, by the name that their registry has for them.
CACHES = {
    "faster_cache": "FasterCache",
    "fbc_": "FirstBlockCache",
    "mag_cache": "MagCache",
    "pyramid_attention_broadcast": "PyramidAttentionBroadcast",
    "sea_cache": "SeaCache",
    "taylorseer_cache": "TaylorSeer",
    "text_kv_cache": "TextKVCache",
}
# What TeaCache's and cache_dit's patches leave on a network.
MARKS = {"enable_teacache": "TeaCache", "_is_cached": "cache_dit", "_cache_context": "cache_dit"}


def refuse_caches(network: nn.Module) -> None:
    """ModelError for a network with a cache that goes by steps or by places: the window moves on under it."""
    if found := _caches(network):
        raise ModelError(
            f"the network has {found[0]} enabled, which keeps what it computed for a place in the clip; here the window"
            " moves on, and another latent would get it: disable it"
        )


def _caches(network: nn.Module) -> list[str]:
    config = type(getattr(network, "_cache_config", None)).__name__.removesuffix("Config")
    found = [config] if getattr(network, "is_cache_enabled", False) else []
    found += [
        cache
        for module in network.modules()
        for hook in getattr(getattr(module, "_diffusers_hook", None), "hooks", ())
        for prefix, cache in CACHES.items()
        if hook.startswith(prefix)
    ]
    return found + [cache for mark, cache in MARKS.items() if getattr(network, mark, False)]


def set_attention(network: Any, backend: str) -> None:
    """Have a network compute attention by a backend of diffusers. OptionError for one that there is not, that fetches
    code from the hub or that is not installed, and for a network whose attention has no such switch."""
    from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

    known = [name.value for name in AttentionBackendName]
    if backend not in known:
        raise OptionError(
            f"there is no attention {backend}{nearest(backend, known)} (diffusers has {', '.join(known)})"
        )
    if backend.endswith("_hub"):
        raise OptionError(f"attention {backend} fetches code from the hub and runs it; longtake runs none")
    switches = [module for module in network.modules() if hasattr(_processor(module), "_attention_backend")]
    if not switches:
        raise OptionError(f"the attention of a {type(network).__name__} has no switch: leave attention out")
    before, _ = _AttentionBackendRegistry.get_active_backend()
    try:
        network.set_attention_backend(backend)
    except (RuntimeError, ValueError, ImportError) as error:
        raise OptionError(f"attention {backend} cannot be used: {str(error).splitlines()[0]}") from error
    _AttentionBackendRegistry.set_active_backend(before)  # that of other networks stays what it was


def _processor(module: nn.Module) -> Any:
    return getattr(module, "processor", None)


def compile_blocks(network: Any, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile the blocks of a network. OptionError if it does not say which they are.

    Each kind of block is compiled for the first length of window, and once more for any other. A window that grows or
    drains is not padded: its attention would see what is not there.
    """
    if not getattr(network, "_repeated_blocks", None):
        raise OptionError(f"a {type(network).__name__} names no blocks to compile: leave compile out")
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 16)
    network.compile_repeated_blocks(backend=backend)
