"""What a film was made with: the weights, the versions, the device. It is in the film's file, under the key MADE.

What a film follows from (prompt, seed, options) is FilmPlan.metadata; a film that follows from the same and was made
with the same has the same pictures.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

import longtake
from longtake.machine import processor

if TYPE_CHECKING:
    from longtake.pipeline import LongTake

MADE = "made"
# By field: what it is called. All that pictures depend on beside what a film follows from.
WORDS = {
    "model_sha256": "the model's weights",
    "longtake": "longtake",
    "torch": "torch",
    "diffusers": "diffusers",
    "python": "Python",
    "device": "the device",
    "device_name": "the processor",
    "threads": "the number of threads",
    "dtype": "the precision",
}
LONGEST_NAME = 80  # characters of a processor's name


class Made(BaseModel):
    """What a film was made with; None is what is not known.

    model_sha256: of the model's weights, and of the JSON that says how to use them. longtake, torch, diffusers, python:
    versions. device: cpu, cuda, mps; device_name: which one. threads: of the processor. dtype: the precision of the
    network. wall_seconds: what filming took by the clock, loading left out, in all processes that filmed it. earlier:
    what was other, in words, before a film that was stopped went on.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    model_sha256: str | None = None
    longtake: str | None = None
    torch: str | None = None
    diffusers: str | None = None
    python: str | None = None
    device: str | None = None
    device_name: str | None = None
    threads: int | None = None
    dtype: str | None = None
    wall_seconds: float | None = None
    earlier: dict[str, str | int] = {}

    def then(self, other: Made) -> Made:
        """What a film was made with that was begun with this, and goes on with another."""
        changed = {name: getattr(self, name) for name in WORDS if _differ(self, other, name)}
        seconds = (self.wall_seconds or 0) + (other.wall_seconds or 0)
        return other.model_copy(
            update={"earlier": {**changed, **self.earlier}, "wall_seconds": round(seconds, 2)}
        )


def made_by(model: LongTake, weights: str | None = None, wall_seconds: float | None = None) -> Made:
    """What a film is made with that `model` films here and now. weights: their hash, if it is known."""
    import torch

    device = model.model.device
    on_cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_cuda else _processor()
    return Made(
        model_sha256=weights or None,
        longtake=longtake.__version__,
        torch=_version("torch"),
        diffusers=_version("diffusers"),
        python=platform.python_version(),
        device=device.type,
        device_name=name.encode("ascii", "replace").decode()[:LONGEST_NAME],
        threads=None if on_cuda else torch.get_num_threads(),
        dtype=str(model.model.dtype).removeprefix("torch."),
        wall_seconds=None if wall_seconds is None else round(wall_seconds, 2),
    )


def made_in(metadata: Mapping[str, Any]) -> Made:
    """What a film that says this of itself was made with, as far as it says so: films of before do not."""
    with suppress(ValidationError):
        return Made.model_validate(metadata.get(MADE, {}))
    return Made()


def loras_in(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The LoRAs that a film says it follows from: name, sha256 and weight. Films of before had one, of no weight."""
    if isinstance(before := metadata.get("lora"), dict):
        return [{**before, "weight": 1.0}]
    told = metadata.get("loras")
    return [lora for lora in told if isinstance(lora, dict)] if isinstance(told, list) else []


def followed(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a film that says this of itself follows from: all but what it was made with."""
    return {name: value for name, value in metadata.items() if name != MADE}


def differences(before: Made, now: Made) -> list[str]:
    """What is other by now, in words. Its pictures may differ where there is any."""
    return [
        "the model's weights are others"
        if name == "model_sha256"
        else f"{word} was {getattr(before, name)} and is {getattr(now, name)}"
        for name, word in WORDS.items()
        if _differ(before, now, name)
    ]


def unknown(before: Made, now: Made) -> list[str]:
    """What cannot be compared, by name, since the film of before does not say it."""
    return [
        word
        for name, word in WORDS.items()
        if getattr(before, name) is None and getattr(now, name) is not None
    ]


def _differ(before: Made, now: Made, name: str) -> bool:
    was = getattr(before, name)
    return was is not None and was != getattr(now, name)


@cache
def _processor() -> str:
    return processor()[0]


@cache
def _version(package: str) -> str | None:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None
