"""Distances of distributions: against what is known of Gaussians, and what film is meant to cost."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from longtake.errors import DataError
from longtake.evaluation.features import Vectors
from longtake.evaluation.measures.base import Frames
from longtake.evaluation.measures.clips import ClipFeatures, Clips
from longtake.evaluation.measures.distribution import (
    Distances,
    Films,
    RealFilm,
    alikeness,
    discrepancy,
    frechet,
)


def distances(real: Films, film: Films) -> Distances:
    return RealFilm(real).distances(film)


def kernel(x: Sequence[Clips], y: Sequence[Clips]) -> float:
    """The unbiased kernel distance of two sets of prompts, (N, D) each; clips of one prompt are not compared."""
    return float(discrepancy(alikeness(x, x), alikeness(y, y), alikeness(x, y))[0])


class Corner:
    """The colour of the corner pixel."""

    name = "corner"

    def __call__(self, frames: Frames) -> Vectors:
        return frames[:, 0, 0].astype(np.float32)


def gaussian(mean: Sequence[float], root: Sequence[Sequence[float]], count: int, seed: int = 0) -> Clips:
    """Samples whose mean is exactly `mean`, and whose covariance is exactly root · rootᵀ."""
    samples = np.random.default_rng(seed).standard_normal((count, len(mean)))
    samples -= samples.mean(0)
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(samples, rowvar=False)))
    return samples @ whitening.T @ np.array(root).T + mean


def prompts(first: int, count: int, shift: float = 0.0, still: float = 1.0) -> dict[str, list[Clips]]:
    """A film of five clips of each prompt from `first` on: four numbers of looks, which for the most part the prompt
    decides and `shift` moves, and four of motion, which are scaled by `still`."""
    return {str(number): [_clips(number, shift, still)] for number in range(first, first + count)}


def _clips(number: int, shift: float, still: float) -> Clips:
    rng = np.random.default_rng(number)
    looks = rng.standard_normal(4) + 0.2 * rng.standard_normal((5, 4)) + shift
    return np.concatenate([looks, still * np.abs(1 + 0.3 * rng.standard_normal((5, 4)))], axis=1)


def test_frechet_of_gaussians() -> None:
    """Along each axis (μ₁ − μ₂)² + (σ₁ − σ₂)²: 9 + 1 and 16 + 4."""
    x = gaussian((0, 0), [[1, 0], [0, 5]], 40)
    y = gaussian((3, 4), [[2, 0], [0, 3]], 60, seed=1)
    assert frechet(x, y) == pytest.approx(9 + 1 + 16 + 4)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)


def test_frechet_of_slanted_gaussians() -> None:
    """Covariances that do not commute, by the formula: the root's trace is the sum of the roots of the eigenvalues of
    the product. Guards the shorter way that is taken to it."""
    first, second = np.array([[2, 0, 0], [1, 1, 0], [0, 1, 3]]), np.array([[1, 0, 0], [-2, 1, 0], [1, 1, 1]])
    x, y = gaussian((0, 0, 0), first.tolist(), 40), gaussian((1, 0, 0), second.tolist(), 30, seed=1)
    a, b = first @ first.T, second @ second.T
    root = np.sqrt(np.linalg.eigvals(a @ b).real).sum()
    assert frechet(x, y) == pytest.approx(1 + np.trace(a + b) - 2 * root)


def test_kernel_by_hand() -> None:
    """Prompts of one clip of one number each, 0 and 1 against 2 and 3: within, (0·1 + 1)³ = 1 and (2·3 + 1)³ = 343;
    between, the mean of 1, 1, 27 and 64."""
    x, y = ([np.array([[float(number)]]) for number in pair] for pair in ((0, 1), (2, 3)))
    assert kernel(x, y) == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)


def test_kernel_is_unbiased() -> None:
    """Between draws from one distribution it is 0 on average, though clips of a prompt are alike: pairs within a prompt
    are left out. Counted as if they were apart, they make for far more."""
    draws = [[clips for (clips,) in prompts(6 * i, 6).values()] for i in range(400)]
    pairs = list(zip(draws[::2], draws[1::2], strict=True))
    distances = np.array([kernel(x, y) for x, y in pairs])
    error = distances.std() / np.sqrt(len(distances))
    assert abs(distances.mean()) < 3 * error
    assert (
        np.mean([kernel(list(np.vstack(x)[:, None]), list(np.vstack(y)[:, None])) for x, y in pairs])
        > 10 * error
    )


def test_other_film_is_farther_than_real_film() -> None:
    """More of the same is like the floor, other looks and no motion are far beyond it; prompts that real film has too,
    and others."""
    real = prompts(0, 32)
    for first in (0, 100):
        same = distances(real, prompts(first, 16))
        assert same.frechet < 1.5 * same.frechet_floor and same.kernel < same.kernel_floor + 0.3
        for film in (prompts(first, 16, shift=2), prompts(first, 16, still=0.1)):
            other = distances(real, film)
            assert other.frechet > 2 * other.frechet_floor and other.kernel > 1 + other.kernel_floor


def test_perfect_film_is_at_the_floor() -> None:
    """Film that is real film has the distance of real film to the last digit, since it is of the prompts of the
    floor, and neither prompts nor clips are compared with themselves."""
    both = distances(prompts(0, 16), prompts(0, 16))
    assert both.frechet == pytest.approx(both.frechet_floor) and both.kernel == pytest.approx(
        both.kernel_floor
    )
    assert both.frechet > 0.1 and both.prompts == 8


def test_half_of_the_prompts() -> None:
    """Eight prompts against sixteen: the eight others are what all of them are compared with."""
    assert distances(prompts(0, 16), prompts(0, 8)).prompts == 8


def test_slices_of_ten_seconds() -> None:
    """Film that drifts is farther in its second ten seconds; what does not fill ten is left; prompts may have seeds."""
    good, bad = prompts(100, 16), prompts(100, 16, shift=2)
    film = {name: [np.concatenate([good[name][0], bad[name][0], bad[name][0][:2]])] * 2 for name in good}
    first, second = RealFilm(prompts(0, 32)).slice_distances(film)
    assert second.kernel > 1 + first.kernel and second.frechet > 2 * first.frechet


def test_the_same_every_time() -> None:
    """Draws are seeded."""
    first, second = (distances(prompts(0, 16), prompts(4, 16)) for _ in range(2))
    assert first == second
    np.testing.assert_array_equal(first.draws, second.draws)


def test_intervals_hold_what_is_true() -> None:
    """Of real film's own kind the distance is 0, and in most cases within the interval; of other looks it is far from
    it. The difference between films of the same prompts is surer than each of the two."""
    inside = []
    for i in range(12):
        same = distances(prompts(100 * i, 32), prompts(100 * i + 50, 16)).interval
        inside.append(same.low < 0 < same.high)
    assert sum(inside) >= 10
    other, more = (distances(prompts(0, 32), prompts(50, 16, shift=shift)) for shift in (1.0, 1.1))
    assert other.interval.low > 0
    apart = more.less(other)
    assert 0 < apart.low < apart.high and apart.high - apart.low < other.interval.high - other.interval.low


def test_what_does_not_vary() -> None:
    """Guards a spread of zero, of real film that stands still: nothing is divided by it."""
    real = prompts(0, 16, still=0)
    still = {
        name: [np.concatenate([clips[:, :4], 0 * clips[:, 4:]], axis=1) for clips in films]
        for name, films in real.items()
    }
    assert np.isfinite(distances(still, prompts(0, 16)).kernel)


@pytest.mark.parametrize(("real", "film"), [(16, 7), (15, 8), (2, 30)])
def test_too_few_prompts(real: int, film: int) -> None:
    """A distance of a handful of films would be noise: one line says how many are needed."""
    with pytest.raises(DataError, match="at least 8 and 16 are needed"):
        distances(prompts(0, real), prompts(0, film))


def test_clips_are_looks_and_motion() -> None:
    """Red that rises by one a frame: means of the frames looked at, every sixth, and steps of six; the half clip at the
    end is left."""
    frames = np.zeros((120, 1, 1, 3), np.uint8)
    frames[:, 0, 0, 0] = np.arange(120)
    measure = ClipFeatures(Corner(), Fraction(24))
    measure.push(frames)
    np.testing.assert_array_equal(measure.clips(), [[21, 0, 0, 6, 0, 0], [69, 0, 0, 6, 0, 0]])
    assert measure.curves([slice(0, 120)]) == {} and measure.totals() == {}


def test_clips_are_the_slices_of_the_curves() -> None:
    """Guards 23.976 frames a second, at which slices have 47 or 48 frames: a film of 47 has a clip, of 1,438 30."""
    for frames, clips in ((47, 1), (1438, 30)):
        measure = ClipFeatures(Corner(), Fraction(24000, 1001))
        measure.push(np.zeros((frames, 1, 1, 3), np.uint8))
        assert len(measure.clips()) == clips
