"""How far generated film is from real film: distances between sets of their 2-second clips (`ClipFeatures.clips`).

Both halves of a clip, what it shows and how it moves, are scaled so that their numbers vary by 1 on average among the
real clips: motion counts as much as looks.

Fréchet distance (Heusel et al., arXiv 1706.08500): |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½). Fewer clips than numbers in
each have no covariance worth the name, so it is taken along the COMPONENTS directions in which real clips vary most;
it sees little beside them. Kernel distance (Bińkowski et al., arXiv 1801.01401): the unbiased estimate of the squared
maximum mean discrepancy for the kernel (x·y / D + 1)³, over all numbers, in which every prompt weighs the same; 0 on
average for equal distributions, so sometimes below. Prompts drawn anew, with replacement, give it an interval. Drawn
twice, a prompt would narrow a covariance, so the Fréchet distance has none.

Both run from 0 up and have no unit. They say something beside their *floor* alone, the distance of real film from other
real film in sets of the same size; they are not comparable with FID, FVD or KID, nor from one network to another.

N clips, D numbers in a clip, K directions, P Q prompts, R draws
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from longtake.errors import DataError
from longtake.evaluation.drift import Interval
from longtake.evaluation.measures.clips import Clips

COMPONENTS = 4
FEWEST_PROMPTS = 8
SPLITS = 20
DRAWS = 50  # of prompts, in each split
SLICE_CLIPS = 5  # ten seconds

Floats = NDArray[np.floating]
Films = Mapping[str, Sequence[Clips]]  # of each prompt, the clips (N, D) of every film


@dataclass(frozen=True)
class Distances:
    """Two distances of film from real film, each with its floor, and how many prompts are in each set.

    draws: the kernel distance for many draws of the prompts (R,); those of films of the same prompts are pairs."""

    frechet: float
    frechet_floor: float
    kernel: float
    kernel_floor: float
    prompts: int
    draws: Floats = field(compare=False, repr=False)

    @property
    def interval(self) -> Interval:
        """The kernel distance and where it lies in 95 % of the draws."""
        return _interval(self.kernel, self.draws)

    def less(self, other: Distances) -> Interval:
        """The kernel distance minus that of film of the same prompts, pair by pair."""
        return _interval(self.kernel - other.kernel, self.draws - other.draws)


@dataclass(frozen=True)
class RealFilm:
    """Real film that other film is compared with; what does not depend on the other film is found once."""

    blind_spots: ClassVar[str] = (
        "a set is judged, not a film. One bad film among many hardly tells, nor do good clips in a wrong"
        " order."
    )
    films: Films

    def slice_distances(self, film: Films) -> list[Distances]:
        """`distances` of every whole ten seconds that all the film has, from real film of any time."""
        shortest = min(len(clips) for films in film.values() for clips in films)

        def ten_seconds(start: int) -> Films:
            return {
                name: [clips[start : start + SLICE_CLIPS] for clips in films] for name, films in film.items()
            }

        starts = range(0, shortest - SLICE_CLIPS + 1, SLICE_CLIPS)
        return [self.distances(ten_seconds(start)) for start in starts]

    def distances(self, film: Films) -> Distances:
        """The distances of film from real film. Clips of one prompt are alike: prompts are what is drawn and counted.

        Half of the real prompts are what is compared with, those first that the film does not have. Of the other half
        as many as possible are the floor, beside film of the same prompts if it has them, else of any that are not
        compared with. Means over SPLITS such halves, always the same. DataError for fewer than FEWEST_PROMPTS prompts
        in a set."""
        check_prompts(self.films, film)
        rng, rng_of_draws = np.random.default_rng(0), np.random.default_rng(1)
        shown = [self._space.scaled(np.concatenate(films)) for films in film.values()]
        within, across = alikeness(shown, shown), alikeness(shown, self._clips)
        values, draws = [], []
        for _ in range(SPLITS):
            reference, names, others = _sets(rng, list(self.films), list(film))
            x, y, z = _places(film, names), _places(self.films, reference), _places(self.films, others)
            grams = within[np.ix_(x, x)], self._alike[np.ix_(y, y)], across[np.ix_(x, y)]
            floor_grams = self._alike[np.ix_(z, z)], grams[1], self._alike[np.ix_(z, y)]
            sets, compared = [shown[i] for i in x], [self._clips[i] for i in y]
            floor = [rng.permutation(self._clips[i])[: len(some)] for i, some in zip(z, sets, strict=True)]
            values.append(
                [
                    self._space.frechet(sets, compared),
                    self._space.frechet(floor, compared),
                    discrepancy(*grams)[0],
                    discrepancy(*floor_grams)[0],
                ]
            )
            draws.append(
                discrepancy(*grams, *(_drawn(rng_of_draws, len(some)) for some in (names, reference)))
            )
        frechet_mean, frechet_floor, kernel_mean, kernel_floor = np.mean(values, 0).tolist()
        return Distances(
            frechet_mean, frechet_floor, kernel_mean, kernel_floor, len(names), np.concatenate(draws)
        )

    @cached_property
    def _space(self) -> Space:
        return Space.of(np.concatenate([clips for films in self.films.values() for clips in films]))

    @cached_property
    def _clips(self) -> list[Clips]:
        return [self._space.scaled(np.concatenate(films)) for films in self.films.values()]

    @cached_property
    def _alike(self) -> Floats:
        return alikeness(self._clips, self._clips)


def _interval(value: float, draws: Floats) -> Interval:
    return Interval(np.array(value), *np.quantile(draws, [0.025, 0.975]))


def check_prompts(real: Films, film: Films) -> None:
    """DataError if there are too few prompts to compare."""
    reference, names, _ = _sets(np.random.default_rng(0), list(real), list(film))
    if min(len(names), len(reference)) < FEWEST_PROMPTS:
        raise DataError(
            f"film of {len(film)} prompts and real film of {len(real)} are too few to compare: at least"
            f" {FEWEST_PROMPTS} and {2 * FEWEST_PROMPTS} are needed"
        )


def _sets(
    rng: np.random.Generator, real: list[str], film: list[str]
) -> tuple[list[str], list[str], list[str]]:
    """The prompts of the reference, of the film and of the floor."""
    order = sorted(rng.permutation(real).tolist(), key=lambda name: name in film)
    reference, rest = order[: len(real) // 2], order[len(real) // 2 :]
    others = [name for name in rng.permutation(film).tolist() if name not in reference]
    names = sorted(others, key=lambda name: name not in rest)[: len(rest)]
    return reference, names, sorted(rest, key=lambda name: name not in names)[: len(names)]


def _places(films: Films, names: Sequence[str]) -> list[int]:
    order = list(films)
    return [order.index(name) for name in names]


def _drawn(rng: np.random.Generator, prompts: int) -> Floats:
    """How often each prompt is drawn in each draw (R, P)."""
    return rng.multinomial(prompts, [1 / prompts] * prompts, DRAWS).astype(float)


@dataclass(frozen=True)
class Space:
    """Where clips are compared: the mean and spread (D,) of the real ones, and the directions (D, K) in which they vary
    most, of such a length that along all of them together they vary by 1. Where real clips do not vary, nothing is
    scaled."""

    mean: Floats
    spread: Floats
    directions: Floats

    @classmethod
    def of(cls, real: Clips) -> Self:
        spread = np.sqrt(real.var(0).reshape(2, -1).mean(1)).repeat(real.shape[1] // 2)
        spread[spread == 0] = 1
        mean = real.mean(0)
        _, lengths, directions = np.linalg.svd((real - mean) / spread, full_matrices=False)
        total = np.sqrt((lengths[:COMPONENTS] ** 2).sum() / len(real)) or 1.0
        return cls(mean, spread, directions[:COMPONENTS].T / total)

    def scaled(self, clips: Clips) -> Clips:
        return (clips - self.mean) / self.spread

    def frechet(self, x: Sequence[Clips], y: Sequence[Clips]) -> float:
        return frechet(np.concatenate(x) @ self.directions, np.concatenate(y) @ self.directions)


def frechet(x: Clips, y: Clips) -> float:
    """The Fréchet distance of two sets (N, D) taken for Gaussians with their means and covariances."""
    a, b = ((clips - clips.mean(0)) / np.sqrt(len(clips) - 1) for clips in (x, y))
    small = [np.linalg.qr(some).R for some in (a, b)]  # Σ₁ = aᵀa = rᵀr, and so Σ₂
    root = np.linalg.norm(small[0] @ small[1].T, "nuc")  # the trace of (Σ₁ Σ₂)^½
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * root)


def alikeness(a: Sequence[Clips], b: Sequence[Clips]) -> Floats:
    """The mean kernel (P, Q) of the clips of each prompt of one set with those of each of another."""
    rows, columns = np.concatenate(a), np.concatenate(b)
    inner = rows @ columns.T / rows.shape[1] + 1
    sizes = [np.array([len(clips) for clips in some]) for some in (a, b)]
    first, second = (np.cumsum(size) - size for size in sizes)
    sums = np.add.reduceat(np.add.reduceat(inner * inner * inner, first, axis=0), second, axis=1)
    return sums / np.outer(*sizes)


def discrepancy(
    within_x: Floats, within_y: Floats, across: Floats, x: Floats | None = None, y: Floats | None = None
) -> Floats:
    """The unbiased squared maximum mean discrepancy (R,) of two sets by how alike their prompts are: (P, P), (Q, Q),
    (P, Q). x, y: how often each prompt counts, (R, P) and (R, Q); once if not given."""
    x, y = (np.ones((1, n)) if some is None else some for some, n in zip((x, y), across.shape, strict=True))

    def inside(gram: Floats, counts: Floats) -> Floats:
        pairs = counts.sum(1) ** 2 - (counts**2).sum(1)
        return ((counts @ gram * counts).sum(1) - counts**2 @ gram.diagonal()) / pairs

    between = (x @ across * y).sum(1) / (x.sum(1) * y.sum(1))
    return inside(within_x, x) + inside(within_y, y) - 2 * between
