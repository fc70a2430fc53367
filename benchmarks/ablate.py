"""What each part of progressive training is worth, on the tracking-shot world, at equal compute.

    python benchmarks/ablate.py RUN --clip-steps 700 --steps 100 --seeds 2

RUN is a folder in which `longtake train-default` made footage, autoencoder and latents (whatever it trained besides).
First a *clip model* is trained, on windows of one noise level alone; then every variant begins with its weights and
takes the same number of steps of the same number of latent frames, once for each seed. Each is filmed with the
sampling it was trained for, on the same unseen prompts and noise, and its films are measured as those of
`longtake compare`. The network is some 40 % of the embedded model's, so that the whole takes some two hours of two CPU
cores. A run that was stopped goes on. The table goes to RUN/ablations/table.md.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from rich.progress import track

from longtake.evaluation.compare import films_of
from longtake.evaluation.drift import Interval
from longtake.evaluation.films import MeasuredFilm, read_film
from longtake.evaluation.jobs import Job, Prompt, world_prompts
from longtake.evaluation.measures.distribution import Distances
from longtake.evaluation.report.columns import Column
from longtake.evaluation.report.rows import Row
from longtake.evaluation.report.summary import Summary, summarise
from longtake.evaluation.report.tables import number as written
from longtake.evaluation.report.tables import span
from longtake.evaluation.variants import OURS, REAL, Setting, Variant
from longtake.evaluation.world import JUDGE, judge_of
from longtake.models.small.tubelet import AutoencoderTubelet
from longtake.training.loss import Shares
from longtake.training.tubelet import train_tubelet
from longtake.worlds.tracking_shot.footage import footage
from longtake.worlds.tracking_shot.recipe import DEFAULTS, TrackingShotRecipe, encoded
from longtake.worlds.tracking_shot.world import WORLD

SMALL = TrackingShotRecipe(layers=3, heads=4, context_size=0, context_share=1, context_noise=0)
CLIP = replace(SMALL, shares=Shares(steady=0, start=0, extend=0, drain=0, level=0.6, still=0.4))
BASE = replace(SMALL, shares=Shares(still=0.1), warmup=10)


def with_context(size: int, noise: float = 0.0) -> TrackingShotRecipe:
    """The base, trained and filmed with a context."""
    return replace(
        BASE, context_size=size, context_noise=noise, sampling=replace(DEFAULTS, context_size=size)
    )


# The first is the base that the others are compared with: jitter 0.4, variable length, chunk 1, context 0.
VARIANTS = {
    OURS: BASE,
    "jitter 0": replace(BASE, jitter=0.0),
    "fixed length": replace(BASE, shares=replace(BASE.shares, start=0, extend=0, drain=0)),
    "chunk 2": replace(BASE, sampling=replace(DEFAULTS, chunk_size=2, steps_per_chunk=2)),
    "context 1": with_context(1),
    "context 4": with_context(4),
    "context 4, roughened": with_context(4, noise=0.3),
}
CLIP_MODEL = "the clip model itself"
DECISIVE = "likeness.last"
SHOWN = ("adherence.last", "likeness.first", DECISIVE)


def main() -> None:
    arguments = parser().parse_args()
    recipe = TrackingShotRecipe()
    pixels, shots = footage(arguments.run / "footage", recipe.clips, recipe.frames, recipe.seed)
    vae = AutoencoderTubelet()
    train_tubelet(vae, pixels, recipe.vae_steps, arguments.run / "vae")
    latents = encoded(arguments.run / "latents", vae, pixels)
    folder = arguments.run / "ablations"
    clip = replace(CLIP, steps=arguments.clip_steps)
    clip.train_filmmaker(folder / "clip", vae, latents, shots)
    judge_of(folder, WORLD)

    models = {(CLIP_MODEL, seed): folder / "clip" / "model" for seed in range(arguments.seeds)}
    for seed in range(arguments.seeds):
        for number, (name, variant) in enumerate(VARIANTS.items()):
            run = folder / f"variant-{number}-seed-{seed}"
            seeded = replace(variant, steps=arguments.steps, seed=100 + seed)
            models[name, seed] = seeded.train_filmmaker(
                run, vae, latents, shots, start=folder / "clip" / "model"
            )
    films = measured(folder, models, arguments.prompts, arguments.seconds)
    (folder / "table.md").write_text(table(summarise(films)))
    print((folder / "table.md").read_text())


def measured(
    folder: Path, models: dict[tuple[str, int], Path], prompts: int, seconds: float
) -> list[MeasuredFilm]:
    """The films of every model with its seed, and real film of twice as many prompts, each measured; those that are
    there are not made again."""
    jobs = [
        (name, job(model.parent / "measured", Setting(seconds, str(model), world=WORLD), OURS, prompt, seed))
        for (name, seed), model in models.items()
        for prompt in world_prompts(WORLD, prompts)
    ]
    jobs += [
        (REAL, job(folder / "real", Setting(seconds, world=WORLD), REAL, prompt, seed))
        for seed in {seed for _, seed in models}
        for prompt in world_prompts(WORLD, 2 * prompts)
    ]
    for run in {made.run for _, made in jobs}:
        (run / "films").mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / JUDGE, run / JUDGE)
    missing = [made for _, made in jobs if not made.path.exists()]
    for _ in track(films_of(missing, "cpu"), "filming", total=len(missing)):
        pass
    return [replace(read_film(made.path), row=name) for name, made in jobs]


def job(run: Path, setting: Setting, variant: str, prompt: Prompt, seed: int) -> Job:
    return Job(run, setting, Variant(variant), prompt, seed, shown=False)


def table(summary: Summary) -> str:
    """A row a variant: numbers that tell them apart, the first of them for each seed too, what the base has more of
    likeness to real film at the end, and the kernel distance from real film in the first and the last ten seconds."""
    columns, decisive = [summary.column(key) for key in SHOWN], summary.column(DECISIVE)
    titles = [column.title for column in columns]
    head = ["variant", titles[0], "by seed", *titles[1:], f"base − this, {decisive.title}", "kernel distance"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in sorted(summary.rows, key=lambda row: [*VARIANTS, CLIP_MODEL, REAL].index(row.name)):
        behind = summary.behind.get((row.name, DECISIVE))
        numbers = [cell(summary.cells[row.name, column.key], column) for column in columns]
        ends = ends_of(summary, row)
        cells = [
            row.name.replace(OURS, "base"),
            numbers[0],
            by_seed(row, columns[0]),
            *numbers[1:],
            cell(behind, decisive, sign=True) if behind else "",
            " → ".join(written(end.kernel, "") for end in ends),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    floors = {end.kernel_floor for row in summary.rows for end in ends_of(summary, row)}
    lines.append(
        f"\nKernel distance of real film from real film: {' or '.join(written(f, '') for f in floors)}."
    )
    return "\n".join(lines) + "\n"


def ends_of(summary: Summary, row: Row) -> list[Distances]:
    """How far a row is from real film in the first and in the last ten seconds."""
    slices = summary.distances.get(row.name, [])
    return [slices[0], slices[-1]] if slices else []


def by_seed(row: Row, column: Column) -> str:
    seeds = sorted({film.record.seed for film in row.films})
    means = [fmean(column.number(film) for film in row.films if film.record.seed == seed) for seed in seeds]
    return ", ".join(written(mean, column.unit) for mean in means)


def cell(interval: Interval, column: Column, sign: bool = False) -> str:
    return f"{written(float(interval.value), column.unit, sign)} ({span(interval, column.unit, sign)})"


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("run", type=Path, help="folder with the default recipe's footage and latents")
    arguments.add_argument("--clip-steps", type=int, default=700, help="steps of the clip model")
    arguments.add_argument("--steps", type=int, default=100, help="steps of each variant")
    arguments.add_argument("--seeds", type=int, default=2, help="runs of each variant")
    arguments.add_argument("--prompts", type=int, default=8, help="unseen combinations filmed by each run")
    arguments.add_argument("--seconds", type=int, default=30, help="length of each film")
    return arguments


if __name__ == "__main__":
    main()
