"""Films that are stopped and killed: what is said, what is left, and that they end as if nothing had been."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longtake.states import state_path
from longtake.video import part_path, probe, read_frames
from packets import same_film

pytestmark = pytest.mark.slow

Cli = Callable[..., Any]
OPTIONS = ("--size", "32x32", "--steps", "3", "--steps-per-chunk", "1", "--fps", "8", "--seconds", "12")
CUES = ("--at", "4s", "a blue bus", "--at", "0:08", "a red car at night")

KILLED = """
# Films in a child that is killed a moment behind a random call of a function, until one ends; prints how many were
# killed. Calls are counted, not seconds: no machine is so fast that it is done before.
import os, random, signal, sys, time
from itertools import count
from pathlib import Path
from longtake.models.load import read_spec
from longtake.options import FilmOptions
from longtake.pipeline import LongTake
from longtake.states import state_path
from longtake.takes import Take

folder, path, kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
model, dice = LongTake.from_pretrained(folder), random.Random(0)
model.weights  # read once
film = FilmOptions(prompt="a red car", num_frames=240, fps=8, width=32, height=32, num_inference_steps=3,
                   steps_per_chunk=1).resolved(model.model.spec)

def filmed(told, most, at_once):
    # Tell when `most` functions have been called, since the first pass or at once, and at the end how many were.
    calls = count(1)
    def profile(frame, event, argument):
        if event in ("call", "c_call") and next(calls) == most:
            os.write(told, b".")
    def stop():
        sys.setprofile(profile)
        return False
    if at_once:
        stop()
    take = Take.resumed(path, model.model.spec) if state_path(path).exists() else Take(film, path, overwrite=True)
    take.shoot(model, state_every=0.0, stop=stop)
    sys.setprofile(None)
    os.write(told, str(next(calls)).encode())

def in_child(most, at_once=False):
    heard, told = os.pipe()
    child = os.fork()
    if not child:
        filmed(told, most, at_once)
        os._exit(0)
    os.close(told)
    return child, os.fdopen(heard, "rb", buffering=0)

def ended(child):
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0

if kills:
    child, heard = in_child(0)
    total = int(heard.read())
    ended(child)
    path.unlink()
