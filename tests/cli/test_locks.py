"""Two runs that write one output: the second is told who does, and changes nothing; a crash lets go."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from longtake.cli import compare as compare_command
from longtake.cli import train as train_command

Cli = Callable[..., Any]
HOLD = """
import sys, time
from pathlib import Path
from longtake.files import exclusive, exclusive_folder
with (exclusive if sys.argv[1].endswith(".png") else exclusive_folder)(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A folder that another process writes, and the process."""
    folder = tmp_path_factory.mktemp("held") / "run"
    with subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        yield folder, other
        other.kill()


COMMANDS = {
    "prepare": ("prepare", "film", "-o", "RUN", "--model", "MODEL"),
    "train": ("train", "--data", "film", "-o", "RUN", "--model", "MODEL", "--steps", "1"),
    "distil": ("distil", "--data", "film", "-o", "RUN", "--model", "MODEL", "--steps", "1"),
    "train-default": ("train-default", "RUN"),
    "compare": (
        "compare",
        "--methods",
        "fifo",
        "--prompts",
        "film/a.txt",
        "--seconds",
        "2",
        "-o",
        "RUN",
        "--model",
        "MODEL",
    ),
    "report": ("compare", "--report-only", "-o", "RUN"),
    "evaluate": ("evaluate", "film/a.mp4", "-o", "RUN"),
    "adherence": ("adherence", "RUN"),
    "convert": ("convert", "open-sora", "film", "film", "-o", "RUN"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_second_is_told_who_writes(
    cli: Cli, held: tuple[Path, subprocess.Popen[str]], captioned_film: Path, tubelet_folder: Path, name: str
) -> None:
    """Guards every folder that a command writes against a second one."""
    folder, other = held
    words = {"RUN": folder, "MODEL": tubelet_folder}
    result = cli(*(words.get(word, word) for word in COMMANDS[name]))
    assert result.code == 2 and result.err.count("\n") == 1, result.err
    assert f"error: {folder} is being written by process {other.pid} on " in result.err
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_a_lock_of_a_crash_is_no_content(
    cli: Cli, captioned_film: Path, tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards a run that goes on after a kill: what is left of its lock is neither held nor foreign, and goes."""
    for run, command in {
        "prepared": ("prepare", "film", "-o", "prepared", "--model", tubelet_folder),
        "measured": ("evaluate", "film", "-o", "measured"),
    }.items():
        (tmp_path / run).mkdir()
        (tmp_path / run / ".lock").write_text("process 1 on another-host")
        result = cli(*command)
        assert result.code == 0, result.err
        assert not (tmp_path / run / ".lock").exists()


@pytest.mark.parametrize("name", ["prepare", "train", "evaluate"])
def test_a_run_may_be_where_one_is(
    cli: Cli,
    captioned_film: Path,
    tubelet_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Guards folders without a name, such as the one that one is in; and what is refused against being changed."""
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    command = [
        {"RUN": ".", "MODEL": tubelet_folder}.get(word, word.replace("film", "../film"))
        for word in COMMANDS[name]
    ]
    Path("checkpoints").mkdir()
    result = cli(*command)
    assert result.code == 2 and "holds" in result.err and result.err.count("\n") == 1
    assert [path.name for path in (tmp_path / "inside").iterdir()] == ["checkpoints"]


def test_the_first_process_of_many_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the processes of one run against locking each other out."""
    assert train_command._first_process()
    monkeypatch.setenv("RANK", "1")
    assert not train_command._first_process()
    assert compare_command.exclusive_folder is train_command.exclusive_folder
