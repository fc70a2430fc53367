"""Locks of files that two processes may write."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from longtake.errors import OutputError
from longtake.files import exclusive

HOLD = """
import sys, time
from pathlib import Path
from longtake.files import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holding(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock of `path`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    """Guards films and runs that two processes write: the second is told who does."""
    path = tmp_path / "a.mp4"
    with holding(path) as other:
        with (
            pytest.raises(OutputError, match=f"a.mp4 is being written by process {other.pid} on "),
            exclusive(path),
        ):
            pass
        other.kill()
        other.wait()
    with exclusive(path):  # a crash lets go
        assert (tmp_path / "a.mp4.lock").read_text().startswith(f"process {os.getpid()} on ")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    """Guards names that are too long."""
    with (
        pytest.raises(OutputError, match=r"cannot lock .*File name too long"),
        exclusive(tmp_path / ("a" * 252)),
    ):
        pass
