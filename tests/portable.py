"""Comparisons that hold on any processor: what rounding may move, and another maker's rounding to try it with.

Two processors give float32 results that differ in their last digits: their vector libraries round `exp` and `sin`
differently, and their matrix products add in another order. So no test compares two computations more tightly than
`rounding` allows, which moves inputs, weights and results by such digits and looks how far the end moves.
"""

import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

MAKERS = 4
MARGIN = 3.0  # the makers tried are few, and of two results that are compared both are rounded

# What no standard of arithmetic defines to the last digit, unlike +, ×, / and the square root; row by row.
FUNCTIONS = frozenset(
    """
    exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan atan2 sinh cosh tanh erf erfc erfinv
    sigmoid log_sigmoid silu gelu mish softplus elu rsqrt logaddexp silu_backward gelu_backward addcmul
    addcdiv softmax log_softmax _softmax _log_softmax _softmax_backward_data _log_softmax_backward_data
    """.split()  # noqa: SIM905
)
# What adds numbers up, in an order that depends on the processor, on the shape, and on where memory begins: numbers
# of one sign, mostly, or products of both, whose sum may be much smaller than they are; and the latter row by row.
SUMS = frozenset(
    """
    sum mean var std var_mean std_mean norm linalg_vector_norm cumsum prod logsumexp cosine_similarity
    """.split()  # noqa: SIM905
)
PRODUCTS = frozenset(
    """
    mm addmm bmm baddbmm mv addmv dot vdot matmul linear conv1d conv2d conv3d convolution
    convolution_backward native_layer_norm_backward group_norm native_group_norm
    native_group_norm_backward batch_norm native_batch_norm _fused_rms_norm_backward
    scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_flash_attention_for_cpu_backward _scaled_dot_product_attention_math
    upsample_bilinear2d upsample_bicubic2d _upsample_bicubic2d_aa _upsample_bilinear2d_aa
    upsample_trilinear3d grid_sampler_2d avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool2d
    """.split()  # noqa: SIM905
)
ROWS = frozenset(
    """
    layer_norm native_layer_norm rms_norm _fused_rms_norm
    """.split()  # noqa: SIM905
)
# The bits of a number, and those that are zero in short ones: results such as 1 or 0.25 are exact on any processor.
BITS = {torch.float32: (np.uint32, 0xFF), torch.float64: (np.uint64, 0xFFFFF)}

# For tests that count what torch compiles: it compiles nothing where results are changed on their way.
compiling = pytest.mark.skipif(bool(os.environ.get("LONGTAKE_MAKER")), reason="nothing is compiled then")

# For tests that want the same bits of a process of their own, which computes as this machine does.
in_two_processes = pytest.mark.skipif(
    bool(os.environ.get("LONGTAKE_MAKER")), reason="the other process would compute as this machine does"
)


class OtherMaker(TorchDispatchMode):
    """Runs everything inside as on a processor of another maker, which is the same one each time.

    A quarter of each function's float32 and float64 results is one unit in the last place higher, a quarter lower,
    as their own bits decide. So are sums, where shapes and the alignment of memory decide too, and sums of products,
    in units of their typical size: the same call on the same numbers gives the same bits, and nothing else need do.
    Other processes that a test starts compute as they are.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [*args, *(kwargs or {}).values()]
        name = func.overloadpacket.__name__.removesuffix("_")
        place = tuple(_places(given)) if name in SUMS | PRODUCTS else ()
        results = func(*args, **(kwargs or {}))
        if name in FUNCTIONS | SUMS | PRODUCTS | ROWS or (name == "pow" and _is_broken(given)):
            salt = zlib.crc32(repr((self.seed, name, place)).encode())
            for result in results if isinstance(results, (tuple, list)) else [results]:
                if _is_held(result) and result.dtype in BITS and result.numel():
                    _move(result, salt, _along(name))
        return results


def _places(arguments: list[Any]) -> Iterator[tuple[Any, ...]]:
    for argument in arguments:
        if _is_held(argument):
            yield tuple(argument.shape), argument.stride(), argument.data_ptr() % 64


def _is_held(value: Any) -> bool:
    """Whether numbers lie in memory, unlike a device's, or those of shapes without any."""
    return isinstance(value, Tensor) and value.device.type == "cpu"