for killed in range(kills):
    at_once = killed % 4 == 3  # while it begins, or goes on
    child, heard = in_child(dice.randrange(1, 40_000 if at_once else total // 12), at_once)
    assert heard.read(1) == b".", "it ended before"
    time.sleep(dice.uniform(0, 0.004))
    os.kill(child, signal.SIGKILL)
    ended(child)
if not path.exists():
    child, heard = in_child(0)
    ended(child)
print(kills)
"""


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="children are forked, to spare loading a model twenty times"
)
def test_a_film_that_is_killed_twenty_times_is_the_same_file(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards states and parts at any moment, that of writing them too: the pictures of a film that was left alone."""
    for name, kills in (("whole.mp4", "0"), ("film.mp4", "20")):
        command = [sys.executable, "-c", KILLED, str(tubelet_folder), str(tmp_path / name), kills]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{kills}\n"
    assert same_film(tmp_path / "film.mp4", tmp_path / "whole.mp4")
    assert not state_path(tmp_path / "film.mp4").exists() and not part_path(tmp_path / "film.mp4").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_a_pass_and_says_how_to_go_on(
    cli: Cli, tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Guards that no work is lost, the exit code, and a command that can be copied."""
    from longtake.shot import Shot

    arguments = ("a red car", "--model", tubelet_folder, *OPTIONS, *CUES)
    assert cli("generate", *arguments, "-o", "whole.mp4").code == 0
    advance, passes = Shot.advance, []

    def signalled(self: Shot, state: Any) -> Any:
        passes.append(state)
        if len(passes) == 9:
            signal.raise_signal(number)
        return advance(self, state)

    with monkeypatch.context() as patch:
        patch.setattr(Shot, "advance", signalled)
        stopped = cli("generate", *arguments, "-o", "film.mp4")
    assert stopped.code == 128 + number and stopped.out == "" and len(passes) == 9
    assert stopped.err.startswith("stopped: ") and stopped.err.endswith(
        "; longtake resume film.mp4.part goes on\n"
    )
    assert probe(tmp_path / "film.mp4.part").num_frames
    gone_on = cli("resume", "film.mp4.part", "--json")
    assert gone_on.code == 0 and json.loads(gone_on.out)["num_frames"] == 96
    assert same_film(tmp_path / "film.mp4", tmp_path / "whole.mp4")


def test_what_cannot_be_resumed_is_a_line(cli: Cli, tmp_path: Path) -> None:
    """Guards names: of a film that is whole, of nothing, of a file of another kind."""
    (tmp_path / "film.mp4.state").write_bytes(b"no state")
    for name, message in (("gone.mp4", "there is no state"), ("film.mp4.part", "no state, or damaged")):
        result = cli("resume", name)
        assert result.code == 2 and message in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("prompt: a car\nsize: 3", (), "there is no option size"),
        ("prompt: a car", ("--at", "70s", "a bus"), "cue 1 holds from 70 s on, and the film ends at 12 s"),
        ("seed: 3", (), "give a prompt, or a --script that has one"),
        ("prompt: a car", ("--at", "soon", "a bus"), "at should be a valid number"),
    ],
)
def test_a_script_that_cannot_be_filmed_is_a_line(
    cli: Cli, tubelet_folder: Path, tmp_path: Path, script: str, arguments: tuple[str, ...], message: str
) -> None:
    """Guards what people mistype, before anything is loaded or written."""
    (tmp_path / "take.yaml").write_text(script)
    for command in (("generate", "-o", "film.mp4"), ("plan",)):
        result = cli(*command, "--script", "take.yaml", "--model", tubelet_folder, *OPTIONS, *arguments)
        assert result.code == 2 and message in result.err and result.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["take.yaml"]


def test_a_script_says_what_options_say(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards that options hold before a script, and that both ways are one film."""
    (tmp_path / "take.yaml").write_text(
        "prompt: a red car\nseed: 5\nseconds: 12\ncues:\n"
        "- {at: 4s, prompt: a blue bus}\n- {at: '0:08', prompt: a red car at night}\n"
    )
    cli(
        "generate",
        "a red car",
        "--model",
        tubelet_folder,
        *OPTIONS,
        *CUES,
        "--seed",
        "7",
        "-o",
        "options.mp4",
    )
    cli(
        "generate",
        "--script",
        "take.yaml",
        "--model",
        tubelet_folder,
        *OPTIONS,
        "--seed",
        "7",
        "-o",
        "script.mp4",
    )
    assert same_film(tmp_path / "options.mp4", tmp_path / "script.mp4")
    assert [cue["at"] for cue in probe(tmp_path / "script.mp4").metadata["cues"]] == [4, 8]


def test_films_grow_out_of_films(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards extend, branch, info and --like through the command line: equal pictures where that is promised."""
    arguments = ("a red car", "--model", tubelet_folder, *OPTIONS)
    assert cli("generate", *arguments, "-o", "film.mp4", "--keep-states", "2s").code == 0
    assert cli("generate", *arguments[:-1], "16", "-o", "whole.mp4").code == 0
    assert cli("extend", "film.mp4", "--seconds", "4", "-o", "longer.mp4").code == 0
    assert cli("branch", "film.mp4", "a blue bus", "--at", "0:05", "-o", "branch.mp4").code == 0
    again = cli("generate", "--like", "branch.mp4", "--model", tubelet_folder, "-o", "again.mp4", "--json")
    film, whole, longer, branch = (
        np.stack(list(read_frames(tmp_path / f"{name}.mp4")))
        for name in ("film", "whole", "longer", "branch")
    )
    assert np.array_equal(longer, whole) and len(longer) == 128
    assert np.array_equal(branch[:40], film[:40]) and not np.array_equal(branch, film)
    assert json.loads(again.out)["options"]["cues"] == [{"at": 5, "prompt": "a blue bus"}]
    told = json.loads(cli("info", "branch.mp4", "--json").out)
    assert (told["prompt"], told["parent"]["name"], told["num_frames"]) == ("a red car", "film.mp4", 96)
    assert "goes on from           film.mp4, sha256" in cli("info", "branch.mp4").out
    repeated = cli("generate", "--like", "film.mp4", "--model", tubelet_folder, "-o", "same.mp4")
    assert repeated.code == 0 and same_film(tmp_path / "same.mp4", tmp_path / "film.mp4")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("extend", "gone.mp4", "-o", "new.mp4"), "there is no film gone.mp4"),
        (("branch", "gone.mp4", "--at", "3s", "-o", "new.mp4"), "there is no film gone.mp4"),
        (("branch", "gone.mp4", "-o", "new.mp4"), "say where it branches off"),
        (("branch", "gone.mp4", "--at", "soon", "-o", "new.mp4"), "at should be a valid number"),
        (
            ("generate", "a car", "--keep-states", "often"),
            "a time is written as 20s, 1m20s or 1:20, not 'often'",
        ),
        (("generate", "a car", "--keep-states", "0"), "every so many seconds, more than 0, not '0'"),
        (("plan", "--keep-states", "-1"), "every so many seconds, more than 0, not '-1'"),
        (("info", "gone.mp4"), "gone.mp4"),
        (("generate", "--like", "clip.mp4"), "does not say how it was made"),
    ],
)
def test_what_cannot_grow_is_a_line(
    cli: Cli, captioned_film: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Guards what people mistype: one line, and nothing written."""
    (captioned_film / "a.mp4").rename(tmp_path / "clip.mp4")
    result = cli(*arguments)
    assert result.code == 2 and message in result.err and result.err.count("\n") == 1
    assert not (tmp_path / "new.mp4").exists()
