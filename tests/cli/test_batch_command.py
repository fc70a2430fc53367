"""The command that films many prompts: in any order to the same files, past failures, and on from where it stopped."""

import json
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longtake.errors import NumberError
from longtake.files import exclusive_folder
from longtake.pipeline import LongTake
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
    from longtake.shot import Shot

    arguments = batch(tubelet_folder, "films", LINES)
    assert cli(*batch(tubelet_folder, "whole", LINES)).code == 0
    advance, passes = Shot.advance, []

    def signalled(self: Shot, state: Any) -> Any:
        passes.append(state)
        if len(passes) == 10:
            signal.raise_signal(signal.SIGINT)
        return advance(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shot, "advance", signalled)
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
