"""Where a film meets what it was given: how much it changes there, read off its file."""

from pathlib import Path

import numpy as np
import pytest

from longtake.seams import Seam, seam_at
from longtake.video import VideoWriter


def film(path: Path, levels: list[int]) -> Path:
    """Pictures of one grey level each."""
    with VideoWriter(path, 32, 32, 8, {}) as writer:
        for level in levels:
            writer.write(np.full((1, 32, 32, 3), level, np.uint8))
    return path


def test_a_seam_is_measured_against_the_film_itself(tmp_path: Path) -> None:
    """Guards the place of the seam, what is elsewhere, and a loop, whose last picture comes before its first."""
    path = film(tmp_path / "a.mp4", [10, 20, 30, 40, 50, 130, 140, 150, 160, 190, 200])
    jump = seam_at(path, 5)
    assert jump is not None and jump.jumps and "it jumps" in str(jump)
    assert (jump.score, jump.largest) == (pytest.approx(8, rel=0.2), pytest.approx(3, rel=0.2))
    assert 1 < jump.usual < jump.largest
    none, loop = seam_at(path, 3), seam_at(path, 0)
    assert none is not None and not none.jumps and none.score == pytest.approx(1, rel=0.2)
    assert none.largest == pytest.approx(8, rel=0.2)
    assert loop is not None and loop.jumps and loop.score == pytest.approx(19, rel=0.2)


def test_what_has_no_range_has_no_seam(tmp_path: Path) -> None:
    """Guards films of two pictures, and those that stand still."""
    assert seam_at(film(tmp_path / "two.mp4", [10, 90]), 1) is None
    assert seam_at(film(tmp_path / "still.mp4", [90] * 9), 4) == Seam(1, 1, 1)
