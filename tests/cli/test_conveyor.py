"""The conveyor as a PNG and in a terminal."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from longtake import LongTake
from longtake.cli.common import with_place
from longtake.cli.conveyor import Shown, grid, in_terminal, png
from longtake.options import FilmOptions
from longtake.preview import Conveyor
from longtake.takes import Take
from packets import same_film

pytestmark = pytest.mark.slow

Cli = Callable[..., Any]
QUICK = ("--frames", "14", "--steps", "2", "--size", "32x32")


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that is not the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def conveyor(count: int, height: int = 10, width: int = 16) -> Conveyor:
    pictures = np.zeros((count, height, width, 3), np.uint8)
    pictures[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    return Conveyor(pictures, [i / count for i in range(count)], [i / 6 for i in range(count)])


@given(
    st.integers(1, 60), st.floats(0.3, 4), st.integers(20, 2000), st.integers(20, 1000), st.integers(1, 200)
)
def test_pictures_fit(count: int, aspect: float, width: int, height: int, most: int) -> None:
    """Guards the layout: within the space whenever one picture is, and all of them unless they are too small."""
    every, per_row, wide, tall = grid(count, aspect, width, height, 2, 4, 10, most)
    rows = math.ceil(math.ceil(count / every) / per_row)
    assert every == 1 or grid(1, aspect, width, height, 2, 4, 10, most)[2] >= 10
    if every < count:
        assert 10 <= wide <= max(10, most)
        assert per_row * (wide + 2) - 2 <= width and rows * (tall + 4 + 2) <= height + rows


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("generate a --preview", "generate a --preview terminal"),
        ("--preview film.png a", "--preview film.png a"),
        ("--preview prompt -o a.mp4", "--preview terminal prompt -o a.mp4"),
        ("--preview=x.PNG a", "--preview=x.PNG a"),
        ("a -- --preview", "a -- --preview"),
    ],
)
def test_a_preview_needs_no_file(words: str, told: str) -> None:
    """Guards an option whose value may be left out: a prompt behind it is none."""
    assert with_place(words.split()) == told.split()


def test_a_png_stays_where_it_is(tmp_path: Path) -> None:
    """The picture is as large from the first pass to the last, whole at any moment, and nothing is left beside it."""
    path = tmp_path / "film.png"
    shown = Shown(str(path), 8, lambda what: None)
    sizes = set()
    for count in (1, 8, 3):
        shown(conveyor(count))
        with Image.open(path) as image:
            image.load()
            sizes.add(image.size)
    assert len(sizes) == 1 and [*tmp_path.iterdir()] == [path]
    assert png(conveyor(8), 8) == png(conveyor(8), 8)


def test_a_png_that_cannot_be_written_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards a film whose preview's folder is gone."""
    shown = Shown(str(tmp_path / "gone" / "film.png"), 8, lambda what: None)
    shown(conveyor(2))
    shown(conveyor(2))
    assert capsys.readouterr().err.count("the preview ends") == 1


def test_in_terminal_fit_the_terminal() -> None:
    """Guards redrawing in place: no line is longer than the terminal, and there are no more than it has."""
    for count, columns, lines in ((8, 80, 18), (1, 40, 10), (30, 120, 40), (30, 60, 8)):
        console = Console(width=columns, height=lines, force_terminal=True, record=True, file=open(os.devnull, "w"))  # noqa: SIM115  # fmt: skip
        console.print(in_terminal(conveyor(count), count, columns, lines))
        text = console.export_text().splitlines()
        console.file.close()
        assert len(text) <= lines and max(map(len, text)) <= columns
        assert "▀" in text[0] and any("σ 0." in line or "clean" in line for line in text)


@pytest.mark.slow
def test_films_with_a_preview_are_the_same_films(
    cli: Cli, tubelet_folder: Path, tmp_path: Path, cache: Path
) -> None:
    """Guards the way through the commands: the same film, one PNG, which a next film may replace."""
    for name, extra in (("a.mp4", ()), ("b.mp4", ("--preview", "p.png")), ("c.mp4", ("--preview", "p.png"))):
        result = cli("generate", "a red car", "-o", name, "--model", tubelet_folder, *QUICK, *extra)
        assert (result.code, result.err) == (0, "")
    assert same_film("a.mp4", "b.mp4") and same_film("b.mp4", "c.mp4")
    with Image.open("p.png") as image:
        assert image.format == "PNG"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "c.mp4", "p.png"]
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 1


@pytest.mark.slow
def test_a_film_that_goes_on_is_watched_too(
    cli: Cli, tubelet_folder: Path, tmp_path: Path, cache: Path
) -> None:
    """Guards resume, extend and branch: a preview each, and resume's film is that of one that was left alone."""
    film = FilmOptions(prompt="a red car", num_frames=14, width=32, height=32, num_inference_steps=2)
    model = LongTake.from_pretrained(tubelet_folder)
    for name in ("a.mp4", "b.mp4"):
        take = Take(film.resolved(model.model.spec), tmp_path / name, keep_every=0.1)
        with suppress(KeyboardInterrupt):
            take.shoot(model, stop=iter([name == "a.mp4", *[False] * 99]).__next__)
    for command in (
        ("resume", "a.mp4", "--preview", "a.png"),
        ("extend", "b.mp4", "--seconds", "0.5", "-o", "longer.mp4", "--preview", "longer.png"),
        ("branch", "b.mp4", "a blue bus", "--at", "0.4s", "-o", "other.mp4", "--preview", "other.png"),
    ):
        result = cli(*command)
        assert (result.code, result.err) == (0, "")
        with Image.open(command[-1]) as image:
            assert image.format == "PNG"
    assert same_film("a.mp4", "b.mp4")


def test_previews_that_cannot_be_shown_are_refused(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """One line, before anything is loaded or written: no terminal, no folder, a picture that is the user's own."""
    Image.new("RGB", (4, 4)).save(tmp_path / "mine.png")
    (tmp_path / "text.png").write_text("mine")
    for place, told in (
        ((), "needs a terminal"),
        (("mine.png",), "mine.png exists and is no preview"),
        (("text.png",), "text.png exists and is no preview"),
        (("no/film.png",), "does not exist"),
    ):
        result = cli(
            "generate", "a red car", "-o", "a.mp4", "--model", tubelet_folder, *QUICK, "--preview", *place
        )
        assert result.code == 2 and told in result.err and result.err.count("\n") == 1
    assert not Path("a.mp4").exists()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_terminal_shows_it_above_the_bar(tubelet_folder: Path, tmp_path: Path, cache: Path) -> None:
    """Guards the terminal: half blocks, levels and the bar are there, and stdout stays JSON."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONUTF8": "1"}
    environment.pop("NO_COLOR", None)
    words = ("generate", "a red car", "--preview", "--model", str(tubelet_folder), *QUICK, "-o", "a.mp4")
    process = subprocess.Popen(
        [sys.executable, "-m", "longtake", *words, "--json"],
        stdout=subprocess.PIPE, stderr=theirs, cwd=tmp_path, env=environment,
    )  # fmt: skip
    os.close(theirs)
    told = b""
    try:
        while block := os.read(ours, 1 << 16):
            told += block
    except OSError:  # how Linux says that the other end is closed
        pass
    out, _ = process.communicate()
    os.close(ours)
    text = told.decode()
    assert process.returncode == 0 and out.startswith(b"{")
    assert "▀" in text and "σ 1.00" in text and "14/14" in text
