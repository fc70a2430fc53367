"""`longtake doctor`: what it tells of a machine that films, and of one on which a part is broken."""

import getpass
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from longtake import __version__, doctor
from longtake.doctor import Check, examine, record
from longtake.errors import OutputError

pytestmark = pytest.mark.slow

Cli = Callable[..., Any]
ROOT = Path(__file__).parents[2]


def checked(name: str) -> dict[str, Check]:
    """What one of the checks finds."""
    return {check.name: check for check in doctor.CHECKS[name]()}


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Leaves one check of all."""

    def leave(name: str) -> None:
        monkeypatch.setattr(doctor, "CHECKS", {name: doctor.CHECKS[name]})

    return leave


def test_a_machine_that_films(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards the whole record: exit code 0, every part named, plain lines, and nothing private in it."""
    secret = "hf_abcdefghij"
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_MY_KEY"):
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("HF_ENDPOINT", f"https://me:{secret}@hub.example")
    monkeypatch.setenv("TORCH_HOME", f"https://me:{secret}@hub.example")
    monkeypatch.setenv("HF_HOME", str(Path.home() / "hub"))
    monkeypatch.setattr("platform.node", lambda: "babbage.example.org")
    monkeypatch.setattr(getpass, "getuser", lambda: "lovelace")
    monkeypatch.setenv("XDG_DATA_HOME", "/data/lovelace/babbage")
    result = cli("doctor", "--json")
    assert result.code == 0
    report = json.loads(result.out)
    assert report["longtake"] == __version__ and report["can_film"] is True
    checks = {check["name"]: check for check in report["checks"]}
    for name in (
        "longtake",
        "system",
        "processor",
        "memory",
        "packages",
        "torch",
        "codec",
        "models",
        "terminal",
    ):
        assert checks[name]["outcome"] in ("ok", "warning") and checks[name]["found"]
    assert checks["film on cpu"]["facts"]["shape"] == [2, 80, 128, 3]
    assert checks["film on cpu"]["facts"]["seconds"] > 0 and checks["film on cpu"]["facts"]["contrast"] > 20
    assert {"torch", "av", "diffusers", "skia-python"} <= checks["packages"]["facts"].keys()
    assert "libavcodec" in checks["codec"]["facts"]
    assert checks["environment"]["facts"]["HF_HOME"] == "~/hub"
    assert checks["environment"]["facts"]["XDG_DATA_HOME"] == "/data/USER/HOST"
    for private in (secret, "lovelace", "babbage", str(Path.home())):
        assert private not in result.out
    assert not list(tmp_path.iterdir())


def test_it_reads_well_in_a_paste(cli: Cli, only: Callable[[str], None]) -> None:
    """Guards the text form: a line a check, no signs but ASCII, and the verdict."""
    only("codec")
    result = cli("doctor")
    first, last = result.out.splitlines()
    assert result.code == 0 and result.err == "" and result.out.isascii()
    assert first.startswith("ok      codec                H.264 writes and reads; libavcodec ")
    assert last == "Films can be made here."


