"""What a comparison films: a film at a time, measured while it is made."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import torch

from longtake.evaluation.benchmark import BETWEEN
from longtake.evaluation.films import (
    PORTION,
    Strip,
    also_written,
    made_with,
    measure_film,
    recorded,
    write_film,
)
from longtake.evaluation.measures.base import Frames, Joints
from longtake.evaluation.record import Cost, Source
from longtake.evaluation.registry import clips_of, load_vbench, measures_for
from longtake.evaluation.variants import REAL, Setting, Variant, joints_of
from longtake.evaluation.vbench.dimensions import VBench
from longtake.evaluation.world import JUDGE, Judge, Judged, Rendered, World
from longtake.options import FilmPlan
from longtake.pipeline import LongTake
from longtake.start import origin, read_start


@dataclass(frozen=True)
class Prompt:
    """A prompt. `shot`: the film of a world that it describes, if it is one's. `start`: the clip that its films begin
    with, if any, a path inside the setting's folder of clips."""

    text: str
    shot: Rendered | None = None
    start: PurePosixPath | None = None

    @property
    def name(self) -> str:
        """What tells it from others."""
        return f"{self.text} {BETWEEN} {self.start}" if self.start else self.text


@dataclass(frozen=True)
class Job:
    """One film to make and measure. `shown`: whether a small mp4 of it is kept for the report."""

    run: Path
    setting: Setting
    variant: Variant
    prompt: Prompt
    seed: int
    shown: bool

    @property
    def is_real(self) -> bool:
        return self.variant.name == REAL

    @property
    def path(self) -> Path:
        """The film's JSON, named after nothing but what the film follows from."""
        digest = hashlib.sha256(self.prompt.name.encode()).hexdigest()[:10]
        return self.run / "films" / f"{digest}-{self.seed}-{re.sub('[^a-z]+', '-', self.variant.name)}.json"


@dataclass(frozen=True)
class Took:
    """The seconds that a film took to make and to measure: of one core, or, on a GPU, of the clock."""

    film: str
    row: str
    making: float
    measuring: float


def world_prompts(world: World, count: int) -> list[Prompt]:
    """Captions of attribute combinations that training never saw; fewer are the first of more."""
    return [Prompt(caption, shot) for caption, shot in world.prompts(count)]


def film(job: Job) -> Took:
    """Make one film and measure it while it is made.

    Writes its JSON, its strip, its clips and, if it is shown, its mp4; all of these follow from the job alone."""
    plan = job.setting.film(job.variant, job.prompt.text, job.seed, job.prompt.start is not None)
    on_cpu = job.setting.device == "cpu"
    if on_cpu:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
    vbench = load_vbench(job.setting.weights_dir, job.setting.device) if job.setting.weights_dir else None
    joints = Joints() if job.is_real else joints_of(plan, job.setting.spec)
    measures = measures_for(plan.rate, joints, _judged(job), vbench)
    strip, clock = Strip(plan.rate), time.process_time if on_cpu else time.perf_counter
    start = _start(job, plan)
    with closing(_pictures(job, plan, start)) as pictures:
        started = clock()
        source = _Timed(pictures, clock)
        shown = also_written(source, job.path.with_suffix(".mp4"), plan.rate) if job.shown else source
        numbers = measure_film(shown, plan.rate, measures, strip)
    record = recorded(_source(job, plan, start, vbench), numbers)
    write_film(job.path, record, clips_of(measures), strip.jpeg())
    return Took(job.path.stem, job.variant.name, source.seconds, clock() - started - source.seconds)


def _source(job: Job, plan: FilmPlan, start: Frames | None, vbench: VBench | None) -> Source:
    """Where a film comes from."""
    told: dict[str, Any] = {}
    if job.prompt.shot is not None:
        told["shot"] = asdict(job.prompt.shot)
    if job.prompt.start is not None and start is not None:
        told |= origin(job.prompt.start, start)
    if not job.is_real:
        told |= {"options": plan.metadata, "cost": _cost(plan)}
    if vbench is not None:
        told["vbench_weights"] = vbench.weights
    return Source(row=job.variant.name, group=job.prompt.name, seed=job.seed, made=made_with(), **told)


def _judged(job: Job) -> Judged | None:
    """Who reads the adherence of a film, if its prompt is of a world, and what it should show."""
    world = job.setting.world
    if job.prompt.shot is None:
        return None
    assert world is not None
    return Judged(world, _judge(job.run, world), job.prompt.shot)


def _start(job: Job, plan: FilmPlan) -> Frames | None:
    """The pictures that a film begins with, if any."""
    if job.prompt.start is None:
        return None
    assert job.setting.clips is not None
    return read_start(job.setting.clips / job.prompt.start, plan, "crop" if job.setting.fit_start else None)


def _pictures(job: Job, plan: FilmPlan, start: Frames | None) -> Generator[Frames, None, None]:
    """The film itself, in portions of any length."""
    if not job.is_real:
        yield from _take(job.setting).shoot(plan, start)
        return
    assert job.prompt.shot is not None
    shot = replace(job.prompt.shot, seed=job.prompt.shot.seed + job.seed)
    end, size = plan.length.num_frames, (plan.settings.width, plan.settings.height)
    for first in range(0, end, PORTION):
        yield shot.render(first, min(PORTION, end - first), *size)


def _cost(plan: FilmPlan) -> Cost:
    return Cost(
        evaluations_per_frame=plan.cost.evaluations_per_frame,
        passes=plan.cost.passes,
        peak_window=plan.cost.peak_window,
        num_inference_steps=plan.cost.sampling.num_inference_steps,
    )


@cache
def _take(setting: Setting) -> LongTake:
    placed = setting.placement.model_dump()
    return LongTake.from_pretrained(setting.folder, setting.device, setting.dtype, setting.lora, **placed)


@cache
def _judge(run: Path, world: World) -> Judge:
    return world.judge(run / JUDGE)


class _Timed:
    """An iterator, and the seconds that its items took to come."""

    def __init__(self, items: Iterator[Frames], clock: Callable[[], float]) -> None:
        self.items, self.clock, self.seconds = items, clock, 0.0

    def __iter__(self) -> Iterator[Frames]:
        while True:
            started = self.clock()
            item = next(self.items, None)
            self.seconds += self.clock() - started
            if item is None:
                return
            yield item
