"""What the commands say of a film that is not quite as it was asked for: once, on stderr, and it is made."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from longtake.video import probe

Cli = Callable[..., Any]
SMALL = ("--size", "32x32", "--steps", "2")


@pytest.mark.parametrize(
    ("arguments", "frames", "note"),
    [
        (
            ("--fps", "23.976"),
            1439,
            "60 s at 23.976 fps is no whole number of frames: the film has 1,439 frames, 60.018 s",
        ),
        (
            ("--fps", "29.97", "--seconds", "10"),
            300,
            "10 s at 29.97 fps is no whole number of frames: the film has 300 frames, 10.01 s",
        ),
        (("--fps", "24000/1001", "--seconds", "1001"), 24000, None),
        (("--seconds", "0.5"), 12, None),
    ],
)
def test_every_rate_by_itself(cli: Cli, arguments: tuple[str, ...], frames: int, note: str | None) -> None:
    """Guards rates of television with the default length, and with any: the nearest whole frame, and what that is."""
    result = cli("plan", *arguments, "--json")
    assert result.code == 0 and result.err == (f"note: {note}\n" if note else "")
    assert json.loads(result.out)["plan"]["length"]["num_frames"] == frames


def test_the_film_has_the_frames_that_were_told(cli: Cli, tubelet_folder: Path) -> None:
    """Guards the whole way: the closing line and the file agree, the file's rate is exact, and what nobody can see in
    it, a third of a thousandth of a second, is not told."""
    film = ("--fps", "29.97", "--seconds", "0.3", "--model", tubelet_folder, "-o", "film.mp4")
    result = cli("generate", "a red car", *SMALL, *film)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("film.mp4: 0.3 s, 9 frames, ")
    info = probe("film.mp4")
    assert (info.num_frames, info.fps) == (9, Fraction(30000, 1001))


@pytest.mark.parametrize(
    ("kind", "prompt", "read"),
    [
        ("open_sora", "A RED car (2024)", "a red car 2024"),
        ("tubelet", "a red &amp; blue car", "a red & blue car"),
        ("tubelet", " a  red car ", None),
        ("open_sora", "a red car", None),
    ],
)
def test_a_prompt_that_is_read_as_another_is_told(
    cli: Cli, kind: str, prompt: str, read: str | None, request: pytest.FixtureRequest
) -> None:
    """Guards words that a model's text encoder never sees as they were written."""
    folder = request.getfixturevalue(f"{kind}_folder")
    result = cli(
        "generate",
        prompt,
        *SMALL,
        "--steps-per-chunk",
        "1",
        "--frames",
        "4",
        "--model",
        folder,
        "-o",
        "film.mp4",
    )
    notes = [line for line in result.err.splitlines() if "reads the prompt" in line]
    assert result.code == 0
    assert notes == ([f'note: {folder.name} reads the prompt as "{read}"'] if read else [])
    assert probe("film.mp4").metadata["prompt"] == prompt
