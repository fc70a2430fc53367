"""The guardrail of Cosmos, with a stand-in for the package that has it."""

import sys
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from longtake.errors import ModelError, OptionError
from longtake.models.nvidia.guardrail import (
    PACKAGE,
    GuardedDecoder,
    check_guardrail,
    check_prompt,
    load_guardrail,
)


class StandIn:
    """Blocks the word "weapon" and pictures that are white; blurs what is brighter than grey in the upper half."""

    def to(self, device: Any) -> None:
        self.device = device

    def check_text_safety(self, prompt: str) -> bool:
        return bool(prompt) and "weapon" not in prompt

    def check_video_safety(self, frames: np.ndarray) -> np.ndarray | None:
        assert frames.dtype == np.uint8 and frames.shape[3] == 3
        if (frames == 255).all():
            return None
        top = frames[:, : frames.shape[1] // 2]
        top[top > 128] = 128
        return frames


class Frames:
    """A decoder that gives what it is given."""

    def state(self) -> dict[str, Tensor]:
        return {"seen": torch.ones(1)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.restored = state

    def push(self, latents: Tensor) -> Tensor:
        return latents

    def rest(self) -> Iterator[Tensor]:
        yield torch.ones(1, 3, 1, 4, 6) * 0.9


def test_a_prompt_that_is_blocked_is_not_filmed() -> None:
    """An empty prompt is the unguided half, which NVIDIA's list would block."""
    check_prompt(StandIn(), "a red car")
    check_prompt(StandIn(), " ")
    with pytest.raises(OptionError, match='blocks the prompt "a weapon"'):
        check_prompt(StandIn(), "a weapon")


def test_pictures_pass_or_stop_the_film() -> None:
    """What is not blurred keeps its digits; numbers that are not finite are left for whoever names their place."""
    decoder = GuardedDecoder(Frames(), StandIn())
    frames = torch.rand(2, 3, 2, 4, 6) * 1.9 - 0.95
    shown = decoder.push(frames)
    dark = (frames + 1) * 127.5 < 128
    assert torch.equal(shown[..., 2:, :], frames[..., 2:, :])
    assert torch.equal(shown[..., :2, :][dark[..., :2, :]], frames[..., :2, :][dark[..., :2, :]])
    assert shown[..., :2, :].max() < 0.01 < frames[..., :2, :].max()
    assert decoder.push(frames[:, :, :0]).shape == (2, 3, 0, 4, 6)
    broken = frames.fill_(torch.nan)
    assert decoder.push(broken).isnan().all()
    with pytest.raises(OptionError, match="blocks pictures"):
        decoder.push(torch.ones(1, 3, 1, 4, 6))
    assert [portion[..., :2, :].max() < 0.01 for portion in decoder.rest()] == [True]


def test_its_state_is_that_of_the_decoder() -> None:
    """A film behind the guardrail stops and goes on."""
    inner = Frames()
    decoder = GuardedDecoder(inner, StandIn())
    decoder.restore(decoder.state())
    assert inner.restored == {"seen": torch.ones(1)}


def test_without_the_package_nothing_is_filmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The licence ends where the guardrail is left out."""
    with pytest.raises(ModelError, match=r"cosmos is licensed .* pip install cosmos-guardrail"):
        check_guardrail("cosmos")
    module = SimpleNamespace(CosmosSafetyChecker=StandIn, __spec__=object())
    monkeypatch.setitem(sys.modules, PACKAGE, module)
    check_guardrail("cosmos")
    loaded = load_guardrail(torch.device("cpu"))
    assert isinstance(loaded, StandIn) and loaded.device == torch.device("cpu")
