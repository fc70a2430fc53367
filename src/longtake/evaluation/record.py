"""What is kept of a measured film: a JSON file of numbers and of where they come from."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from longtake.evaluation.measures.base import About
from longtake.evaluation.vbench.weights import Receipt

Values = list[float | None]  # None where there is nothing to measure, as JSON knows no NaN


class Model(BaseModel):
    """A part of the file. What was not given is not in it; what another version wrote besides is passed over."""

    model_config = ConfigDict(frozen=True)

    def given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


class Cost(Model):
    """What a film costs, in latents through the network for each of its frames, and what follows from its method."""

    evaluations_per_frame: float
    passes: int
    peak_window: int
    num_inference_steps: int


class Start(Model):
    """The clip that a film begins with: its name, and the sha256 of its pictures."""

    name: str
    sha256: str


class Source(Model):
    """Where a film comes from. `row`: what it is compared as. `group`: what its prompt is, films of one are compared
    with one another. `made`: the versions of what its numbers depend on. `options`: what its metadata say.

    The others are told of some films: of a file its name, sha256, codec, size and what is odd about it; of one that was
    made its cost and the clip it begins with; of one that was judged what it should show."""

    row: str
    group: str
    seed: int | None = None
    file: str = ""
    sha256: str = ""
    codec: str = ""
    size: tuple[int, int] | None = None
    options: dict[str, Any] = {}
    notes: list[str] = []
    made: dict[str, str | None] = {}
    shot: dict[str, Any] | None = None
    start: Start | None = None
    cost: Cost | None = None
    vbench_weights: dict[str, Receipt] | None = None


class Numbers(Model):
    """What was measured. `fps`: exact, as a fraction. `times`: the middle of each slice, in seconds. `curves`: a value
    a slice. `totals`: of the whole film. `about`: what each of these means."""

    num_frames: int = 0
    frames_left_over: int = 0
    fps: str = ""
    times: list[float]
    curves: dict[str, Values]
    totals: dict[str, float | None]
    about: dict[str, About]


class Record(Numbers, Source):
    """A film's file."""

    def json_values(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True)
