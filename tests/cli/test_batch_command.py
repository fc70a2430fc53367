"""The command that films many prompts: in any order to the same files, past failures, and on from where it stopped."""

import json
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from longtake.errors import NumberError
from longtake.files import exclusive_folder
from longtake.pipeline import LongTake
from longtake.shot import Shot
from longtake.video import VideoWriter
from packets import packets, same_film

pytestmark = pytest.mark.slow

Cli = Callable[..., Any]
OPTIONS = ("--size", "32x32", "--steps", "2", "--steps-per-chunk", "1", "--fps", "8", "--seconds", "3")
LINES: list[dict[str, Any]] = [
    {"prompt": "a red car", "name": "one"},
    {"prompt": "a red car", "seed": 7, "seconds": 2},
    {"prompt": "a blue bus", "name": "three.mp4", "cues": [{"at": "1s", "prompt": "a blue bus at night"}]},
]


def batch(tubelet_folder: Path, folder: str, lines: list[dict[str, Any]], *more: str) -> tuple[str, ...]:
    """The arguments of a batch of these lines, which are written to a file of the folder's name."""
    Path(f"{folder}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return ("batch", f"{folder}.jsonl", "-o", folder, "--model", str(tubelet_folder), *OPTIONS, *more)


def stopped_after(patch: pytest.MonkeyPatch, count: int) -> list[Any]:
    """The states before each pass from now on; in the pass of this number comes Ctrl-C."""
    advance, passes = Shot.advance, list[Any]()

    def signalled(self: Shot, state: Any) -> Any:
        passes.append(state)
        if len(passes) == count:
            signal.raise_signal(signal.SIGINT)
        return advance(self, state)

    patch.setattr(Shot, "advance", signalled)
    return passes


def test_films_are_those_of_generate_in_any_order(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards films against each other, by coded pictures; what is whole is left, and no model is loaded for it."""
    for folder, lines in (("a", LINES), ("b", LINES[::-1])):
        assert cli(*batch(tubelet_folder, folder, lines)).code == 0
    films = {path.name: packets(path) for path in (tmp_path / "a").iterdir()}
    assert len(films) == 3 and films == {path.name: packets(path) for path in (tmp_path / "b").iterdir()}
    alone = (
        "generate",
        "a blue bus",
        "--model",
        tubelet_folder,
        *OPTIONS,
        "--at",
        "1s",
        "a blue bus at night",
    )
    assert cli(*alone, "-o", "alone.mp4").code == 0
    assert packets(tmp_path / "alone.mp4") == films["three.mp4"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LongTake, "from_pretrained", None)
        again = cli(*batch(tubelet_folder, "a", LINES))
    assert again.code == 0 and again.out.endswith("\n3 whole\n")


def test_one_failure_does_not_stop_the_others(
    cli: Cli, tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the rest of a night's work, its summary and its exit code."""
    from longtake.takes import Take

    shoot = Take.shoot

    def failing(self: Take, *given: Any, **options: Any) -> Any:
        if self.film.seed == 7:
            raise NumberError("numbers of latent 3 are not finite")
        return shoot(self, *given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Take, "shoot", failing)
        result = cli(*batch(tubelet_folder, "films", LINES), "--json")
    report = json.loads(result.out)
    assert result.code == 1 and report["counts"] == {"filmed": 2, "failed": 1}
    assert result.err.endswith("error: line 2: numbers of latent 3 are not finite\n")
    assert [row["status"] for row in report["films"]] == ["filmed", "failed", "filmed"]
    again = cli(*batch(tubelet_folder, "films", LINES))
    assert again.code == 0 and again.out.endswith("\n2 whole, 1 filmed\n")


def test_a_batch_that_is_stopped_goes_on(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards that no pass is lost, and a command that can be copied."""
    arguments = batch(tubelet_folder, "films", LINES)
    assert cli(*batch(tubelet_folder, "whole", LINES)).code == 0
    with pytest.MonkeyPatch.context() as patch:
        passes = stopped_after(patch, 10)
        stopped = cli(*arguments)
    assert stopped.code == 130 and len(passes) == 10
    command = stopped.err.splitlines()[-1].removesuffix(" goes on").partition("; ")[2]
    assert shlex.split(command) == ["longtake", *arguments]
    gone_on = cli(*shlex.split(command)[1:])
    assert gone_on.code == 0 and "1 resumed" in gone_on.out
    for path in (tmp_path / "whole").iterdir():
        assert same_film(tmp_path / "films" / path.name, path)


def test_what_cannot_begin_is_a_line(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards a folder that another process writes, and lines that cannot be filmed: nothing is made."""
    wrong = cli(*batch(tubelet_folder, "films", [*LINES, {"prompt": "a car", "guidence_scale": 3}]))
    assert wrong.code == 2 and wrong.err.count("\n") == 1 and not (tmp_path / "films").exists()
    assert "films.jsonl, line 4: there is no option guidence_scale; did you mean guidance_scale?" in wrong.err
    with exclusive_folder(tmp_path / "films"):
        held = cli(*batch(tubelet_folder, "films", LINES))
    assert held.code == 2 and "is being written by process" in held.err


def test_a_line_that_lacks_its_clip_loads_no_model(
    cli: Cli, tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the time of a batch that has nothing to film; a clip that does not fit is told the key of its line."""
    with VideoWriter(tmp_path / "small.mp4", 16, 16, 8, {}) as writer:
        writer.write(np.zeros((60, 16, 16, 3), np.uint8))
    monkeypatch.setattr(LongTake, "from_pretrained", None)
    lines = [{"prompt": "a car", "start": f"{name}.mp4", "context_size": 2} for name in ("gone", "small")]
    result = cli(*batch(tubelet_folder, "films", lines))
    assert result.code == 1 and result.out.endswith("\n2 failed\n")
    assert "there is no such file" in result.err and ": give fit crop, pad or scale" in result.err


def test_clips_and_photos_to_begin_and_end_with(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards lines with files of their own, beside the lines' file: in any order the same pictures as `generate` makes;
    one that is missing fails its line alone, and the film goes on from where it stopped when it is there."""
    (tmp_path / "films").mkdir()
    grey = np.arange(0, 240, 4).astype(np.uint8)[:, None, None, None]
    with VideoWriter(tmp_path / "films" / "grey.mp4", 32, 32, 8, {}) as writer:
        writer.write(grey.repeat(32, 1).repeat(32, 2).repeat(3, 3))
    Image.new("RGB", (40, 64), "red").save(tmp_path / "red.png")
    lines: list[dict[str, Any]] = [
        {"prompt": "a red car", "name": "both", "start": "grey.mp4", "end": "../red.png", "context_size": 2},
        {"prompt": "a red car", "name": "gone", "start": "gone.mp4", "context_size": 2},
        {"prompt": "a red car", "end": "grey.mp4"},
        {"prompt": "a red car", "end": str(tmp_path / "red.png"), "fit": "pad"},
    ]
    for folder, order in (("films/a", lines), ("films/b", lines[::-1])):
        result = cli(*batch(tubelet_folder, folder, order))
        assert result.code == 1 and result.out.endswith("\n3 filmed, 1 failed\n")
        assert (
            "gone.mp4 to begin with, there is no such file" in result.err and "cropped to its" in result.err
        )
    films = {path.name: packets(path) for path in (tmp_path / "films" / "a").iterdir()}
    again = {path.name: packets(path) for path in (tmp_path / "films" / "b").iterdir()}
    assert len(films) == 3 and films == again
    given = ("--start", "films/grey.mp4", "--end", "red.png", "--context", "2")
    assert (
        cli("generate", "a red car", "--model", tubelet_folder, *OPTIONS, *given, "-o", "alone.mp4").code == 0
    )
    assert packets("alone.mp4") == films["both.mp4"]
    (tmp_path / "films" / "gone.mp4").write_bytes((tmp_path / "films" / "grey.mp4").read_bytes())
    Path("films/a/both.mp4").unlink()
    with pytest.MonkeyPatch.context() as patch:
        stopped = stopped_after(patch, 4)
        assert cli(*batch(tubelet_folder, "films/a", lines)).code == 130 and len(stopped) == 4
    whole = cli(*batch(tubelet_folder, "films/a", lines))
    assert whole.code == 0 and whole.out.endswith("\n2 whole, 1 resumed, 1 filmed\n")
    assert packets(tmp_path / "films" / "a" / "both.mp4") == films["both.mp4"]
    Image.new("RGB", (40, 64), "blue").save(tmp_path / "red.png")
    other = cli(*batch(tubelet_folder, "films/a", lines))
    assert other.code == 1 and other.out.endswith("\n2 whole, 2 failed\n") and "is another film" in other.err
