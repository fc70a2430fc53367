"""What a pass keeps and computes, counted of shapes, against networks that run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from longtake.models.families import FAMILIES
from longtake.models.load import adapter
from longtake.models.lora import add_lora
from longtake.training.trace import storage, trace
from networks import CHANNELS, NETWORKS, tiny_network

pytestmark = pytest.mark.slow

UNCOUNTED = {
    "Cosmos3OmniTransformer",
    "HunyuanVideo15Transformer3DModel",
    "Kandinsky5Transformer3DModel",
    "MiniMaxH3Transformer3DModel",
}
# These look at numbers of their text on the way; what they take is refused in a line.
COUNTED = sorted(FAMILIES.keys() - UNCOUNTED)


def made(name: str, rank: int | None) -> tuple[Any, Callable[[], Any]]:
    """A network, and a pass of it over two windows of five latents, on whatever device torch makes tensors."""
    network = tiny_network(name)
    if rank:
        add_lora(network, rank, float(rank))
    latents = torch.ones(2, CHANNELS, 5, 16, 16)
    text = NETWORKS[name].text(9).to(latents.device)
    return network, partial(
        adapter(name).network_velocity, network, latents, torch.full((2, 5), 500.0), text, 24.0
    )


@contextmanager
def keeping(network: Any) -> Iterator[Callable[[], int]]:
    """Yields what tells the bytes that autograd has kept within, weights aside."""
    weights, sizes = {storage(p) for p in network.parameters()}, dict[Any, int]()
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if storage(tensor) not in weights:
            sizes[storage(tensor)] = tensor.untyped_storage().nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield lambda: sum(sizes.values())


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("name", COUNTED)
def test_it_is_what_a_network_keeps(name: str, rank: int | None) -> None:
    """Guards memory of a run: on the meta device as on the processor."""
    with torch.device("meta"):
        shapes = made(name, rank)
    told = trace(*shapes, checkpointing=False)
    network, call = made(name, rank)
    with keeping(network) as kept:
        call()
    assert told.kept == pytest.approx(kept(), rel=0.05)


@pytest.mark.parametrize("name", COUNTED)
def test_a_checkpointed_pass_keeps_inputs_and_a_block(name: str) -> None:
    """Guards --gradient-checkpointing, in which a block's own are there while its gradient is computed."""
    with torch.device("meta"):
        shapes = made(name, None)
    plain, told = (trace(*shapes, checkpointing=checkpointing) for checkpointing in (False, True))
    network, call = made(name, None)
    network.enable_gradient_checkpointing()
    with keeping(network) as kept:
        call()
    assert kept() < told.kept < plain.kept
    assert told.flops == plain.flops


@pytest.mark.parametrize("name", COUNTED)
def test_work_is_counted_with_attention(name: str) -> None:
    """Guards hours: torch's own count, of attention in parts that it knows."""
    with torch.device("meta"):
        shapes = made(name, None)
    told = trace(*shapes, checkpointing=False)
    _, call = made(name, None)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    assert told.flops == counter.get_total_flops()
