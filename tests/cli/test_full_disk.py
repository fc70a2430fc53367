"""A disk that takes no more, at any file: one line that names it, nothing damaged, and the same command goes on."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from packets import same_film

pytestmark = pytest.mark.slow

Cli = Callable[..., Any]


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """Refuse every byte of a file beyond so many, as a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


QUICK = ("--steps", "2", "--batch-size", "2", "--save-every", "1", "--warmup", "0", "--sample-every", "0")
COMMANDS = {
    "prepare": ("prepare", "film", "-o", "run", "--model", "MODEL"),
    "train": ("train", "--data", "film", "-o", "run", "--model", "MODEL", *QUICK),
    "evaluate": ("evaluate", "film/a.mp4", "-o", "run"),
    "world": ("world", "--sheet", "run.png"),
}


@pytest.mark.parametrize(
    ("name", "num_bytes"),
    [
        *((name, num_bytes) for name in ("prepare", "train", "evaluate") for num_bytes in (0, 1000, 20_000)),
        ("world", 1000),
    ],
)
def test_a_full_disk_is_one_line(
    cli: Cli,
    captioned_film: Path,
    tubelet_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    num_bytes: int,
) -> None:
    """Guards every file that a command writes, and the run: with room it ends as if nothing had been."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    command = [{"MODEL": tubelet_folder}.get(word, word) for word in COMMANDS[name]]
    with files_of_at_most(num_bytes):
        result = cli(*command)
    if result.code:
        assert result.code == 2 and result.err.startswith("error: ") and result.err.count("\n") == 1
        assert "run" in result.err and "File too large" in result.err
    assert num_bytes == 20_000 or result.code
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".part", ".lock")]
    assert cli(*command).code == 0


def test_a_film_goes_on_when_there_is_room(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards hours of work against a disk that fills up: one line, a state where that has room, and the same bytes."""
    command = (
        "generate",
        "a red car",
        "--seconds",
        "40",
        "--fps",
        "8",
        "--size",
        "64x64",
        "--model",
        tubelet_folder,
    )
    assert cli(*command, "-o", "whole.mp4").code == 0
    with files_of_at_most(150_000):
        result = cli(*command, "-o", "film.mp4")
    assert result.code == 2 and result.err.startswith("error: ") and result.err.count("\n") == 1
    assert "longtake resume film.mp4.part" in result.err
    assert cli("resume", "film.mp4.part").code == 0
    assert same_film(tmp_path / "film.mp4", tmp_path / "whole.mp4")
