"""The command line under python -OO, which strips docstrings and assertions."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from longtake.video import VideoWriter

pytestmark = pytest.mark.slow


def longtake(*words: str | Path) -> str:
    command = [sys.executable, "-OO", "-m", "longtake", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", ["compare", "evaluate", "adherence", "judge"])
def test_options_are_described(command: str) -> None:
    """Guards help that is cut out of docstrings."""
    assert "--help" in longtake(command, "--help")


def test_a_film_is_measured_and_told_of(tmp_path: Path) -> None:
    """Guards numbers and pages that are cut out of docstrings: what the measures cannot see is on the page."""
    film = tmp_path / "film.mp4"
    with VideoWriter(film, 64, 48, 24, {}) as writer:
        writer.write(np.random.default_rng(0).integers(0, 256, (48, 48, 64, 3), dtype=np.uint8))
    assert "| film.mp4 | 1 |" in longtake("evaluate", film, "-o", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What each measure cannot see" in page and "a still life is frozen." in page
