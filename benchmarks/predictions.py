"""Whether a model of flights that predicts the sample films better than one that predicts the velocity, at equal cost.

    python benchmarks/predictions.py RUN --steps 400 --seeds 2

RUN: the folder of a run of `longtake train-default --world flight` whose clips are encoded (whatever it trained
besides). For each prediction and seed a model takes so many steps of the same batches, its learning rate falling at the
end, and films the same prompts, which training never saw, with the same noise. Beside them stands real film of as many
prompts. A run that was stopped goes on. Intervals are over prompts.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from longtake.evaluation.drift import bootstrap, by_prompt
from longtake.evaluation.features import ImageNetFeatures
from longtake.evaluation.measures.base import Joints
from longtake.evaluation.measures.beat import Beat
from longtake.evaluation.measures.clips import ClipFeatures, Clips
from longtake.evaluation.measures.distribution import RealFilm
from longtake.evaluation.measures.grid import GridRatio
from longtake.models.small.lapped import PIXELS, AutoencoderLapped
from longtake.pictures import Pictures
from longtake.pipeline import LongTake
from longtake.progress import track
from longtake.training.checkpoint import Checkpoints
from longtake.worlds.flight.clips import flight_clips
from longtake.worlds.flight.flight import FPS, Flight
from longtake.worlds.flight.recipe import EDITIONS, FlightRecipe
from longtake.worlds.flight.scene import random_scene

PREDICTIONS = ("sample", "flow_prediction")
NAMES = ("likeness to real film", "beat", "grid in the sky", "change, grey levels")


class Seen(NamedTuple):
    """A film as its clips, and the numbers of NAMES but the first."""

    clips: Clips
    numbers: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    for name, default in (("steps", 400), ("seeds", 2), ("prompts", 16), ("seconds", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--edition", choices=list(EDITIONS), default="small", help="of the run")
    parser.add_argument("--bf16", action="store_true")
    arguments = parser.parse_args()
    recipe = replace(
        EDITIONS[arguments.edition], steps=arguments.steps, save_every=arguments.steps, bf16=arguments.bf16
    )
    size = recipe.sampling.width, recipe.sampling.height
    models = {
        prediction: trained(arguments.run, replace(recipe, prediction=prediction), arguments.seeds)
        for prediction in PREDICTIONS
    }
    rng = random.Random(60_006)
    scenes = [random_scene(rng, held_out=True) for _ in range(arguments.prompts)]
    frames, features = arguments.seconds * FPS, ImageNetFeatures()
    real = [
        [seen(portions(Flight(scene, rng.getrandbits(31)), frames, size), features) for _ in range(2)]
        for scene in track(scenes, "real film")
    ]
    rows = {"real film": [[films[0]] for films in real]}
    for prediction, folders in models.items():
        takes = [LongTake.from_pretrained(folder) for folder in folders]
        rows[prediction] = [
            [seen(take.stream(scene.caption(), num_frames=frames, seed=7), features) for take in takes]
            for scene in track(scenes, f"film of {prediction}")
        ]
    names = [str(scene) for scene in scenes]
    compared = RealFilm(
        {name: [film.clips for film in films] for name, films in zip(names, real, strict=True)}
    )
    print(
        f"{arguments.steps} steps, {arguments.seeds} seeds, {len(scenes)} prompts of {arguments.seconds} s\n"
    )
    head = [*NAMES, "kernel distance", "its floor"]
    print(f"| | {' | '.join(head)} |\n" + "|---" * (len(head) + 1) + "|")
    for row, films in rows.items():
        numbers = [
            [likeness(film.clips, real[i][1].clips), *film.numbers]
            for i, of_prompt in enumerate(films)
            for film in of_prompt
        ]
        groups = [name for name, of_prompt in zip(names, films, strict=True) for _ in of_prompt]
        mean = bootstrap(by_prompt(np.array(numbers), groups))
        cells = [
            f"{v:.3f} [{a:.3f}, {b:.3f}]" for v, a, b in zip(mean.value, mean.low, mean.high, strict=True)
        ]
        apart = compared.distances(
            {name: [film.clips for film in of_prompt] for name, of_prompt in zip(names, films, strict=True)}
        )
        print(f"| {row} | {' | '.join(cells)} | {apart.kernel:.3f} | {apart.kernel_floor:.3f} |")


def trained(run: Path, recipe: FlightRecipe, seeds: int) -> list[Path]:
    """A model for each seed."""
    vae = AutoencoderLapped(recipe.channels)
    checkpoints = Checkpoints(run / "vae")
    assert checkpoints.newest() == recipe.vae_steps, "the run's autoencoder is trained"
    vae.load_state_dict(checkpoints.load(recipe.vae_steps, "weights"))
    clips = flight_clips(run / "clips", vae, recipe.drawing)
    folders = (run / "predictions" / f"{recipe.prediction}-{seed}" for seed in range(seeds))
    return [
        replace(recipe, seed=100 + seed).train_filmmaker(folder, vae, clips)
        for seed, folder in enumerate(folders)
    ]


def portions(flight: Flight, frames: int, size: tuple[int, int]) -> Iterable[Pictures]:
    return (flight.render(first, min(FPS, frames - first), *size) for first in range(0, frames, FPS))


def seen(film: Iterable[Pictures], features: ImageNetFeatures) -> Seen:
    """A film, looked at portion by portion."""
    clips, beat, grid = ClipFeatures(features, FPS), Beat(FPS, Joints()), GridRatio(PIXELS)
    changes, last = list[float](), None
    for pictures in film:
        for measure in (clips, beat, grid):
            measure.push(pictures)
        grey = pictures.astype(np.float32).mean(-1)
        both = grey if last is None else np.concatenate([last, grey])
        changes += np.abs(np.diff(both, axis=0)).mean((1, 2)).tolist()
        last = grey[-1:]
    numbers = [beat.totals()["beat"], grid.totals()["grid_sky"], float(np.mean(changes))]
    return Seen(clips.clips(), numbers)


def likeness(film: Clips, real: Clips) -> float:
    """The mean cosine of what a film's clips show with the mean of what real film of its prompt shows."""
    shown, wanted = (units(clips[:, : clips.shape[1] // 2]) for clips in (film, real))
    return float((shown @ units(wanted.mean(0, keepdims=True))[0]).mean())


def units(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
