"""How far generated film is from real film: distances between sets of their 2-second clips (`ClipFeatures.clips`).

Both halves of a clip, what it shows and how it moves, are scaled so that their numbers vary by 1 on average among the
real clips: motion counts as much as looks.

Fréchet distance (Heusel et al., arXiv 1706.08500): |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½). Fewer clips than numbers in
each have no covariance worth the name, so it is taken along the COMPONENTS directions in which real clips vary most;
it sees nothing beside them. Kernel distance (Bińkowski et al., arXiv 1801.01401): the unbiased estimate of the squared
maximum mean discrepancy for the kernel (x·y / D + 1)³, over all numbers; 0 on average for equal distributions, so
sometimes below.

Both run from 0 up and have no unit. They say something beside their *floor* alone, the distance of real film from other
real film in sets of the same size; they are not comparable with FID, FVD or KID, nor from one network to another.
Blind spot: a set is judged, not a film. One bad film among many hardly tells, nor do good clips in a wrong order.

N clips, D numbers in a clip, K directions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from longtake.errors import DataError
from longtake.evaluation.measures.clips import Clips

COMPONENTS = 4
FEWEST_PROMPTS = 8
SPLITS = 20
SLICE_CLIPS = 5  # ten seconds

Floats = NDArray[np.floating]
Films = Mapping[str, Sequence[Clips]]  # of each prompt, the clips (N, D) of every film


@dataclass(frozen=True)
class Distances:
    """Two distances of film from real film, each with its floor, and how many prompts are in each set."""

    frechet: float
    frechet_floor: float
    kernel: float
    kernel_floor: float
    prompts: int


def slice_distances(real: Films, film: Films) -> list[Distances]:
    """`distances` of every whole ten seconds that all the film has, from real film of any time."""
    shortest = min(len(clips) for films in film.values() for clips in films)
    starts = range(0, shortest - SLICE_CLIPS + 1, SLICE_CLIPS)

    def ten_seconds(start: int) -> Films:
        return {name: [clips[start : start + SLICE_CLIPS] for clips in films] for name, films in film.items()}

    return [distances(real, ten_seconds(start)) for start in starts]


def distances(real: Films, film: Films) -> Distances:
    """The distances of film from real film. Clips of one prompt are alike, so prompts are what is drawn and counted.

    Half of the real prompts are what is compared with, those first that the film does not have. Of the other half as
    many as possible are the floor, beside film of the same prompts if it has them, else of any that are not compared
    with. Means over SPLITS such draws, always the same. DataError for fewer than FEWEST_PROMPTS prompts in a set."""
    space = Space.of(np.concatenate([clips for films in real.values() for clips in films]))
    reals, shown = (
        {name: space.scaled(np.concatenate(films)) for name, films in some.items()} for some in (real, film)
    )
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(SPLITS):
        reference, names, others = _sets(rng, list(real), list(film))
        sizes = [len(shown[name]) for name in names]
        floor = [rng.permutation(reals[name])[:size] for name, size in zip(others, sizes, strict=True)]
        sets, compared = ([shown[name] for name in names], floor), [reals[name] for name in reference]
        draws.append([distance(some, compared) for distance in (space.frechet, kernel) for some in sets])
    frechet_mean, frechet_floor, kernel_mean, kernel_floor = np.mean(draws, 0).tolist()
    return Distances(frechet_mean, frechet_floor, kernel_mean, kernel_floor, len(names))


def _sets(
    rng: np.random.Generator, real: list[str], film: list[str]
) -> tuple[list[str], list[str], list[str]]:
    """The prompts of the reference, of the film and of the floor."""
    order = sorted(rng.permutation(real).tolist(), key=lambda name: name in film)
    reference, rest = order[: len(real) // 2], order[len(real) // 2 :]
    others = [name for name in rng.permutation(film).tolist() if name not in reference]
    names = sorted(others, key=lambda name: name not in rest)[: len(rest)]
    if min(len(names), len(reference)) < FEWEST_PROMPTS:
        raise DataError(
            f"film of {len(film)} prompts and real film of {len(real)} are too few to compare: at least"
            f" {FEWEST_PROMPTS} and {2 * FEWEST_PROMPTS} are needed"
        )
    return reference, names, sorted(rest, key=lambda name: name not in names)[: len(names)]


@dataclass(frozen=True)
class Space:
    """Where clips are compared: the mean and spread (D,) of the real ones, and the directions (D, K) in which they vary
    most, of such a length that along all of them together they vary by 1."""

    mean: Floats
    spread: Floats
    directions: Floats

    @classmethod
    def of(cls, real: Clips) -> Self:
        spread = np.sqrt(real.var(0).reshape(2, -1).mean(1)).repeat(real.shape[1] // 2)
        mean = real.mean(0)
        _, lengths, directions = np.linalg.svd((real - mean) / spread, full_matrices=False)
        total = np.sqrt((lengths[:COMPONENTS] ** 2).sum() / len(real))
        return cls(mean, spread, directions[:COMPONENTS].T / total)

    def scaled(self, clips: Clips) -> Clips:
        return (clips - self.mean) / self.spread

    def frechet(self, x: Sequence[Clips], y: Sequence[Clips]) -> float:
        return frechet(np.concatenate(x) @ self.directions, np.concatenate(y) @ self.directions)


def frechet(x: Clips, y: Clips) -> float:
    """The Fréchet distance of two sets (N, D) taken for Gaussians with their means and covariances."""
    a, b = ((clips - clips.mean(0)) / np.sqrt(len(clips) - 1) for clips in (x, y))
    root = np.linalg.norm(a @ b.T, "nuc")  # the trace of (Σ₁ Σ₂)^½, for Σ₁ = aᵀa, Σ₂ = bᵀb
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * root)


def kernel(x: Sequence[Clips], y: Sequence[Clips]) -> float:
    """The unbiased kernel distance of two sets of prompts, (N, D) each; clips of one prompt are not compared."""

    def similarity(a: Sequence[Clips], b: Sequence[Clips]) -> Floats:
        rows, columns = np.concatenate(a), np.concatenate(b)
        return (rows @ columns.T / rows.shape[1] + 1) ** 3

    def within(a: Sequence[Clips]) -> float:
        prompt = np.arange(len(a)).repeat([len(clips) for clips in a])
        return float(similarity(a, a)[prompt[:, None] != prompt].mean())

    return within(x) + within(y) - 2 * float(similarity(x, y).mean())
