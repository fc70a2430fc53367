"""Text as networks read it, and the records and functions that families other than Wan's need."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from longtake.models.codecs import of_buffers, of_factors, of_rows
from longtake.models.configs import (
    Count,
    FlowConfig,
    Latents,
    SchedulerConfig,
    VaeConfig,
    WanVaeConfig,
    checked,
)
from longtake.models.text import Text


def text(rows: int = 2, tokens: int = 3, pooled: bool = True) -> Text:
    """Of five tokens, of which the first are seen; what lies behind them is not finite."""
    mask = (torch.arange(5) < tokens).repeat(rows, 1)
    states = torch.randn(rows, 5, 4).masked_fill(~mask.unsqueeze(-1), torch.nan)
    return Text(states, mask, torch.randn(rows, 6) if pooled else None)


def tensors(given: Text) -> list[Tensor]:
    assert given.pooled is not None
    return [given.zero_padded(), given.mask, given.pooled]


def same(a: Text, b: Text) -> bool:
    return all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def test_rows_move_together() -> None:
    """Guards masks and pooled vectors that stay behind when rows are picked, joined, cut or repeated."""
    a, b = text(), text(1)
    both = Text.cat([a, b])
    assert len(both) == 3 and same(both[2:], b) and same(both[[0, 1]], a)
    assert same(Text.cat(both.tensor_split(2)), both)
    assert same(b.expand(3)[2:], b)
    assert same(Text.where(torch.tensor([True, False]), a, b.expand(2)), Text.cat([a[:1], b]))
    assert Text.cat([a, text(pooled=False)]).pooled is None


def test_a_text_a_latent() -> None:
    """Guards the shapes (B, F, …) of all three, and windows that grow."""
    a, b = text(), text()
    each = Text.a_latent([a, b, b])
    assert each.per_latent and not a.per_latent
    assert [tensor.shape[:2] for tensor in tensors(each)] == [(2, 3)] * 3
    assert same(each[:, 0], a) and same(each[:, 2], b)
    assert each.of_latents(2).states.shape[1] == 2 and a.of_latents(2) is a
    assert same(each, a[torch.tensor([[0, 0], [1, 1]])]) is False


def test_a_null_text_has_the_tokens_of_the_other() -> None:
    """Guards the learned empty caption of many tokens, and one that is shorter than all others."""
    null = text(1, tokens=5)
    for given in (text(), Text.a_latent([text(), text(2, 2)])):
        empty = given.emptied(null)
        assert empty.states.shape == given.states.shape and torch.equal(empty.mask, given.mask)
        assert empty.pooled is not None and given.pooled is not None
        assert empty.pooled.shape == given.pooled.shape
    assert torch.equal(text().emptied(text(1, tokens=1)).mask.sum(-1), torch.ones(2))


def test_a_blend_sees_the_tokens_of_both() -> None:
    """Guards states that mean nothing, and the ends, which are the texts themselves."""
    a, b = text(tokens=2), text(tokens=4)
    half = a.blended(b, 0.5)
    assert torch.equal(half.mask, b.mask) and half.pooled is not None
    torch.testing.assert_close(half.zero_padded(), (a.zero_padded() + b.zero_padded()) / 2)
    assert a.blended(b, 0.0) is a and a.blended(b, 1.0) is b


def test_precision_leaves_the_mask() -> None:
    given = text().to(torch.device("cpu"), torch.bfloat16)
    assert [tensor.dtype for tensor in tensors(given)] == [torch.bfloat16, torch.bool, torch.bfloat16]


class Config(dict[str, Any]):
    """As diffusers' are."""

    __getattr__ = dict.__getitem__


def vae(**config: Any) -> SimpleNamespace:
    rows = {"latents_mean": torch.tensor([1.0, 2.0]), "latents_std": torch.tensor([4.0, 8.0])}
    return SimpleNamespace(device=torch.device("cpu"), config=Config(config), **rows)


@pytest.mark.parametrize(
    ("found", "mean", "std"),
    [
        (of_rows(vae(latents_mean=[0.5, 1], latents_std=[2, 3])), [0.5, 1], [2, 3]),
        (of_factors(vae(scaling_factor=0.5)), [0], [2]),
        (of_factors(vae(scaling_factor=0.25, shift_factor=0.1)), [0.1], [4]),
        (of_buffers(vae(scaling_factor=2.0)), [1, 2], [2, 4]),
    ],
)
def test_statistics(found: tuple[Tensor, Tensor], mean: list[float], std: list[float]) -> None:
    """Guards the scaling: raw latents are normalised ones times std plus mean, float32, a channel each."""
    for got, wanted in zip(found, (mean, std), strict=True):
        assert got.dtype == torch.float32 and got.shape == (1, len(wanted), 1, 1, 1)
        torch.testing.assert_close(got.flatten(), torch.tensor(wanted, dtype=torch.float32))


class Sixteenfold(VaeConfig):
    """Of an autoencoder that speaks of itself in other words than Wan's."""

    latent_channels: Count
    temporal_ratio: Count = 8

    @property
    def latents(self) -> Latents:
        return Latents(self.latent_channels, 32, self.temporal_ratio)


def test_configurations_in_other_words() -> None:
    """Guards factors other than Wan's, and schedulers that say nothing of a shift."""
    made = checked(Sixteenfold, {"latent_channels": 128}, "vae")
    assert made.latents == Latents(128, 32, 8) and made.refusal is None
    assert checked(WanVaeConfig, {"z_dim": 2}, "vae").refusal
    other = checked(SchedulerConfig, {"beta_schedule": "scaled_linear", "shift": 7.0}, "scheduler")
    assert other.given_shift("CogVideoXDDIMScheduler") is None and other.prediction == "flow_prediction"
    flow = checked(FlowConfig, {"shift": 7.0, "prediction_type": "sample"}, "scheduler")
    assert flow.given_shift("FlowMatchEulerDiscreteScheduler") == 7 and flow.prediction == "sample"
