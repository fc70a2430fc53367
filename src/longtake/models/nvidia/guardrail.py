"""NVIDIA's guardrail for Cosmos, as diffusers' pipelines use it: prompts that it blocks are not filmed, pictures that
it blocks do not come out, and faces are blurred.

The NVIDIA Open Model License, §2.1: who bypasses, disables or weakens a model's guardrail "without a substantially
similar Guardrail appropriate for your use case" loses the rights to the model at once. So there is no way around it
here. It is a package of its own, cosmos_guardrail, which fetches its weights by itself; whoever has a guardrail of the
kind that the licence asks for instead installs it under that name, with the two calls that are made here.

B batch, N pixel frames
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor

from longtake.errors import ModelError, OptionError
from longtake.models.base import Decoder

PACKAGE = "cosmos_guardrail"


class Guardrail(Protocol):
    """What is asked of PACKAGE's CosmosSafetyChecker."""

    def check_text_safety(self, prompt: str) -> bool:
        """Whether a prompt may be filmed."""
        ...

    def check_video_safety(self, frames: Any) -> Any:
        """Pictures (N, height, width, 3), uint8, as they may be shown, or None if they may not."""
        ...


def check_guardrail(model: str) -> None:
    """ModelError, which names the model, unless the guardrail is installed."""
    if find_spec(PACKAGE) is None:
        raise ModelError(
            f"{model} is licensed to be filmed with behind its guardrail alone: pip install cosmos-guardrail (see"
            " docs/models.md)"
        )


def load_guardrail(device: torch.device) -> Guardrail:
    """The guardrail, on a device."""
    guardrail: Any = import_module(PACKAGE).CosmosSafetyChecker()
    guardrail.to(device)
    return guardrail


def check_prompt(guardrail: Guardrail, prompt: str) -> None:
    """OptionError for a prompt that is blocked. An empty one says nothing."""
    if prompt.strip() and not guardrail.check_text_safety(prompt):
        raise OptionError(f'NVIDIA\'s guardrail blocks the prompt "{prompt[:60]}": write another one')


class GuardedDecoder:
    """A decoder whose pictures have passed a guardrail."""

    def __init__(self, decoder: Decoder, guardrail: Guardrail) -> None:
        self._decoder, self._guardrail = decoder, guardrail

    def state(self) -> dict[str, Tensor]:
        return self._decoder.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._decoder.restore(state)

    def push(self, latents: Tensor) -> Tensor:
        """As Decoder says, but for what the guardrail blurs. OptionError for pictures that it blocks."""
        return torch.stack([self._passed(row) for row in self._decoder.push(latents)])

    def rest(self) -> Iterator[Tensor]:
        """As Decoder says, guarded as `push` is."""
        for frames in self._decoder.rest():
            yield torch.stack([self._passed(row) for row in frames])

    def _passed(self, frames: Tensor) -> Tensor:
        """Frames (3, N, height, width) of [-1, 1]; what the guardrail leaves as it is keeps all its digits. Frames of
        numbers that are not finite are no pictures: whoever films says where they are."""
        if not frames.shape[1] or not frames.isfinite().all():
            return frames
        pictures = frames.add(1).mul(127.5).round().byte().permute(1, 2, 3, 0)
        seen = self._guardrail.check_video_safety(pictures.cpu().numpy().copy())
        if seen is None:
            raise OptionError("NVIDIA's guardrail blocks pictures of this film: ask for something else")
        passed = torch.from_numpy(seen).to(frames.device)
        shown = passed.permute(3, 0, 1, 2).float().div(127.5).sub(1)
        return torch.where((passed == pictures).permute(3, 0, 1, 2), frames, shown)
