"""Which measure catches which drift: the table of docs/measures.md, written into it.

    python benchmarks/catches.py RUN

Renders shots of the tracking-shot world, spoils some of them in known ways (evaluation/synthetic.py) and measures them
with all that `longtake evaluate` measures; half an hour on two CPU cores. RUN keeps what was measured, and a run that
was stopped goes on.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from rich.progress import track

from longtake.evaluation.adherence import CLASSIFIER
from longtake.evaluation.classifier import AttributeClassifier, trained_classifier
from longtake.evaluation.films import Film, Strip, measure_film, read_clips, read_film, write_film
from longtake.evaluation.measures.base import About
from longtake.evaluation.measures.distribution import Films, slice_distances
from longtake.evaluation.registry import clips_of, measures_for
from longtake.evaluation.synthetic import DRIFTS, WINDOW, Key, caught, numbers
from longtake.training.checkpoint import write_text
from longtake.worlds.tracking_shot import FPS, Shot, random_shot

STABLE, SPOILT = 16, 8  # shots, all different; as many as distances between sets need
SECONDS = 60
PAGE = Path(__file__).parents[1] / "docs" / "measures.md"
BEGIN, END = "<!-- begin: benchmarks/catches.py -->\n", "<!-- end -->\n"
UNSPOILT = "none"
DISTANCE = "kernel distance"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    run.mkdir(parents=True, exist_ok=True)
    judge = trained_classifier(run / CLASSIFIER)
    rng = random.Random(11)
    shots = [random_shot(rng) for _ in range(STABLE + SPOILT)]
    # What stands still cannot slow down: the shots that are spoilt move.
    shots[STABLE:] = [replace(shot, speed="steady") for shot in shots[STABLE:]]
    jobs = [(UNSPOILT, number) for number in range(STABLE)]
    jobs += [(drift, number) for drift in (UNSPOILT, *DRIFTS) for number in range(STABLE, STABLE + SPOILT)]
    films: dict[str, list[Film]] = {}
    for drift, number in track(jobs, "measuring"):
        path = run / f"{drift.replace(' ', '-')}-{number:02d}.json"
        if not path.exists():
            measure(path, drift, shots[number], judge)
        films.setdefault(drift, []).append(read_film(path))
    stable, unspoilt = films[UNSPOILT][:STABLE], films[UNSPOILT][STABLE:]
    told = [numbers(film.record) for film in stable]
    usual = max(kernels(unspoilt, stable))
    catches: dict[str, set[Key]] = {}
    for drift, some in {**films, UNSPOILT: unspoilt}.items():
        catches[drift] = caught([numbers(film.record) for film in some], told)
        if kernels(some, stable)[-1] > usual:
            catches[drift].add((DISTANCE, "last ten seconds"))
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    write_text(PAGE, head + BEGIN + table(catches, stable[0].about) + END + rest.partition(END)[2])


def measure(path: Path, drift: str, shot: Shot, judge: AttributeClassifier) -> None:
    """Render, spoil and measure a film, and write what was measured."""
    film = shot.render(0, SECONDS * FPS)
    if drift != UNSPOILT:
        film = DRIFTS[drift](film, shot)
    fps, strip = Fraction(FPS), Strip(Fraction(FPS))
    measures = measures_for(fps, range(WINDOW, len(film), WINDOW), (judge, shot))
    record = measure_film([film], fps, measures, strip)
    record |= {"row": drift, "group": shot.caption()}
    write_film(path, record, clips_of(measures), strip.jpeg())


def kernels(films: Sequence[Film], stable: Sequence[Film]) -> list[float]:
    """The distance of these films from the stable ones, in each ten seconds."""
    return [distances.kernel for distances in slice_distances(clips(stable), clips(films))]


def clips(films: Sequence[Film]) -> Films:
    return {f"{film.group} {film.path.stem[-2:]}": [read_clips(film)] for film in films}


def table(catches: Mapping[str, set[Key]], about: Mapping[str, About]) -> str:
    """Markdown: a row a number, a column a drift; below, the numbers that catch none."""
    titles = {
        **{name: what.title for name, what in about.items()},
        DISTANCE: f"{DISTANCE} between sets of films",
    }
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
