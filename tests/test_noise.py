"""Noise by place, and the table of noise levels."""

import statistics

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from longtake.errors import OptionError
from longtake.noise import chunk_noise, latent_noise, sigma_table

SHAPE = (3, 4, 5)


def test_golden_numbers() -> None:
    """A seed gives the same film for ever: a change of the generator, or of how it is keyed, shows here."""
    first = latent_noise(0, 0, SHAPE).flatten()[:4].tolist()
    later = latent_noise(7, 1439, SHAPE).flatten()[:4].tolist()
    assert first == [0.059911035001277924, 0.015559634193778038, -1.1644384860992432, -0.13264712691307068]
    assert later == [-0.8667654395103455, -0.5547545552253723, 1.6223863363265991, 2.193157196044922]


@given(st.integers(0, 2**64 - 1), st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 4))
def test_a_latent_knows_only_its_seed_and_place(seed: int, index: int, chunk_size: int, offset: int) -> None:
    """The same latent in chunks of any size, at any offset in them, in any batch, in any order of asking."""
    alone = latent_noise(seed, index, SHAPE)
    first = max(0, index - offset % chunk_size)
    chunk = chunk_noise([seed ^ 1, seed], first, chunk_size, SHAPE)
    assert chunk.shape == (2, 3, chunk_size, 4, 5) and chunk.dtype == torch.float32
    assert torch.equal(chunk[1, :, index - first], alone)


def test_it_is_normal() -> None:
    """Moments and tails of a million numbers, each within 5 standard errors of the normal's."""
    x = chunk_noise(range(10), 0, 100, (4, 16, 16)).double().flatten()
    n = len(x)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean().item() - moment) < 5 * (variance / n) ** 0.5
    for z in (-4.0, -3.0, -1.0, 0.0, 0.5, 2.0, 3.5):
        p = statistics.NormalDist().cdf(z)
        assert abs((x < z).double().mean().item() - p) < 5 * (p * (1 - p) / n) ** 0.5


def test_places_and_seeds_are_independent() -> None:
    """Neighbouring latents, neighbouring seeds, and a latent shifted against itself do not correlate."""
    shape = (4, 64, 64)
    base = latent_noise(3, 5, shape).flatten()
    others = [latent_noise(seed, i, shape).flatten() for seed, i in ((3, 6), (3, 4), (4, 5), (2, 5), (5, 3))]
    for other in [*others, base.roll(1), base.roll(4), base.roll(64)]:
        assert abs(torch.corrcoef(torch.stack([base, other]))[0, 1].item()) < 5 / len(base) ** 0.5


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(seed: int) -> None:
    """A seed that the generator has no key for is refused, not folded."""
    with pytest.raises(OptionError, match="seed must lie in 0 to"):
        latent_noise(seed, 0, SHAPE)


@given(st.integers(1, 200), st.floats(0.1, 20))
def test_sigmas_fall_from_one_to_zero(num_steps: int, shift: float) -> None:
    """S + 1 levels, float32, as the heart wants them: r u / (1 + (r - 1) u) of even steps u."""
    sigmas = sigma_table(num_steps, shift)
    assert sigmas.shape == (num_steps + 1,) and sigmas.dtype == torch.float32
    assert abs(sigmas[0].item() - 1) < 3e-7 and sigmas[-1] == 0 and (sigmas.diff() < 0).all()
    u = torch.arange(num_steps, -1, -1, dtype=torch.float64) / num_steps
    expected = (shift * u / (1 + (shift - 1) * u)).float()
    torch.testing.assert_close(sigmas, expected, atol=0, rtol=1e-6)


def test_sigmas_are_those_of_diffusers() -> None:
    """The same bits as the scheduler gives a pipeline that passes it these steps."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / 40, 40))
    assert torch.equal(sigma_table(40, 5.0), scheduler.sigmas)


@pytest.mark.parametrize(
    ("num_steps", "shift"), [(0, 3.0), (-2, 3.0), (4, 0.0), (4, -1.0), (4, float("nan")), (4, float("inf"))]
)
def test_no_table(num_steps: int, shift: float) -> None:
    """No steps, or a shift that warps nothing, are refused."""
    with pytest.raises(OptionError, match="must be"):
        sigma_table(num_steps, shift)
