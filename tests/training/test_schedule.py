"""Learning rates from step to step."""

import pytest

from longtake.training.schedule import constant, cosine, trapezoid


def test_schedules() -> None:
    """Guards the rise, the fall along half a cosine to nearly 0, and a warm-up of 0."""
    assert [constant(step, 10, 3) for step in (0, 1, 2, 3, 9)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert [cosine(step, 13, 3) for step in (0, 3, 8)] == pytest.approx([0.25, 1, 0.5])
    assert 0 < cosine(12, 13, 3) < 0.05 and cosine(0, 10, 0) == 1


def test_trapezoid() -> None:
    """Rises, holds, and ends near 0."""
    assert trapezoid(0, 100, 10) == pytest.approx(0.1)
    assert trapezoid(50, 100, 10) == 1
    assert trapezoid(99, 100, 10) == pytest.approx(1 / 30)
