"""Bytes that tensors take while something is computed: of real ones, and of those of the meta device, as if real."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Attention that holds no score of any two tokens, as on a card.
FUSED = torch.ops.aten.scaled_dot_product_attention.default


class Tally(TorchDispatchMode):
    """Counts the memory of tensors that are made in it, views once: `held` bytes now, `peak` at most.

    What libraries take beside tensors (workspaces of convolutions, what an allocator cannot reuse) is not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self._counted: weakref.WeakValueDictionary[int, torch.UntypedStorage] = weakref.WeakValueDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is not FUSED:
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        made = func(*args, **kwargs)
        given = {_storage(t)._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and (storage := _storage(tensor))._cdata not in given:
                self._count(storage)
        return made

    def count(self, module: nn.Module) -> int:
        """Count the parameters and buffers that a module has already; returns their bytes."""
        before = self.held
        for tensor in (*module.parameters(), *module.buffers()):
            self._count(_storage(tensor))
        return self.held - before

    def _count(self, storage: torch.UntypedStorage) -> None:
        if self._counted.get(storage._cdata) is storage:
            return
        self._counted[storage._cdata] = storage
        size = storage.nbytes()
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._release, size).atexit = False

    def _release(self, size: int) -> None:
        self.held -= size


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()


def nbytes(module: nn.Module) -> int:
    """The bytes of a module's parameters and buffers, tied ones once."""
    tensors = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.nbytes for tensor in tensors.values())