def test_a_terminal_gets_a_table(
    cli: Cli, only: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the form for terminals: colours, and lines that keep to the window."""
    only("system")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(doctor, "processor", lambda: ("Analytical Engine " * 5, []))
    shown = cli("doctor").out
    assert "\x1b[32mok" in shown and "Analytical" in shown


def test_what_films_can_do_without_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the exit code: without what LoRAs need, films can be made."""
    monkeypatch.setitem(sys.modules, "peft", None)
    (check,) = [check for check in doctor.CHECKS["packages"]() if check.outcome != "ok"]
    assert (
        check.outcome == "warning"
        and check.found.startswith("peft: ")
        and "pip install 'peft>=" in check.advice
    )


MISSING = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
from longtake.cli import main
main()
"""


def test_torch_that_cannot_be_imported_is_a_line(tmp_path: Path) -> None:
    """Guards the very case that doctor is for, in a process of its own: a package that is not there, or breaks when it
    is imported, is named with its cure, the other checks go on, and the exit code is 1."""
    command = [sys.executable, "-c", MISSING, "torch", "doctor", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=300)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    report = json.loads(result.stdout)
    failed = [check for check in report["checks"] if check["outcome"] == "failed"]
    assert report["can_film"] is False and {check["name"] for check in failed} == {
        "packages",
        "torch",
        "film",
    }
    assert failed[0]["found"].startswith("torch: ") and "pip install 'torch>=" in failed[0]["advice"]
    assert all(check["advice"] for check in failed)
    assert {"longtake", "system", "codec", "terminal"} <= {check["name"] for check in report["checks"]}


def test_av_that_cannot_be_imported_is_a_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the codec's check, and the verdict."""
    monkeypatch.setitem(sys.modules, "av", None)
    result = cli("doctor")
    failed = [line for line in result.out.splitlines() if line.startswith("failed")]
    assert result.code == 1 and [line.split()[1] for line in failed] == ["packages", "codec"]
    assert "av: " in failed[0] and "-> pip install 'av>=" in failed[0]


def test_a_check_that_breaks_is_a_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a traceback, whatever breaks, and against private names in its message."""

    def broken() -> Iterator[Check]:
        yield Check("first", "ok", "well")
        raise RuntimeError(f"CUDA error\nin {Path.home()}")

    monkeypatch.setattr(
        doctor, "CHECKS", {"second": broken, "third": lambda: iter([Check("third", "ok", "well")])}
    )
    assert [(check.name, check.outcome, check.found) for check in examine()] == [
        ("first", "ok", "well"),
        ("second", "failed", "RuntimeError: CUDA error"),
        ("third", "ok", "well"),
    ]
    result = cli("doctor")
    assert result.code == 1 and result.out.endswith("No films can be made here: mend what failed.\n")
    assert "failed  second               RuntimeError: CUDA error -> mend what failed above" in result.out


def test_a_damaged_model_is_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards weights that were cut off, and a folder that has gone."""
    from longtake.models import places

    folder = shutil.copytree(places.EMBEDDED, tmp_path / "tracking-shot")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    monkeypatch.setattr(places, "EMBEDDED", folder)
    check = checked("film")["film on cpu"]
    assert check.outcome == "failed" and check.found.startswith("ModelError: ") and check.advice
    shutil.rmtree(folder)
    assert checked("film")["film on cpu"].outcome == "failed"
    assert checked("models")["models"].outcome == "failed"


@pytest.mark.parametrize("level", [0, 128])
def test_pictures_that_show_nothing_are_a_line(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    """Guards numbers that are not finite, which are black once they are pictures, and weights that make grey ones."""
    monkeypatch.setattr(
        "longtake.pipeline.LongTake.generate", lambda *_, **__: np.full((2, 80, 128, 3), level, np.uint8)
    )
    check = checked("film")["film on cpu"]
    assert (check.outcome, check.found) == ("failed", "the embedded model's pictures show nothing")


def test_a_codec_that_is_broken_is_a_line(
    monkeypatch: pytest.MonkeyPatch, only: Callable[[str], None]
) -> None:
    """Guards an FFmpeg without H.264, and one whose pictures come back as others."""

    def refuses(*_: object) -> None:
        raise OutputError("cannot write film.mp4 any further: Encoder not found")

    only("codec")
    with monkeypatch.context() as patch:
        patch.setattr("longtake.video.VideoWriter.write", refuses)
        (check,) = examine()
        assert check.outcome == "failed" and "Encoder not found" in check.found and check.advice
    monkeypatch.setattr("longtake.video.read_frames", lambda path: [np.zeros((48, 64, 3), np.uint8)] * 2)
    (check,) = examine()
    assert check.outcome == "failed" and check.found.startswith("pictures come back changed")


def test_little_disk_and_memory_are_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards what may stop a film, but need not: told with what to do, and no failure."""
    free = shutil.disk_usage(".")._replace(free=5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    checks = checked("disk")
    assert {"disk this folder", "disk temporary files", "disk Hugging Face"} == checks.keys()
    assert all((c.outcome, c.advice) == ("warning", "make room") for c in checks.values())
    monkeypatch.setattr(doctor, "memory", lambda: (8 * 10**9, 2 * 10**8))
    memory = checked("system")["memory"]
    assert memory.outcome == "warning" and memory.found == "8.0 GB, 0.2 GB free" and memory.advice
    monkeypatch.setattr(doctor, "memory", lambda: (None, None))
    assert checked("system")["memory"].outcome == "ok"
    assert record([memory, *checks.values()])["can_film"] is True


def test_what_an_extra_lacks_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the extras: what is missing in which, and how it is installed."""
    versions = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "skia-python" else versions(name))
    check = checked("packages")["extra world"]
    assert (check.outcome, check.found) == ("warning", "lacks skia-python")
    assert "pip install 'longtake[world]'" in check.advice


def test_another_version_than_is_needed_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a package that is there, but too old."""
    versions = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0" if name == "numpy" else versions(name))
    found = [check for check in doctor.CHECKS["packages"]() if check.outcome == "warning"]
    assert [check.found for check in found] == ["numpy is 1.0, which longtake was not made for"]
    assert found[0].advice.startswith("pip install 'numpy>=")


def test_a_terminal_that_is_no_utf_8_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards output in ASCII, in which the ladder cannot be drawn."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    check = checked("terminal")["terminal"]
    assert check.outcome == "warning" and "output in ascii" in check.found and "PYTHONUTF8=1" in check.advice


def test_a_folder_that_has_gone(monkeypatch: pytest.MonkeyPatch, only: Callable[[str], None]) -> None:
    """Guards against the error of a current folder that was deleted."""
    only("disk")
    monkeypatch.setattr(os, "getcwd", lambda: (_ for _ in ()).throw(FileNotFoundError(2, "No such file")))
    (check,) = examine()
    assert check.outcome == "failed" and "No such file" in check.found


def test_it_is_quick(cli: Cli) -> None:
    """Guards the checks themselves, with all packages imported already, against what takes minutes."""
    started = time.process_time()
    assert cli("doctor").code == 0
    assert time.process_time() - started < 15


def test_the_issue_template_asks_for_it() -> None:
    """Guards the form for bug reports: it can be read, and asks for the record, the command and what was expected."""
    form = yaml.safe_load(
        (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug_report.yml").read_text(encoding="utf-8")
    )
    fields = {part["id"]: part for part in form["body"] if "id" in part}
    assert form["name"] and form["description"]
    assert "longtake doctor --json" in fields["doctor"]["attributes"]["label"]
    assert all(
        fields[name]["validations"]["required"] for name in ("command", "happened", "expected", "doctor")
    )
