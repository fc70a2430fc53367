"""What each part of progressive training is worth, on the tracking-shot world, at equal compute.

    python benchmarks/ablate.py RUN --clip-steps 700 --steps 100 --seeds 2

RUN is a folder in which `longtake train-default` made footage, autoencoder and latents (whatever it trained besides).
First a *clip model* is trained, on windows of one noise level alone; then every variant begins with its weights and
takes the same number of steps of the same number of latent frames, once for each seed. Each is filmed with the
sampling it was trained for, and its films are read by the attribute judge. The network is some 40 % of the embedded
model's, so that the whole takes less than two hours of two CPU cores. A run that was stopped goes on. The table goes
to RUN/ablations/table.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from longtake.evaluation.adherence import CLASSIFIER, JUDGED, Summary, film_prompts
from longtake.evaluation.classifier import trained_classifier
from longtake.models.tubelet import AutoencoderTubelet
from longtake.training.autoencoder import train_autoencoder
from longtake.training.default import DEFAULTS, Recipe, encoded, train_filmmaker
from longtake.training.footage import footage
from longtake.training.loss import Shares

SMALL = Recipe(layers=3, heads=4, context_size=0, context_share=1, context_noise=0)
CLIP = replace(SMALL, shares=Shares(steady=0, start=0, extend=0, drain=0, level=0.6, still=0.4))
BASE = replace(SMALL, shares=Shares(still=0.1), warmup=10)


def with_context(size: int, noise: float = 0.0) -> Recipe:
    """The base, trained and filmed with a context."""
    return replace(
        BASE, context_size=size, context_noise=noise, sampling=replace(DEFAULTS, context_size=size)
    )


VARIANTS = {
    "base: jitter 0.4, variable length, chunk 1, context 0": BASE,
    "jitter 0": replace(BASE, jitter=0.0),
    "fixed length": replace(BASE, shares=replace(BASE.shares, start=0, extend=0, drain=0)),
    "chunk 2": replace(BASE, sampling=replace(DEFAULTS, chunk_size=2, steps_per_chunk=2)),
    "context 1": with_context(1),
    "context 4": with_context(4),
    "context 4, roughened": with_context(4, noise=0.3),
}


def main() -> None:
    arguments = parser().parse_args()
    recipe = Recipe()
    pixels, shots = footage(arguments.run / "footage", recipe.clips, recipe.frames, recipe.seed)
    vae = AutoencoderTubelet()
    train_autoencoder(vae, pixels, recipe.vae_steps, arguments.run / "vae")
    latents = encoded(arguments.run / "latents", vae, pixels)
    folder = arguments.run / "ablations"
    clip = replace(CLIP, steps=arguments.clip_steps)
    train_filmmaker(folder / "clip", clip, vae, latents, shots)
    trained_classifier(folder / CLASSIFIER)

    def filmed(run: Path, model: Path) -> Summary:
        shutil.copy(folder / CLASSIFIER, run / CLASSIFIER)
        summary = film_prompts(run, str(model), arguments.prompts, 1, arguments.seconds)
        (run / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        return summary

    summaries: dict[str, list[Summary]] = {name: [] for name in VARIANTS}
    summaries["the clip model itself, no further step"] = [filmed(folder / "clip", folder / "clip" / "model")]
    for seed in range(arguments.seeds):
        for number, (name, variant) in enumerate(VARIANTS.items()):
            run = folder / f"variant-{number}-seed-{seed}"
            seeded = replace(variant, steps=arguments.steps, seed=100 + seed)
            model = train_filmmaker(run, seeded, vae, latents, shots, start=folder / "clip")
            summaries[name].append(filmed(run, model))
            (folder / "table.md").write_text(table(summaries))
    print((folder / "table.md").read_text())


def table(summaries: dict[str, list[Summary]]) -> str:
    """A row a variant: shares of all attributes in the first and the last ten seconds, the mean over its seeds and,
    in brackets, each."""
    rows = ["| variant | first 10 s | last 10 s |", "|---|---|---|"]
    for name, films in summaries.items():
        ends = [[mean_share(film, end) for film in films] for end in ("first", "last")]
        cells = [f"{np.mean(end):.1f} ({', '.join(f'{x:.1f}' for x in end)})" for end in ends if end]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def mean_share(summary: Summary, end: str) -> float:
    """The mean over the attributes, in percent."""
    return 100 * float(np.mean([summary["attributes"][name][end] for name in JUDGED]))


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