def _is_broken(arguments: list[Any]) -> bool:
    """Whether a power is more than products and square roots."""
    return isinstance(arguments[1], Tensor) or not float(2 * arguments[1]).is_integer()


def _along(name: str) -> int | None:
    """The axis along which the products of one place lie, whose typical size says how they round; None for others."""
    return None if name not in PRODUCTS | ROWS else 1 if "conv" in name else -1


def _move(result: Tensor, salt: int, along: int | None) -> None:
    kind, short = BITS[result.dtype]
    numbers = np.atleast_1d(result.detach().numpy())
    bits = numbers.view(kind)
    drawn = (bits ^ kind(salt)) * kind(0x9E3779B1) >> kind(8 * bits.itemsize - 2)
    fixed = (bits & kind(short) == 0) | ~np.isfinite(numbers)
    way = np.where(fixed, 0, (drawn == 0).astype(np.int8) - (drawn == 1)).astype(np.int8)
    if along is None:
        bits += way.astype(kind)
        return
    with np.errstate(all="ignore"):
        typical = np.sqrt(np.square(numbers).mean(min(along, numbers.ndim - 1), keepdims=True))
        size = np.maximum(np.abs(numbers), np.where(np.isfinite(typical), typical, 0))
        numbers += np.where(fixed, 0, way * size * np.finfo(numbers.dtype).eps)


def rounding(compute: Callable[[], Any], *moved: Any, makers: int = MAKERS) -> float:
    """The least absolute tolerance that a float32 comparison of `compute()` may have.

    moved: its inputs, and the modules whose weights it uses; lists and mappings of both will do.
    `compute` runs as on a few other makers' processors, with every float32 number of `moved` one unit in the last
    place up or down at random. The furthest that any number of its tensor, or tensors, moves is taken MARGIN times.
    What nothing moves may differ by a unit in the last place of the largest number. `moved` is put back.
    """
    before = _tensors(compute())
    furthest = 0.0
    for seed in range(makers):
        with _moved(_tensors(moved), seed), OtherMaker(seed):
            after = _tensors(compute())
        furthest = max([furthest, *(largest(b, a) for b, a in zip(before, after, strict=True))])
    unit = torch.finfo(torch.float32).eps * max(float(b.abs().max()) for b in before if b.numel())
    return max(MARGIN * furthest, unit)


def largest(one: Tensor, other: Tensor) -> float:
    """The largest difference of two tensors of one shape."""
    assert one.shape == other.shape, (one.shape, other.shape)
    return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Fail if any number differs by more than an absolute tolerance, mostly one of `rounding`."""
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, nn.Module):
        return [*value.parameters(), *value.buffers()]
    if isinstance(value, Tensor):
        return [value.detach()]
    entries = value.values() if isinstance(value, Mapping) else value
    return [tensor for entry in entries for tensor in _tensors(entry)]


@contextmanager
def _moved(tensors: list[Tensor], seed: int) -> Iterator[None]:
    """Hold float32 tensors one unit in the last place away from where they are."""
    generator = torch.Generator().manual_seed(seed)
    tensors = [tensor.detach() for tensor in tensors if tensor.dtype == torch.float32]
    kept = [tensor.clone() for tensor in tensors]
    try:
        for tensor in tensors:
            up = torch.rand(tensor.shape, generator=generator) < 0.5
            tensor.copy_(tensor.nextafter(torch.where(up, torch.inf, -torch.inf)).where(tensor != 0, 0))
        yield
    finally:
        for tensor, before in zip(tensors, kept, strict=True):
            tensor.copy_(before)


def same_pictures(a: np.ndarray, b: np.ndarray) -> None:
    """Two renders of the same, uint8: where rounding depends on how many are drawn together, a number in a thousand may
    be a level off."""
    apart = np.abs(a.astype(int) - b)
    assert a.shape == b.shape and apart.max() <= 1 and (apart > 0).mean() < 1e-3
