"""What one pass of a network keeps for its gradient, and how much it computes: of shapes alone, on torch's meta device.

B batch, L tokens, D width
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Trace:
    """kept: bytes that are held between a pass and its gradient, with those of one block, computed anew, if blocks are
    checkpointed. flops: of the pass's products of matrices, a multiplication and an addition counted as two."""

    kept: int
    flops: int


def trace(network: Any, call: Callable[[], Any], checkpointing: bool) -> Trace:
    """A pass of a network on the meta device. call: the pass. checkpointing: its blocks keep their input alone."""
    kept, blocks = _Kept({storage(parameter) for parameter in network.parameters()}), [0]

    def checkpointed(block: nn.Module, *inputs: Any, **named: Any) -> Any:
        for value in (*inputs, *named.values()):
            if isinstance(value, Tensor):
                kept.keep(value)
        within = _Kept(kept.left_out | kept.sizes.keys())
        with saved_tensors_hooks(within.keep, _as_it_is):
            made = block(*inputs, **named)
        blocks.append(within.size)
        return made

    if checkpointing:
        network.enable_gradient_checkpointing(checkpointed)
    attention, counter = _FusedAttention(), FlopCounterMode(display=False)
    with attention, counter, saved_tensors_hooks(kept.keep, _as_it_is):
        call()
    return Trace(kept.size + max(blocks), counter.get_total_flops() + attention.flops)


def storage(tensor: Tensor) -> StorageWeakRef:
    """The memory of a tensor, which its views share."""
    return StorageWeakRef(tensor.untyped_storage())


class _Kept:
    """Tensors that are kept, each memory counted once; those in `left_out` are there anyway."""

    def __init__(self, left_out: set[StorageWeakRef]) -> None:
        self.left_out = left_out
        self.sizes: dict[StorageWeakRef, int] = {}
        self._alive: list[Tensor] = []  # or their memory could be another's later

    @property
    def size(self) -> int:
        return sum(self.sizes.values())

    def keep(self, tensor: Tensor) -> Tensor:
        if (place := storage(tensor)) not in self.left_out:
            self.sizes[place] = tensor.untyped_storage().nbytes()
            self._alive.append(tensor)
        return tensor


class _FusedAttention(TorchFunctionMode):
    """Attention as the fused kernels of processors and cards do it, which keep no table of weights; on the meta device
    torch would take the one that does."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if function is not functional.scaled_dot_product_attention:
            return function(*args, **named)
        named |= zip(("query", "key", "value"), args, strict=False)
        query, key, value = named["query"], named["key"], named["value"]
        self.flops += 2 * query[..., 0].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        return _Attended.apply(query, key, value)


class _Attended(torch.autograd.Function):
    """The result of attention without its numbers, (B, heads, L, D): what it keeps is its input, its result, which lies
    token by token as the kernels leave it, and a number a row."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, heads, length, _ = query.shape
        made = query.new_empty(batch, length, heads, value.shape[-1]).transpose(1, 2)
        ctx.save_for_backward(query, key, value, made, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return made


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor
