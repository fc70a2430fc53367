"""Weights shared out over processes (FSDP2), and gathered again. Does nothing to tensors that are not shared out.

accelerate's own FSDP2 is passed over: it refuses processes without a GPU, and in bfloat16 it would round the network's
timesteps too, which are numbers up to 1000.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(transformer: Any, device: torch.device, processes: int) -> None:
    """Share the weights of a transformer out over all processes, in place: one block is whole at a time."""
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")  # nobody writes into it
    mesh = init_device_mesh(device.type, (processes,))
    for part in (*blocks_of(transformer), transformer):
        fully_shard(part, mesh=mesh)


def blocks_of(transformer: Any) -> list[nn.Module]:
    """The blocks of a network, which not every class of diffusers names: what stands in its lists."""
    lists = [child for child in transformer.children() if isinstance(child, nn.ModuleList)]
    return [block for each in lists for block in each]


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a tensor, on the CPU. All processes must ask for it."""
    whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return whole.detach().cpu()


def scattered(whole: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, on the device of another one, and shared out as that one is."""
    if not isinstance(like, DTensor):
        return whole.to(like.device)
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements)
