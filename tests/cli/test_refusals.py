"""A run that is refused has changed nothing: every command that owns a folder, and all that it can be refused for."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longtake.training.changes import FILM, LISTING
from longtake.training.data import MANIFEST, FileRecord, read_stored, record_path
from longtake.video import VideoWriter

pytestmark = pytest.mark.slow

OPEN_SORA = Path(__file__).parents[1] / "data" / "open_sora"
QUICK = ("--steps", "1", "--batch-size", "2", "--warmup", "0", "--sample-every", "0")

Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards equal results against a GPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def film(
    path: Path, caption: str | None = "a red car", frames: int = 48, shade: int = 0, size: int = 0
) -> None:
    """A video file of 48 × 32 with its caption beside it, of `size` bytes if that is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 48, 32, 24, {}, overwrite=True) as writer:
        rows = np.linspace(0, 150, 32).astype(np.uint8)[:, None, None]
        for i in range(frames):
            writer.write(np.broadcast_to(rows + np.uint8(i + shade), (1, 32, 48, 3)))
    if size:
        data = path.read_bytes()
        free = size - len(data)
        path.write_bytes(data + free.to_bytes(4, "big") + b"free" + bytes(free - 8))
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)


def tree(folder: Path) -> dict[str, object]:
    """What is below a folder, its files to the byte and the nanosecond. Folders may have held a lock."""
    return {
        str(path.relative_to(folder)): path.is_file() and (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
    }


def damaged(model: Path, folder: Path, part: str) -> Path:
    """A copy of a model whose weights of one part are cut off."""
    copy = Path(shutil.copytree(model, folder))
    (weights,) = (copy / part).glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    return copy


@pytest.fixture
def place(tmp_path: Path, tubelet_folder: Path) -> Path:
    """Where commands are given: films, prompts, models whole and damaged, folders of other things and of other runs."""
    for name in ("data/a.mp4", "data/b.mp4"):
        film(tmp_path / name, size=9000)
    film(tmp_path / "short" / "a.mp4", frames=4)
    film(tmp_path / "one.mp4", None)
    shutil.copytree(tubelet_folder, tmp_path / "model")
    for part in ("transformer", "vae"):
        damaged(tubelet_folder, tmp_path / f"no-{part}", part)
    (tmp_path / "prompts.txt").write_text("a red car\n")
    (tmp_path / "long.txt").write_text("a red car\n" + "a car " * 40)
    (tmp_path / "clips.txt").write_text("a red car||gone.mp4\n")
    for name, text in {
        "mine/notes.txt": "mine",
        "other/config.json": '{"model": "another", "evaluation": "another", "clips": 3}',
        "odd/config.json": "[]",
        "a-file": "text",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


MODEL = ("--model", "model")
PREPARE = ("prepare", "data", *MODEL)
TRAIN = ("train", "--data", "data", *MODEL, *QUICK)
DISTIL = ("distil", *TRAIN[1:])
EVALUATE = ("evaluate", "one.mp4")
COMPARE = ("compare", "--seconds", "2", "--seeds", "1", "--methods", "progressive")
REFUSED = [
    (*PREPARE, "-o", "mine"),
    (*PREPARE, "-o", "a-file"),
    (*PREPARE, "-o", "a-file/new"),
    (*PREPARE, "-o", "deep/new", "--device", "nowhere"),
    (*PREPARE, "-o", "deep/new", "--size", "33x33"),
    ("prepare", "mine", "-o", "deep/new"),
    ("prepare", "data", "-o", "deep/new", "--model", "none"),
    ("prepare", "data", "-o", "deep/new", "--model", "no-vae"),
    (*TRAIN, "-o", "other"),
    (*TRAIN, "-o", "odd"),
    (*TRAIN, "-o", "a-file"),
    (*TRAIN, "-o", "deep/new", "--accumulation", "3"),
    (*TRAIN, "-o", "deep/new", "--sample-prompts", "a car " * 40),
    (*TRAIN, "-o", "deep/new", "--context-size", "-1"),
    (*DISTIL, "-o", "other"),
    (*DISTIL, "-o", "deep/new", "--num-inference-steps", "3"),
    ("train", "--data", "data", "-o", "deep/new", "--model", "no-transformer"),
    ("train", "--data", "data", "-o", "deep/new", "--model", "no-vae"),
    ("train", "--data", "mine", "-o", "deep/new", *MODEL),
    ("train", "--data", "one.mp4", "-o", "deep/new", *MODEL),
    ("distil", "--data", "data", "-o", "deep/new", *MODEL, "--num-inference-steps", "3"),
    ("distil", "--data", "data", "-o", "other", *MODEL),
    (*EVALUATE, "-o", "mine"),
    (*EVALUATE, "-o", "other"),
    (*EVALUATE, "-o", "odd"),
    (*EVALUATE, "-o", "a-file"),
    (*EVALUATE, "-o", "deep/new", "--clips", "mine"),
    (*EVALUATE, "-o", "deep/new", "--clips", "a-file/clips"),
    (*EVALUATE, "-o", "deep/new", "--prompts", "long.txt"),
    (*EVALUATE, "-o", "deep/new", "--real", "mine"),
    ("evaluate", "short", "-o", "deep/new"),
    ("evaluate", "gone.mp4", "-o", "deep/new"),
    ("evaluate", "a-file", "-o", "deep/new", "--real", "data"),
    ("evaluate", "gone.mp4", "-o", "deep/new", "--world", "tracking-shot"),
    (*COMPARE, "--prompts", "prompts.txt", *MODEL, "-o", "other"),
    (*COMPARE, "--prompts", "prompts.txt", *MODEL, "-o", "odd"),
    (*COMPARE, "--prompts", "prompts.txt", *MODEL, "-o", "a-file"),
    (*COMPARE, "--prompts", "prompts.txt", *MODEL, "-o", "deep/new", "--device", "nowhere"),
    (*COMPARE, "--prompts", "prompts.txt", *MODEL, "-o", "deep/new", "--lora", "mine"),
    (
        *COMPARE,
        "--prompts",
        "prompts.txt",
        *MODEL,
        "-o",
        "deep/new",
        "--weights-dir",
        "mine",
        "--lora",
        "none",
    ),
    (*COMPARE, "--prompts", "prompts.txt", "--model", "no-transformer", "-o", "deep/new"),
    (*COMPARE, "--prompts", "long.txt", *MODEL, "-o", "deep/new"),
    (*COMPARE, "--world", "tracking-shot", *MODEL, "-o", "deep/new"),
    (*COMPARE, "--world", "flight", *MODEL, "-o", "deep/new"),
    ("train-default", "deep/new", "--edition", "huge"),
    ("compare", "--preset", "table1-open-sora", "--prompts", "clips.txt", *MODEL, "-o", "deep/new"),
    ("compare", "--report-only", "-o", "mine"),
    ("compare", "--report-only", "-o", "deep/new"),
    ("adherence", "deep/new", "--model", "no-transformer"),
    ("adherence", "other", *MODEL),
    ("train-default", "other"),
    ("train-default", "deep/new", "--device", "nowhere"),
    ("train-default", "deep/new", "--edition", "large"),
    ("convert", "open-sora", "none", "none", "-o", "deep/new"),
    ("convert", "open-sora", str(OPEN_SORA / "stdit3_tiny_state_dict.safetensors"), "none", "-o", "deep/new"),
    ("convert", "open-sora", "a-file", "a-file", "-o", "mine"),
    ("convert", "open-sora", "a-file", "a-file", "-o", "deep/new"),
    ("generate", "a red car", *MODEL, "--seconds", "1", "-o", "deep/a.mp4"),
    ("generate", "a red car", *MODEL, "--seconds", "1", "-o", "one.mp4"),
    ("generate", "a red car", "--model", "no-transformer", "--seconds", "1", "-o", "new.mp4"),
    ("generate", "a car " * 40, *MODEL, "--seconds", "1", "-o", "new.mp4"),
    ("world", "--sheet", "one.mp4"),
]


@pytest.mark.parametrize("command", REFUSED, ids=lambda command: " ".join(command)[:120])
def test_what_is_refused_has_changed_nothing(cli: Cli, place: Path, command: tuple[str, ...]) -> None:
    """Guards folders, of others and new ones, against half a run: one line, exit code 2, all as it was."""
    before = tree(place)
    result = cli(*command)
    errors = [line for line in result.err.splitlines() if not line.startswith("note: ")]
    assert result.code == 2 and len(errors) == 1 and errors[0].startswith("error: "), result
    assert tree(place) == before


def test_an_evaluation_keeps_its_numbers_until_there_are_others(cli: Cli, place: Path) -> None:
    """Guards numbers of earlier films against a call that measures none: real film and a classifier are none."""
    assert cli(*EVALUATE, "-o", "run").code == 0
    before = tree(place)
    for other in (("short",), ("gone.mp4",), ("a-file", "--real", "data")):
        assert cli("evaluate", *other, "-o", "run").code == 2
        assert tree(place) == before
    assert cli("evaluate", "data", "-o", "run").code == 0
    assert len(list((place / "run" / "films").glob("*.json"))) == 2


def test_a_report_of_something_else_is_refused(cli: Cli, place: Path) -> None:
    """Guards the run of `evaluate` against `compare --report-only`, which ended in a traceback with half a report."""
    assert cli(*EVALUATE, "-o", "run").code == 0
    before = tree(place)
    result = cli("compare", "--report-only", "-o", "run")
    assert (result.code, result.err) == (
        2,
        "error: run is not the folder of a comparison: give that of longtake compare\n",
    )
    assert tree(place) == before


def replaced(data: Path) -> None:
    film(data / "a.mp4", shade=30, size=9000)


def longer(data: Path) -> None:
    film(data / "a.mp4", size=9500)


def removed(data: Path) -> None:
    (data / "a.mp4").unlink()
    (data / "a.txt").unlink()


def added(data: Path) -> None:
    film(data / "c.mp4")


def recaptioned(data: Path) -> None:
    (data / "b.txt").write_text("a blue bus")


def uncaptioned(data: Path) -> None:
    (data / "b.txt").unlink()


def renamed(data: Path) -> None:
    for suffix in (".mp4", ".txt"):
        (data / f"b{suffix}").rename(data / f"c{suffix}")


def all_new(data: Path) -> None:
    for name in "ab":
        (data / f"{name}.mp4").unlink()
    for name in "cdef":
        film(data / f"{name}.mp4")


CHANGES: list[tuple[Callable[[Path], None], str]] = [
    (longer, "a.mp4 has another size"),
    (removed, "a.mp4 is gone"),
    (added, "c.mp4 is new"),
    (recaptioned, "b.mp4 has another caption"),
    (uncaptioned, "b.mp4 has no caption b.txt beside it"),
    (renamed, "b.mp4 is gone, c.mp4 is new"),
    (all_new, "a.mp4 is gone, b.mp4 is gone, c.mp4 is new, and 3 changes more"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=lambda case: getattr(case, "__name__", ""))
def test_film_that_has_changed_is_told_by_its_clips(
    cli: Cli, place: Path, change: Callable[[Path], None], words: str
) -> None:
    """Guards prepared film, and a run that learns from it, against other film: the clips are named, nothing is changed.
    So it is with film that was prepared before its sizes were noted, but for those."""
    prepared = (*PREPARE, "-o", "out")
    assert cli(*prepared).code == 0
    assert cli(*TRAIN, "-o", "run").code == 0
    change(place / "data")
    before = tree(place)
    result = cli(*prepared)
    told = f"error: out was prepared with another source ({words}): take another folder or delete it\n"
    assert (result.code, result.err) == (2, told)
    result = cli(*TRAIN, "-o", "run")
    told = f"data is not the film that run/data was prepared from: {words}; put back what was there, or take another"
    assert (result.code, result.err) == (2, f"error: {told} run\n")
    assert tree(place) == before
    (place / "out" / LISTING).unlink()
    less = "which is not known" if change is longer else words
    assert f"another source ({less}): take" in cli(*prepared).err


def test_a_clip_of_the_same_size_is_told_too(cli: Cli, place: Path) -> None:
    """Guards a run against a clip that was replaced by one of as many bytes, which prepare would have prepared anew
    into it; a clip that was only copied or touched is the same."""
    assert cli(*TRAIN, "-o", "run").code == 0
    os.utime(place / "data" / "a.mp4", ns=(1, 1))
    assert cli(*TRAIN, "-o", "run").err == "run is finished: all its 1 steps are taken\n"
    assert read_stored(record_path(place / "run" / "data", 0), FileRecord).modified == 1
    replaced(place / "data")
    before = tree(place)
    result = cli(*TRAIN, "-o", "run")
    assert result.code == 2 and "prepared from: a.mp4 has another content; put back" in result.err
    assert tree(place) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replaced, "a.mp4 has other pictures"),
        (removed, "a.mp4 is gone"),
        (added, "c.mp4 is new"),
        (recaptioned, "b.mp4 has another caption"),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_prepared_film_that_has_changed_is_told_by_its_clips(
    cli: Cli, place: Path, change: Callable[[Path], None], words: str
) -> None:
    """Guards a run whose film is prepared by itself: of another preparation the clips are named, not two hashes."""
    assert cli(*PREPARE, "-o", "out").code == 0
    train = ("train", "--data", "out", *MODEL, *QUICK, "-o", "run")
    assert cli(*train).code == 0
    assert (place / "run" / FILM).read_bytes() == (place / "out" / MANIFEST).read_bytes()
    result = cli(*TRAIN, "-o", "run")
    assert result.code == 2 and "run learns from film that was prepared elsewhere" in result.err
    change(place / "data")
    shutil.rmtree(place / "out")
    assert cli(*PREPARE, "-o", "out").code == 0
    before = tree(place)
    result = cli(*train)
    told = f"error: run learns from other film: {words}; give the film as it was, or another run\n"
    assert (result.code, result.err) == (2, told)
    assert tree(place) == before


def test_rows_in_another_order_are_another_source(cli: Cli, place: Path) -> None:
    """Guards the numbers by which prepared film is kept, and a message where no clip has changed."""
    table, rows = place / "data" / "metadata.csv", ["a.mp4,a red car", "b.mp4,a blue bus"]
    table.write_text("\n".join(["file_name,text", *rows]))
    assert cli(*PREPARE, "-o", "out").code == 0
    table.write_text("\n".join(["file_name,text", *rows[::-1]]))
    assert "another source (its clips come in another order): take" in cli(*PREPARE, "-o", "out").err


def test_film_prepared_by_an_older_version_still_opens(cli: Cli, place: Path) -> None:
    """Guards folders without a listing and records without hashes: they are gone on with, and trained on."""
    assert cli(*PREPARE, "-o", "out").code == 0
    (place / "out" / LISTING).unlink()
    for path in (place / "out" / "shards").glob("*.json"):
        record = json.loads(path.read_text())
        del record["sha256"]
        path.write_text(json.dumps(record))
    manifest = (place / "out" / MANIFEST).read_bytes()
    assert cli(*PREPARE, "-o", "out").code == 0
    assert (place / "out" / MANIFEST).read_bytes() == manifest and (place / "out" / LISTING).exists()
    assert cli("train", "--data", "out", *MODEL, *QUICK, "-o", "run").code == 0
