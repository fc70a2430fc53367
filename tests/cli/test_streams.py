"""What the terminal cannot take: letters it does not have, a full disk behind it, nobody who reads."""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.cli.common import say
from longtake.cli.streams import Outlet, standard_streams
from longtake.progress import track
from longtake.video import probe

pytestmark = pytest.mark.slow

Cli = Callable[..., Any]
PROMPT = "a red car driving past snowy mountains at dawn"
QUICK = ("--frames", "9", "--steps", "2", "--size", "32x32", "-o", "film.mp4")


def pipe_without_reader() -> io.TextIOWrapper:
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w")


def full() -> io.TextIOWrapper:
    return open("/dev/full", "w")


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--seconds", "2"),
        ("plan", "--seconds", "2", "--json"),
        ("models",),
        ("--help",),
        ("generate", "--help"),
        ("compare", "--help"),
        ("train", "--help"),
    ],
)
def test_ascii_is_enough(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Guards terminals of one alphabet against tracebacks, and the ladder against question marks."""
    told = tmp_path / "told.txt"
    with told.open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert cli(*arguments).code == 0
    text = told.read_text("ascii")
    assert len(text) > 100 and "?" not in text
    if arguments == ("plan", "--seconds", "2"):
        assert "1.000  ####" in text and "...  enters as noise" in text


@given(st.text(st.characters(), max_size=20))
def test_any_text_is_printed(text: str) -> None:
    """Guards lines with names and prompts of any kind, bytes that are no text among them, in any encoding."""
    with standard_streams():
        for encoding in ("ascii", "latin-1", "utf-8"):
            text.encode(encoding, "longtake").decode(encoding)


def test_a_line_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards one line a message, and the terminal, against names with line breaks and escape sequences."""
    say("no folder a\nb\x1b[31m\udce9")
    assert capsys.readouterr().err == "no folder a\\nb\\x1b[31m\\xe9\n"


@pytest.mark.parametrize(
    ("stdout", "code", "line"),
    [
        (full, 2, "error: cannot print the result: No space left on device; all else is done\n"),
        (pipe_without_reader, 141, ""),
    ],
)
def test_a_film_is_whole_whatever_became_of_its_line(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    tubelet_folder: Path,
    tmp_path: Path,
    stdout: Callable[[], io.TextIOWrapper],
    code: int,
    line: str,
) -> None:
    """Guards what was made against what cannot be printed, the exit code against silence."""
    with monkeypatch.context() as patch, stdout() as out:
        patch.setattr(sys, "stdout", out)
        result = cli("generate", PROMPT, *QUICK, "--model", tubelet_folder)
    assert (result.code, result.err) == (code, line)
    assert probe("film.mp4").num_frames == 9 and [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("stderr", [full, pipe_without_reader])
def test_stderr_is_not_needed(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tubelet_folder: Path, stderr: Callable[[], io.TextIOWrapper]
) -> None:
    """Guards notes, bars and error lines that nobody reads."""
    with monkeypatch.context() as patch, stderr() as err:
        patch.setattr(sys, "stderr", err)
        assert cli("generate", "a red giraffe", *QUICK, "--model", tubelet_folder).code == 0
        assert cli("generate", PROMPT, *QUICK, "--model", tubelet_folder).code == 2


def test_streams_that_are_closed(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the film against getting the number of a closed stream, which libraries print to."""
    command = [sys.executable, "-m", "longtake", "generate", PROMPT, *QUICK, "--model", str(tubelet_folder)]
    closed = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command]
    assert subprocess.run(closed, cwd=tmp_path).returncode == 0
    assert probe(tmp_path / "film.mp4").num_frames == 9


def test_a_pipe_that_does_not_wait_gets_all() -> None:
    """Guards long results through pipes that are set not to block, as other programs leave them."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    text = b"0123456789" * 50_000
    got: list[bytes] = []

    def read() -> None:
        with open(reader, "rb") as file:
            got.append(file.read())

    thread = threading.Thread(target=read)
    thread.start()
    with Outlet(writer, "w") as outlet:
        assert outlet.write(text) == len(text) and outlet.error is None
    thread.join()
    assert got == [text]


def test_bars_are_no_results(capfd: pytest.CaptureFixture[str]) -> None:
    """Guards JSON on stdout, and logs, against bars."""
    assert list(track(range(3), "counting")) == [0, 1, 2]
    assert capfd.readouterr() == ("", "")
