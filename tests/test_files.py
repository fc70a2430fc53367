"""Locks of files that two processes may write."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from longtake import files
from longtake.errors import LongTakeWarning, OutputError
from longtake.files import beside, contents, exclusive, exclusive_folder, write_text

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


def test_a_folder_has_one_lock_by_all_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards runs named by links or as the folder that one is in, and against litter in folders that are refused."""
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    monkeypatch.chdir(tmp_path / "run")
    with exclusive_folder(Path(".")):
        assert contents(Path(".")) == [] and list(Path(".").iterdir()) == [Path(".lock")]
        for name in (tmp_path / "link", tmp_path / "run", Path("../run")):
            with pytest.raises(OutputError, match="is being written"), exclusive_folder(name):
                pass
    with pytest.raises(KeyError), exclusive_folder(tmp_path / "new" / "run"):
        assert (tmp_path / "new" / "run").is_dir()
        raise KeyError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "run"]
    with exclusive_folder(tmp_path / "new" / "run"):
        (tmp_path / "new" / "run" / "kept").touch()
    assert contents(tmp_path / "new" / "run") == [tmp_path / "new" / "run" / "kept"]
    with (
        pytest.raises(OutputError, match="cannot make the folder"),
        exclusive_folder(tmp_path / "new/run/kept"),
    ):
        pass


def test_a_file_that_is_no_lock_is_left_alone(tmp_path: Path) -> None:
    """Guards files that are called like a lock, and those that a link of that name leads to."""
    other = tmp_path / "a.mp4.lock"
    other.write_text("precious")
    with (
        pytest.raises(OutputError, match=r"cannot lock .*a file of another kind"),
        exclusive(tmp_path / "a.mp4"),
    ):
        pass
    (tmp_path / "b.mp4.lock").symlink_to(other)
    with pytest.raises(OutputError, match="cannot lock"), exclusive(tmp_path / "b.mp4"):
        pass
    assert other.read_text() == "precious"


def test_where_there_are_no_locks_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards file systems of clusters: a run is possible, and nobody is let believe that it is protected."""

    def unknown(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with pytest.warns(LongTakeWarning, match="cannot be locked there"), exclusive(tmp_path / "a.mp4"):
        assert list(tmp_path.iterdir()) == []


def test_a_failure_names_the_file_that_failed(tmp_path: Path) -> None:
    """Guards the line about a full disk, and one about another file that was read meanwhile."""
    with (
        pytest.raises(OutputError, match=r"cannot write .*a\.json: No space left"),
        beside(tmp_path / "a.json"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), beside(tmp_path / "a.json"):
        (tmp_path / "other").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_tensors_has_a_name_of_text(tmp_path: Path) -> None:
    """Guards runs against ending with a traceback once their tensors are read again."""
    name = tmp_path / b"caf\xe9".decode("utf-8", "surrogateescape")
    with pytest.raises(OutputError, match=r"caf\\xe9 is no name in UTF-8"), exclusive_folder(name):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a power cut that leaves a name without its bytes, or bytes without a name."""
    flushed: list[tuple[str, bool]] = []
    path = tmp_path / "a.txt"
    monkeypatch.setattr(files, "to_disk", lambda place: flushed.append((place.name, path.exists())))
    write_text(path, "x")
    assert flushed == [("a.txt.part", False), (tmp_path.name, True)]
