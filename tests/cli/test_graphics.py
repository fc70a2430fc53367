"""Pictures in terminals that answer as kitty, as one of sixels, as neither, or not at all."""

import base64
import io
import os
import re
import select
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from longtake.cli import graphics as module
from longtake.cli.common import with_place
from longtake.cli.conveyor import Shown, in_terminal
from longtake.cli.graphics import CHUNK, Graphics, graphics, sixels
from longtake.preview import Conveyor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal"),
]

Cli = Callable[..., Any]
ANSWERS = {
    "kitty": b"\x1b_Gi=1;OK\x1b\\\x1b[6;20;10t\x1b[?62;c",
    "sixel": b"\x1b[6;18;9t\x1b[?62;4;22c",
    "xterm without": b"\x1b[?64;1;2;6;14c",  # 14 is no 4
    "silent": b"",
}
PICTURE = r"\x1b_Ga=T.*?m=0;[^\x1b]*\x1b\\"


@contextmanager
def terminal(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A terminal that answers so when it is asked, by its number, and what was written to it so far."""
    ours, theirs = os.openpty()
    written: list[bytes] = []

    def answering() -> None:
        try:
            while block := os.read(ours, 1 << 16):
                written.append(block)
                if b"\x1b[c" in block:
                    os.write(ours, answer)
        except OSError:  # how Linux says that the other end is closed
            pass

    thread = threading.Thread(target=answering, daemon=True)
    thread.start()
    try:
        yield theirs, written
    finally:
        os.close(theirs)
        thread.join(5)
        os.close(ours)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of a terminal that says nothing, and little patience."""
    for name in ("KITTY_WINDOW_ID", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize(
    ("name", "environment", "kind"),
    [
        ("kitty", {}, Graphics("kitty", (10, 20))),
        ("sixel", {}, Graphics("sixel", (9, 18))),
        ("xterm without", {}, Graphics("blocks")),
        ("silent", {}, Graphics("blocks", silent=True)),
        ("silent", {"TERM": "xterm-kitty"}, Graphics("kitty", silent=True)),
        ("xterm without", {"KITTY_WINDOW_ID": "1"}, Graphics("kitty")),
        ("sixel", {"KITTY_WINDOW_ID": "1", "TERM": "tmux-256color"}, Graphics("sixel", (9, 18))),
        ("kitty", {"TERM": "linux"}, Graphics("blocks")),
    ],
)
def test_a_terminal_shows_what_it_says_that_it_can(
    name: str, environment: dict[str, str], kind: Graphics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards terminals against what they do not understand; each is left as it was, with nothing to be read."""
    monkeypatch.setattr(module, "PATIENCE", 0.3 if name == "silent" else 5.0)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    with terminal(ANSWERS[name]) as (place, written):
        before = termios.tcgetattr(place)
        assert graphics("terminal", place) == kind
        assert termios.tcgetattr(place) == before
        assert graphics("blocks", place).kind == "blocks" and graphics("sixel", place).kind == "sixel"
        assert environment.get("TERM") != "linux" or not written


def test_a_late_answer_is_dropped_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards shells, which would read it as a command; of a terminal that answered, what is typed stays."""
    ours, theirs = os.openpty()
    tty.setcbreak(theirs)
    monkeypatch.setattr(sys, "stderr", os.fdopen(os.dup(theirs), "w"))
    for silent in (True, False):
        os.write(ours, ANSWERS["sixel"])
        assert select.select([theirs], [], [], 5)[0]
        Shown("blocks", 6, lambda shown: None, Graphics("blocks", silent=silent))(conveyor(6))
        assert bool(select.select([theirs], [], [], 0)[0]) is not silent
    sys.stderr.close()
    os.close(theirs)
    os.close(ours)


def test_what_is_no_terminal_is_asked_nothing(tmp_path: Path) -> None:
    """Guards pipes and files."""
    with open(tmp_path / "log", "wb") as file:
        for place in ("terminal", "kitty", "sixel"):
            assert graphics(place, file.fileno()).kind == "blocks"
    assert (tmp_path / "log").read_bytes() == b""


def conveyor(count: int) -> Conveyor:
    """Pictures of a latent each, red that grows to the right, the second half of them upside down."""
    pictures = np.zeros((count, 12, 16, 3), np.uint8)
    pictures[..., 0] = np.linspace(0, 255, 16).astype(np.uint8)
    pictures[:, 6:, :, 2] = 200
    return Conveyor(pictures, [i / count for i in range(count)], [i / 6 for i in range(count)])


def printed(how: Graphics, columns: int, lines: int) -> str:
    """What is written to a terminal of this size."""
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=columns)
    console.print(in_terminal(conveyor(6), 6, columns, lines, how))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def shown(picture: np.ndarray, width: int) -> None:
    """Assert that a row of pictures is what the conveyor holds: blue in its lower half, redder to the right."""
    half = len(picture) // 2
    assert picture[: half - 4, :width, 2].max() < 40 and picture[half + 4 :, 4 : width - 4, 2].min() > 150
    assert picture[4, 4, 0] < 60 and picture[4, :, 0].max() > 190


def test_kitty_is_sent_pngs_over_empty_lines() -> None:
    """Guards chunks, sizes in characters, and rows that fit the terminal; labels stand below them."""
    for columns, lines in ((100, 12), (40, 20)):
        text = printed(Graphics("kitty", (10, 20)), columns, lines)
        rows = re.findall(PICTURE, text)
        assert rows and len({re.search(r"i=(\d+)", row)[1] for row in rows}) == len(rows)  # type: ignore[index]
        for row in rows:
            chunks = re.findall(r"\x1b_G[^;]*;([^\x1b]*)\x1b\\", row)
            assert all(len(chunk) <= CHUNK for chunk in chunks)
            width, height = (int(re.search(rf"{key}=(\d+)", row)[1]) for key in "cr")  # type: ignore[index]
            with Image.open(io.BytesIO(base64.b64decode("".join(chunks)))) as image:
                assert image.size == (10 * width, 20 * height) and width < columns
                shown(np.asarray(image), 10 * 10)
            assert f"\x1b7\x1b[{height}A\r{row}\x1b8" in text
        rest = re.sub(r"\x1b7.*?\x1b8", "", text).splitlines()
        assert len(rest) <= lines and max(map(len, rest)) <= columns and "σ 0.50" in "".join(rest)


def decoded(text: str) -> np.ndarray:
    """The picture of an escape in sixels (H, W, 3), read by its grammar alone."""
    head = re.match(r'\x1bP0;1q"1;1;(\d+);(\d+)', text)
    assert head is not None and text.endswith("\x1b\\")
    picture = np.zeros((int(head[2]) + 6, int(head[1]), 3), np.uint8)
    palette, colour, x, top = dict[int, list[float]](), 0, 0, 0
    tokens = re.findall(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([$-])", text[head.end() : -2])
    for index, r, g, b, chosen, count, sign, move in tokens:
        if index:
            palette[int(index)] = [int(part) * 2.55 for part in (r, g, b)]
        elif chosen:
            colour = int(chosen)
        elif count:
            for bit in range(6):
                if ord(sign) - 63 >> bit & 1:
                    picture[top + bit, x : x + int(count)] = palette[colour]
            x += int(count)
        else:
            x, top = 0, top + 6 * (move == "-")
    return picture[: int(head[2])]


def test_sixels_are_the_picture() -> None:
    """Guards the encoder against the format's grammar: every point once, in a colour that is near."""
    dice = np.random.default_rng(0)
    pixels = np.asarray(Image.fromarray(dice.integers(0, 256, (5, 7, 3), np.uint8)).resize((70, 50)))
    back = decoded(sixels(Image.fromarray(pixels)))
    assert back.shape == pixels.shape and np.abs(back.astype(int) - pixels).mean() < 16
    text = printed(Graphics("sixel", (9, 18)), 100, 12)
    row = re.search(r"\x1b7\x1b\[(\d+)A\r(\x1bP.*?\x1b\\)\x1b8", text)
    assert row is not None
    picture = decoded(row[2])
    assert len(picture) == 18 * int(row[1])
    shown(picture, 9 * 10)


def test_a_way_to_show_it_may_be_named() -> None:
    """Guards the option: a way or a PNG behind it is its value, a prompt is none."""
    for words in ("--preview kitty a", "a --preview sixel", "--preview blocks", "--preview film.png a"):
        assert with_place(words.split()) == words.split()
    assert with_place(["--preview", "a kitty"]) == ["--preview", "terminal", "a kitty"]


def test_pipes_are_refused_in_a_line(cli: Cli, tubelet_folder: Path) -> None:
    """Guards logs against escapes, whatever is asked for."""
    for place in ("kitty", "sixel", "blocks"):
        result = cli("generate", "a red car", "--model", tubelet_folder, "--preview", place)
        assert result.code == 2 and "needs a terminal" in result.err and result.err.count("\n") == 1


def test_a_film_is_watched_in_pictures(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the way through the command: the terminal's own pictures, beside the bar, and the film is made."""
    environment = {**os.environ, "COLORTERM": "truecolor", "PYTHONUTF8": "1", "XDG_CACHE_HOME": str(tmp_path)}
    words = ("generate", "a red car", "--preview", "--model", str(tubelet_folder), "-o", "a.mp4")
    quick = ("--frames", "14", "--steps", "2", "--size", "32x32")
    with terminal(ANSWERS["kitty"]) as (place, written):
        run = subprocess.run(
            [sys.executable, "-m", "longtake", *words, *quick],
            stdout=subprocess.PIPE, stderr=place, cwd=tmp_path, env=environment, timeout=100,
        )  # fmt: skip
    text = b"".join(written).decode()
    assert run.returncode == 0 and (tmp_path / "a.mp4").exists()
    assert "▀" not in text and "σ 1.00" in text and "14/14" in text
    assert re.search(PICTURE, text)
