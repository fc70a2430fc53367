"""How a command is stopped: any of three signals, at any moment, and all its processes with it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from longtake.cli.signals import exit_code, gently, stops
from longtake.errors import LongTakeError
from longtake.runs import processes

Cli = Callable[..., Any]
STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
PROMPT = "a red car driving past snowy mountains at dawn"


@pytest.fixture(autouse=True)
def hangup_is_heard() -> Iterator[None]:
    """Under nohup, where SIGHUP is ignored from the start, tests are as elsewhere."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", STOPS)
def test_any_signal_is_ctrl_c(
    cli: Cli, tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Guards SIGTERM and a closed terminal: what Ctrl-C says and leaves, and an exit code that tells them apart."""
    monkeypatch.setattr("longtake.pipeline.load_model", lambda *_: signal.raise_signal(number))
    before = [signal.getsignal(each) for each in STOPS]
    result = cli("generate", PROMPT, "--model", tubelet_folder)
    assert (result.code, result.out, result.err) == (128 + number, "", "stopped: nothing was written\n")
    assert not list(tmp_path.iterdir())
    assert [signal.getsignal(each) for each in STOPS] == before


def test_a_signal_in_a_library_is_no_traceback(
    cli: Cli, tubelet_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against libraries that turn KeyboardInterrupt into an error of their own."""

    def load(*_: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise SystemError("initialization failed") from None

    monkeypatch.setattr("longtake.pipeline.load_model", load)
    assert cli("generate", PROMPT, "--model", tubelet_folder).code == 143


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "weights"), "error: weights: Permission denied\n"),
        (MemoryError(), "error: not enough memory (there is no more): a smaller size"),
        (
            torch.OutOfMemoryError("CUDA out of memory."),
            "error: not enough memory (CUDA out of memory.): a sm",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "error: not enough memory (DefaultCPUAll",
        ),
    ],
)
def test_what_disk_and_memory_refuse_is_one_line(
    cli: Cli, tubelet_folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    """Guards against tracebacks where something smaller, or another place, would cure it."""
    monkeypatch.setattr("longtake.pipeline.load_model", Mock(side_effect=error))
    result = cli("generate", PROMPT, "--model", tubelet_folder)
    assert result.code == 2 and result.err.startswith(words) and result.err.count("\n") == 1


def test_a_mistake_of_ours_stays_a_traceback(
    cli: Cli, tubelet_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards bug reports: nothing but what disk and memory refuse becomes a line."""
    for error in (OSError(22, "Invalid argument"), RuntimeError("shapes differ")):
        monkeypatch.setattr("longtake.pipeline.load_model", Mock(side_effect=error))
        with pytest.raises(type(error), match=str(error.args[-1])):
            cli("generate", PROMPT, "--model", tubelet_folder)


def test_a_signal_while_the_program_loads(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the seconds in which everything is imported."""

    class Interrupted:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "longtake.cli.app":
                signal.raise_signal(signal.SIGINT)

    monkeypatch.delitem(sys.modules, "longtake.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert cli("models") == (130, "", "")


def test_ignored_signals_stay_ignored() -> None:
    """Guards nohup, and what a shell starts in the background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stops():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_comes_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the end of a step against `timeout`, which sends to the process and then to its group."""
    now = 0.0
    monkeypatch.setattr("longtake.cli.signals.time.monotonic", lambda: now)
    told: list[str] = []
    with stops(), gently(lambda: told.append("once")):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert told == ["once"]
        now = 2.0
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        now = 2.1
        signal.raise_signal(signal.SIGTERM)
        assert exit_code() == 143


SECOND = """
import signal
from longtake.cli.signals import stops
with stops():
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.raise_signal(signal.SIGINT)
        print("still here")
"""


def test_a_second_ctrl_c_ends_at_once() -> None:
    """Guards a person against a clean-up that takes long."""
    done = subprocess.run([sys.executable, "-c", SECOND], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


POOL = """
import os, sys, time
from longtake.runs import processes
if __name__ == "__main__":
    with processes(sys.argv[1] if len(sys.argv) > 1 else None) as pool:
        jobs = [pool.submit(time.sleep, 60) for _ in range(2)]
        while len(pool._processes) < min(2, os.cpu_count()):
            time.sleep(0.01)
        print(*pool._processes, flush=True)
        while True:  # one long sleep is not woken by a signal that comes just before it
            time.sleep(0.01)
"""


def is_gone(process: int) -> bool:
    """Whether a process has ended, or is about to be forgotten by the system."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("method", [(), ("spawn",)])
def test_processes_end_with_their_parent(tmp_path: Path, method: tuple[str, ...], number: int) -> None:
    """Guards against films that go on being made by nobody, after a kill or an interruption."""
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    command = [sys.executable, str(script), *method]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(word) for word in parent.stdout.readline().split()]
        assert workers
        parent.send_signal(number)
        parent.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while not all(map(is_gone, workers)):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.01)


def test_a_process_that_is_killed_is_one_line() -> None:
    """Guards the end that the system makes of a process when memory runs out."""
    with pytest.raises(LongTakeError, match="one of its processes was killed"), processes() as pool:
        pool.submit(os.kill, pool.submit(os.getpid).result(), signal.SIGKILL)
        pool.submit(time.sleep, 60).result()
