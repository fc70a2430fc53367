"""Which measure catches which drift: the table of docs/measures.md, written into it.

    python benchmarks/catches.py RUN
    python benchmarks/catches.py RUN --drifts "growing grid" "other views"      # only these: a new drift's columns

Renders tracking shots, spoils some of them in known ways (synthetic.py) and measures them with all
that `longtake evaluate` measures; half an hour on two CPU cores. RUN keeps what was measured, and a run that was
stopped goes on.

With --drifts it prints the columns of those, of half as many films, which are not compared with real film and whose
adherence is not read. A RUN is one or the other.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import cv2
import torch
from rich.progress import track

from longtake.evaluation.drift import start_end_contrast
from longtake.evaluation.films import (
    MeasuredFilm,
    Strip,
    measure_film,
    read_clips,
    read_film,
    recorded,
    write_film,
)
from longtake.evaluation.measures.base import About, Joints
from longtake.evaluation.measures.distribution import Films, RealFilm
from longtake.evaluation.record import Source
from longtake.evaluation.registry import clips_of, measures_for
from longtake.evaluation.report.columns import LIKENESS
from longtake.evaluation.report.summary import with_likeness
from longtake.evaluation.variants import REAL
from longtake.evaluation.world import Judged, judge_of
from longtake.training.checkpoint import write_text
from longtake.worlds.tracking_shot.shot import FPS, Shot, random_shot
from longtake.worlds.tracking_shot.world import WORLD
from synthetic import DRIFTS, WINDOW, Key, Numbers, caught, numbers

STABLE, SPOILT = 16, 8  # shots, all different; as many as distances between sets need
SECONDS = 60
PAGE = Path(__file__).parents[1] / "docs" / "measures.md"
BEGIN, END = "<!-- begin: benchmarks/catches.py -->\n", "<!-- end -->\n"
UNSPOILT = "none"
DISTANCES = {
    "kernel": "kernel distance between sets of films",
    "frechet": "Fréchet distance between sets of films",
}


@dataclass(frozen=True)
class Job:
    """A film to render, spoil and measure. A drift that is none leaves it as it is. judged: whether its adherence is
    read."""

    run: Path
    drift: str
    number: int
    shot: Shot
    judged: bool = True

    @property
    def path(self) -> Path:
        return self.run / f"{self.drift.replace(' ', '-')}-{self.number:02d}.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--drifts", nargs="+", choices=DRIFTS)
    args = parser.parse_args()
    run: Path = args.run
    run.mkdir(parents=True, exist_ok=True)
    if args.drifts:
        print(few(run, args.drifts))
        return
    judge_of(run, WORLD)
    films = with_likeness(measured(all_jobs(run)))
    stable = [film for film in films if film.row == UNSPOILT][:STABLE]
    spoilt = {drift: [film for film in films if film.row == drift][-SPOILT:] for drift in (UNSPOILT, *DRIFTS)}
    usual = distances(spoilt[UNSPOILT], stable)
    catches = {
        drift: caught([told(film) for film in some], [told(film) for film in stable])
        | {
            (name, "last ten seconds")
            for name, curve in distances(some, stable).items()
            if curve[-1] > max(usual[name])
        }
        for drift, some in spoilt.items()
    }
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    write_text(PAGE, head + BEGIN + table(catches, stable[0].about) + END + rest.partition(END)[2])


def few(run: Path, drifts: Sequence[str]) -> str:
    """The table of some drifts, of half as many films: no film is compared with others but by its own numbers."""
    jobs = [replace(job, judged=False) for job in shots_left_alone(run)]
    alone, others = jobs[: STABLE // 2], jobs[STABLE : STABLE + SPOILT // 2]
    films = measured([*alone, *others, *(replace(job, drift=drift) for drift in drifts for job in others)])
    stable = films[: len(alone)]
    usual = [numbers(film.record) for film in stable]
    spoilt = {drift: [film for film in films if film.row == drift] for drift in (UNSPOILT, *drifts)}
    catches = {
        drift: caught([numbers(film.record) for film in some[-len(others) :]], usual)
        for drift, some in spoilt.items()
    }
    return table(catches, stable[0].about)


def measured(jobs: Sequence[Job]) -> list[MeasuredFilm]:
    """The films of these jobs, measured if they are not yet."""
    missing = [job for job in jobs if not job.path.exists()]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for _ in track(pool.map(measure, missing), "measuring", total=len(missing)):
            pass
    return [read_film(job.path) for job in jobs]


def shots_left_alone(run: Path) -> list[Job]:
    """Those that stay so, and those that are to be spoilt."""
    rng = random.Random(11)
    shots = [random_shot(rng) for _ in range(STABLE + SPOILT)]
    # What stands still cannot slow down: the shots that are spoilt move.
    shots[STABLE:] = [replace(shot, speed="steady") for shot in shots[STABLE:]]
    return [Job(run, UNSPOILT, number, shot) for number, shot in enumerate(shots)]


def all_jobs(run: Path) -> list[Job]:
    """Shots left alone, others left alone and spoilt in every way, and real film of each: renders of another seed."""
    alone = shots_left_alone(run)
    jobs = [*alone, *(replace(job, drift=drift) for drift in DRIFTS for job in alone[STABLE:])]
    return jobs + [replace(job, drift=REAL, shot=replace(job.shot, seed=job.shot.seed + 1)) for job in alone]


def measure(job: Job) -> None:
    """Render, spoil and measure a film on one core, and write what was measured."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    film = job.shot.render(0, SECONDS * FPS)
    if job.drift in DRIFTS:
        film = DRIFTS[job.drift](film, job.shot)
    fps, strip = Fraction(FPS), Strip(Fraction(FPS))
    judged = Judged(WORLD, judge_of(job.run, WORLD), job.shot) if job.judged else None
    measures = measures_for(fps, Joints(frozenset(range(WINDOW, len(film), WINDOW))), judged)
    source = Source(row=job.drift, group=job.shot.caption())
    record = recorded(source, measure_film([film], fps, measures, strip))
    write_film(job.path, record, clips_of(measures), strip.jpeg())


def told(film: MeasuredFilm) -> Numbers:
    """All numbers of a film, likeness to real film among them."""
    likeness = float(start_end_contrast(film.curves[LIKENESS]))
    return {**numbers(film.record), (LIKENESS, "start–end"): likeness}


def distances(films: Sequence[MeasuredFilm], stable: Sequence[MeasuredFilm]) -> dict[str, list[float]]:
    """Both distances of these films from the stable ones, in each ten seconds."""
    found = RealFilm(clips(stable)).slice_distances(clips(films))
    return {name: [getattr(ten_seconds, name) for ten_seconds in found] for name in DISTANCES}


def clips(films: Sequence[MeasuredFilm]) -> Films:
    return {f"{film.group} {film.path.stem[-2:]}": [read_clips(film)] for film in films}


def table(catches: Mapping[str, set[Key]], about: Mapping[str, About]) -> str:
    """Markdown: a row a number, a column a drift; below, the numbers that catch none."""
    titles = {name: what.title for name, what in about.items()} | DISTANCES
    lines, useless = [f"| | {' | '.join(catches)} |", "|---" * (len(catches) + 1) + "|"], []
    for name, title in titles.items():
        cells = [
            ", ".join(sorted(kind for other, kind in found if other == name)) for found in catches.values()
        ]
        if any(cells):
            lines.append(f"| {title} | {' | '.join(cells)} |")
        else:
            useless.append(title)
    return "\n".join([*lines, "", f"None of these is caught by: {'; '.join(useless)}.", ""])


if __name__ == "__main__":
    main()
