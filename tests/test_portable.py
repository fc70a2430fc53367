"""The helper that says what rounding may move: what it allows, and that what is wrong exceeds it."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from portable import OtherMaker, close, largest, rounding


@pytest.fixture
def network() -> nn.Sequential:
    """Linear layers around a norm and a GELU."""
    return nn.Sequential(
        nn.Linear(32, 64), nn.RMSNorm(64, eps=1e-2), nn.GELU(), nn.Linear(64, 16)
    ).requires_grad_(False)


@pytest.fixture
def given() -> Tensor:
    return torch.randn(5, 32)


def test_it_is_small_and_not_zero(network: Any, given: Tensor) -> None:
    """Guards the scale: some units in the last place of the result, neither none nor a thousand."""
    tolerance = rounding(lambda: network(given), network, given)
    unit = torch.finfo(torch.float32).eps * float(network(given).abs().max())
    assert unit <= tolerance < 30 * unit


def test_another_precision_and_another_order_are_within(network: Any, given: Tensor) -> None:
    """Guards what it is for: the same formula in float64, and sums over parts, are no failures."""
    tolerance = rounding(lambda: network(given), network, given)
    close(network(given), copy.deepcopy(network).double()(given.double()).float(), tolerance)
    first, weight = network[0], network[0].weight
    parts = given[:, :7] @ weight[:, :7].T + given[:, 7:] @ weight[:, 7:].T + first.bias
    close(network(given), network[1:](parts), tolerance)


@pytest.mark.parametrize("fault", ["epsilon", "weight", "gelu", "input"])
def test_what_is_wrong_exceeds_it(network: Any, given: Tensor, fault: str) -> None:
    """Guards against a tolerance that allows everything: an epsilon off by 10, one of 3,000 weights off by 1e-3, the
    other GELU, an input in half precision."""
    tolerance = rounding(lambda: network(given), network, given)
    wrong, seen = copy.deepcopy(network), given
    match fault:
        case "epsilon":
            wrong[1].eps = 1e-3
        case "weight":
            wrong[0].weight[3, 4] += 1e-3
        case "gelu":
            wrong[2].approximate = "tanh"
        case "input":
            seen = given.half().float()
    with pytest.raises(AssertionError, match="not close"):
        close(wrong(seen), network(given), tolerance)


def test_nothing_is_changed(network: Any, given: Tensor) -> None:
    """Guards models that tests share: weights and inputs are put back, also where the computation fails."""
    before = copy.deepcopy([*network.parameters(), given])
    rounding(lambda: network(given), network, [given], {"again": given})
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        rounding(lambda: network(given.T if network[0].bias[0] != before[1][0] else given), network, given)
    assert all(map(torch.equal, before, [*network.parameters(), given]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_another_maker_is_always_the_same(dtype: torch.dtype) -> None:
    """Guards tests of equal bits: a function of its numbers, many of them a unit off; another seed is another one."""
    x = torch.rand(1000, dtype=dtype) + 1
    with OtherMaker(1):
        one, same, part, in_place = x.exp(), x.exp(), x[::3].exp(), x.clone().exp_()
    with OtherMaker(2):
        other = x.exp()
    assert torch.equal(one, same) and torch.equal(one[::3], part) and torch.equal(one, in_place)
    kind = torch.int32 if dtype == torch.float32 else torch.int64
    units = one.view(kind) - x.exp().view(kind)
    assert {-1, 0, 1} <= set(units.tolist()) <= {-2, -1, 0, 1, 2} and 0.1 < float(
        (units != 0).double().mean()
    ) < 0.8
    assert not torch.equal(one, other)


def test_another_maker_sums_by_shape() -> None:
    """Guards the imitation: rows of a matrix product are others in another batch, and the same in the same one."""
    x, y = torch.randn(8, 20), torch.randn(20, 6)
    with OtherMaker(1):
        whole, same, half = x @ y, x @ y, x[:4] @ y
        nearly = x.clone()
        nearly[5] += 1
        beside = nearly @ y
    assert torch.equal(whole, same) and not torch.equal(whole[:4], half)
    assert torch.equal(whole[:5], beside[:5]) and torch.equal(whole[6:], beside[6:])
    assert 0 < largest(whole, x @ y) < 1e-5


def test_what_is_exact_stays_exact() -> None:
    """Guards against failures that no processor would show: 1, 0, infinity, whole numbers, sums and products."""
    x = torch.randn(50)
    with OtherMaker(1):
        assert torch.zeros(3).exp().eq(1).all() and torch.tensor([-torch.inf]).exp().eq(0).all()
        assert (torch.arange(9.0).view(3, 3) @ torch.ones(3, 3)).flatten().tolist() == [3] * 3 + [12] * 3 + [
            21
        ] * 3
        moved = x + x * x / 3 - x.sqrt().nan_to_num()
    assert torch.equal(moved, x + x * x / 3 - x.sqrt().nan_to_num())
    assert torch.isinf(torch.full((1,), 1e30).exp()).all()
