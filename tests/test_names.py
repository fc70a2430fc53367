"""Names that people's systems write: compared, listed, printed; read from and written to by every command."""

import csv
import io
import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longtake.files import printable
from longtake.models.load import read_spec
from longtake.names import comparable, is_hidden, leads_out, walk
from longtake.prompts import slug
from longtake.start import origin
from longtake.training.data import PreparedFilm, hashes
from longtake.training.loss import Shares, draw_window
from longtake.training.prepare import prepare
from longtake.training.sources import find_clips
from longtake.video import VideoWriter, probe, read_frames

pytestmark = pytest.mark.slow

# Names of one file that are legal where we run. FFmpeg takes some for protocols, options or numbered pictures.
PROTOCOLS = ["a:b", "http:x", "file:x", "concat:a|b", "pipe:1", "crypto:x", "subfile,,start,0,,:x"]
ODD = [
    "%03d",
    "a%20b",
    "-",
    "-y",
    "--help",
    "a b ",
    "'\"`$(x)",
    "[a]{b}*?",
    "#1?x=2",
    "a\\b",
    "a\nb\tc",
    "\x1b[31mred",
    "\u202eleft",
    "👨\u200d👩\u200d👧 ☂",
    "e\u0301\u0302",
    "日本語",
    "\udcff\udcfe",
    "~",
    "CON",
    "a.mp4.part",
    "ü" * 119,
]

ANY = [*ODD, *PROTOCOLS]
MEASURED = ["'`\"$(x)", "a\nb", "-y", "a|b", "<b>&amp;", "\udcff", "\udcfe"]

Cli = Callable[..., Any]

names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda name: name not in {".", ".."} and len(name.encode()) < 200
)


def film(path: Path, pictures: np.ndarray) -> None:
    """A film of these pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, pictures.shape[2], pictures.shape[1], 24, {}) as writer:
        writer.write(pictures)


def tree(folder: Path) -> dict[str, object]:
    """What is below a folder, to the byte."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else path.is_dir()
        for path in sorted(folder.rglob("*"))
    }


def lay(folder: Path, *files: str) -> Path:
    """Empty files by their paths in a folder."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@given(names)
def test_one_name_in_many_spellings(name: str) -> None:
    """Guards what makes names the same: Unicode forms, the case of the suffix, separators; and nothing else."""
    same = comparable(f"a/{name}.Mp4")
    assert comparable(same) == same
    for form in ("NFC", "NFD"):
        assert comparable(unicodedata.normalize(form, f"a/{name}.mP4")) == same
    assert comparable(f".//a\\{name}.MP4") == same
    assert comparable(f"a/{name}x.mp4") != same and comparable(f"A/{name}.mp4") != same


@given(st.text(st.characters(codec=None)))
def test_any_name_can_be_printed_on_one_line(name: str) -> None:
    """Guards terminals and files: one line of text in UTF-8 without control characters, however odd the name."""
    shown = printable(name)
    assert "".join(shown.splitlines()) == shown == shown.encode().decode()
    assert not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in shown)


def test_ordinary_names_are_printed_as_they_are() -> None:
    """Guards emoji joined of several, other scripts and accents; bytes that are no text are told from one another."""
    for name in ("👨\u200d👩\u200d👧 ☂", "日本語", "e\u0301", "a\\b", "a b"):
        assert printable(name) == name
    assert printable("\udcff\udcfe\n") == r"\xff\xfe\n"


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        (".DS_Store", True),
        ("._a.mp4", True),
        ("a/.ipynb_checkpoints/b.mp4", True),
        ("__MACOSX/a/._b.mp4", True),
        ("@eaDir/a.mp4", True),
        ("../../a.mp4", False),
        ("./a.mp4", False),
        ("a..mp4", False),
    ],
)
def test_what_is_hidden(name: str, hidden: bool) -> None:
    """Guards litter of systems against being taken for film, and film against being taken for litter."""
    assert is_hidden(name) is hidden


@pytest.mark.parametrize("name", ["a:b.mp4", "http:x.mp4", "...", "a..b", "C:a.mp4", "a\\b.mp4"])
def test_what_lies_inside(name: str) -> None:
    """Guards legal names that hold a colon, dots or a backslash."""
    assert not leads_out(name)


def test_every_folder_is_read_once(tmp_path: Path) -> None:
    """Guards links: to files and folders they are followed, to a folder above, in a circle or to nothing they are
    passed over with the reason, and a folder with two links is read by its own name."""
    home = lay(tmp_path / "home", "z/own.mp4", "z/deep/own.mp4")
    far = lay(tmp_path / "far", "far.mp4", "inner/far.mp4")
    for name, target in {
        "a": home / "z",
        "b": far,
        "c": far,
        "file.mp4": far / "far.mp4",
        "gone.mp4": tmp_path / "nothing",
        "here": home,
        "one": home / "two",
        "two": home / "one",
        "up": tmp_path,
        "z/up": home,
    }.items():
        (home / name).symlink_to(target)
    (far / "back").symlink_to(home)
    os.mkfifo(home / "pipe.mp4")
    found = walk(home)
    assert found.files == [
        *("b/far.mp4", "b/inner/far.mp4", "file.mp4", "z/deep/own.mp4", "z/own.mp4"),
    ]
    assert dict(found.passed) == {
        "a": "is the same folder as z",
        "b/back": "is the same folder as .",
        "c": "is the same folder as b",
        "gone.mp4": "is a broken link",
        "here": "is the same folder as .",
        "one": "is a broken link",
        "pipe.mp4": "is a pipe, a socket or a device",
        "two": "is a broken link",
        "up": "is the same folder as a folder that it lies in",
        "z/up": "is the same folder as .",
    }


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """A grey ramp of 48 frames, 32 × 32."""
    ramp = np.arange(48, dtype=np.uint8)[:, None, None, None] * 4
    return np.broadcast_to(ramp, (48, 32, 32, 3)).copy()


@pytest.mark.parametrize("name", ANY)
def test_films_of_any_name_are_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: np.ndarray, name: str
) -> None:
    """Guards names that FFmpeg takes for something else, by paths that are as short as a person gives them."""
    monkeypatch.chdir(tmp_path)
    path = Path(f"{name}.mp4")
    with VideoWriter(path, 32, 32, 24, {"start": origin(path, pictures)}) as writer:
        writer.write(pictures[:3])
    assert os.listdir(b".") == [os.fsencode(path.name)]
    assert probe(path).num_frames == 3 and len(list(read_frames(path))) == 3
    assert probe(path).metadata["start"]["start"]["name"] == printable(path.name)


def test_odd_names_are_measured_and_reported(cli: Cli, tmp_path: Path, pictures: np.ndarray) -> None:
    """Guards `evaluate` of odd names: each is a film and a row of its own, in a report, in JSON that can be read, and
    among the clips for other tools."""
    with VideoWriter(tmp_path / "x.mp4", 32, 32, 24, {"start": {"name": "\udcff"}}) as writer:
        writer.write(pictures)
    data = (tmp_path / "x.mp4").read_bytes()
    (tmp_path / "odd").mkdir()
    for name in MEASURED:
        (tmp_path / "odd" / f"{name}.mp4").write_bytes(data)
    given = [f"odd/{name}.mp4" for name in MEASURED]
    result = cli("evaluate", *given, "-o", "run", "--json", "--clips", "clips")
    assert result.code == 0, result.err
    records = json.loads(result.out)
    assert {record["file"]: record["row"] for record in records} == {
        printable(path): printable(path.removeprefix("odd/")) for path in given
    }
    index = json.loads((tmp_path / "clips" / "films.json").read_text())
    assert [entry["file"] for entry in index] == [printable(path) for path in given]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "&#39;`&#34;$(x).mp4" in page and r"a\nb.mp4" in page and "&lt;b&gt;&amp;amp;.mp4" in page
    folder = cli("evaluate", "odd")
    assert folder.code == 0 and f"| odd | {len(MEASURED)} |" in folder.out


def test_a_folder_called_real_film_is_no_real_film(cli: Cli, tmp_path: Path, pictures: np.ndarray) -> None:
    """Guards the row of real film against a user's folder of that name; hidden files are said once, a pipe is not
    waited for, and names that look the same are told."""
    for name in (
        "real film/é.mp4",
        "real film/e\u0301.mp4",
        "truth/a.mp4",
        "real film/.a.mp4",
        "real film/._b.mp4",
    ):
        film(tmp_path / name, pictures)
    os.mkfifo(tmp_path / "real film" / "pipe.mp4")
    result = cli("evaluate", "real film", "--real", "truth")
    assert result.code == 0, result.err
    assert f"| {tmp_path.name}/real film | 2 |" in result.out and "| real film | 1 |" in result.out
    assert result.err.splitlines()[:3] == [
        "note: passed over in real film, not video files by their names: pipe.mp4",
        "note: passed over in real film, hidden: 2 files or folders",
        "note: real film holds e\u0301.mp4 and é.mp4, names that look the same: each is a film",
    ]
    assert cli("evaluate", "real film/pipe.mp4").err == (
        "error: real film/pipe.mp4 is a pipe, a socket or a device: give a file\n"
    )


files = (names | st.binary(min_size=1, max_size=60).map(os.fsdecode)).filter(
    lambda name: not {"/", "\0"} & {*name} and not name.startswith(".") and not is_hidden(name)
)


@settings(max_examples=5, deadline=None)
@given(st.lists(files, min_size=1, max_size=8, unique_by=lambda name: printable(comparable(name))))
def test_any_name_goes_from_source_to_batch(
    tmp_path_factory: pytest.TempPathFactory, tubelet_folder: Path, pictures: np.ndarray, drawn: list[str]
) -> None:
    """Guards the whole way of film that is trained on: found, prepared, prepared once only, drawn with its caption."""
    folder = tmp_path_factory.mktemp("way")
    film(folder / "x.mp4", pictures[:12])
    (folder / "data").mkdir()
    for number, name in enumerate(drawn):
        shutil.copyfile(folder / "x.mp4", folder / "data" / f"{name}.mP4")
        text = unicodedata.normalize("NFC", name) if max(name) < "\udc80" else name
        (folder / "data" / f"{text}.Txt").write_text(f"car {number}")
    said: list[str] = []
    for _ in range(2):
        prepare(folder / "data", folder / "out", tubelet_folder, width=32, height=32, say=said.append)
    assert said == []
    spec = read_spec(tubelet_folder)
    prepared = PreparedFilm(folder / "out", spec, hashes(tubelet_folder), spec.defaults)
    expected = {printable(f"{name}.mP4"): f"car {number}" for number, name in enumerate(drawn)}
    assert {clip.name: clip.caption for clip in prepared.clips} == expected
    window = draw_window(torch.Generator().manual_seed(0), spec.defaults, Shares())
    latents, told = prepared.batch(window, 4, torch.Generator().manual_seed(0), 0.0)
    assert latents.shape[:3] == (4, 4, window.num_latents) and told.states.isfinite().all()


@given(
    name=names.filter(lambda name: "\\" not in name and not is_hidden(name)),
    kind=st.sampled_from(["csv", "jsonl"]),
)
def test_any_name_goes_through_a_table(
    tmp_path_factory: pytest.TempPathFactory, name: str, kind: str
) -> None:
    """Guards tables of names in another Unicode form, with other separators and another suffix than on disk."""
    folder = tmp_path_factory.mktemp("table")
    lay(folder, f"sub/{name}.mp4")
    told = f".\\sub\\{unicodedata.normalize('NFD', name)}.MP4"
    if kind == "csv":
        text = io.StringIO()
        csv.writer(text).writerows([["file_name", "text"], [told, "a car"]])
        (folder / "metadata.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    else:
        (folder / "metadata.jsonl").write_text(json.dumps({"file_name": told, "text": "a car"}))
    ((clip,), skipped) = find_clips(folder)
    assert (clip.name, skipped) == (printable(f"sub/{name}.mp4"), [])


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A red car, past snowy mountains", "a-red-car-past-snowy-mountains"),
        ("Красная машина", "красная-машина"),
        ("हिन्दी फिल्म", "हिन्दी-फिल्म"),
        ("cafe\u0301 ❤️ 🚗", "café"),
        ("👨\u200d👩\u200d👧 ❤️", "film"),
        ("../..", "film"),
        ("一" * 200, "一" * 40),
        ("\U00020000" * 200, "\U00020000" * 30),
    ],
)
def test_films_are_named_after_prompts_of_any_script(prompt: str, name: str) -> None:
    """Guards the default name: the words of the prompt, and never more bytes than a file name has."""
    assert slug(prompt) == name


@given(st.text())
def test_any_prompt_makes_a_name(tmp_path_factory: pytest.TempPathFactory, prompt: str) -> None:
    """Guards the default name: one part of a path, with room for what is put behind it."""
    name = slug(prompt)
    assert name and Path(name).name == name and not name.startswith((".", "-")) and printable(name) == name
    assert len(f"{name}.mp4.part.lock".encode()) < 143  # some encrypted folders hold no longer ones


LONG = [
    "n" * 256,
    "ü" * 128,
    "/".join(["n" * 200] * 25),
    "n" * 251,
]  # 251: too long with what is put behind it


@pytest.mark.parametrize("name", LONG, ids=["256", "256 bytes", "path", "251"])
@pytest.mark.parametrize(
    "command",
    [
        ("generate", "a red car", "--frames", "4", "-o", "{}.mp4"),
        ("generate", "a red car", "--frames", "4", "--start", "{}"),
        ("generate", "a red car", "--frames", "4", "--model", "{}"),
        ("generate", "a red car", "--frames", "4", "--lora", "{}"),
        ("plan", "--model", "{}"),
        ("prepare", "{}", "-o", "out"),
        ("prepare", "data", "-o", "{}"),
        ("train", "--data", "{}", "-o", "out"),
        ("train", "--data", "data", "-o", "{}"),
        ("evaluate", "{}"),
        ("evaluate", "a.mp4", "-o", "{}"),
        ("evaluate", "a.mp4", "--real", "{}"),
        ("evaluate", "a.mp4", "--prompts", "{}"),
        ("evaluate", "a.mp4", "--clips", "{}"),
        ("evaluate", "a.mp4", "--weights-dir", "{}"),
        ("compare", "--prompts", "{}", "-o", "out"),
        ("compare", "--report-only", "-o", "{}"),
        ("world", "--sheet", "{}.png"),
        ("adherence", "{}", "--model", "{}"),
        ("train-default", "{}"),
        ("convert", "open-sora", "{}", "{}", "-o", "out"),
    ],
    ids=" ".join,
)
def test_names_that_are_too_long_are_one_line(
    cli: Cli, tmp_path: Path, pictures: np.ndarray, command: tuple[str, ...], name: str
) -> None:
    """Guards every command: one line, exit code 2, and nothing is there that was not."""
    film(tmp_path / "a.mp4", pictures)
    lay(tmp_path / "data", "a.mp4", "a.txt")
    (tmp_path / "data" / "a.txt").write_text("a red car")
    if len(name) == 251 and command[0] in ("prepare", "train", "train-default", "evaluate"):
        pytest.skip("a folder may have this name")
    before = tree(tmp_path)
    result = cli(*(word.replace("{}", name) for word in command))
    assert result.code == 2 and result.err.count("\n") == 1 and result.err.startswith("error: "), result.err
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "odd",
    [
        *("a:b", "-y", "a\nb", "%s {0} [x]", "日本 👩\u200d🚀"),
    ],
)
def test_folders_of_any_name_are_written_and_read(
    cli: Cli,
    tmp_path: Path,
    tubelet_folder: Path,
    pictures: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    odd: str,
) -> None:
    """Guards folders of film, prepared film, models, runs and numbers: each command takes the last one's."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    (tmp_path / odd).mkdir()
    shutil.copytree(tubelet_folder, tmp_path / odd / odd)
    film(tmp_path / odd / "film" / f"{odd}.mp4", pictures)
    (tmp_path / odd / "film" / f"{odd}.txt").write_text("a red car")
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_image", lambda *_, **__: None)
    model, at = ("--model", f"./{odd}/{odd}"), f"./{odd}"
    train = ("--data", f"{at}/out", "--steps", "1", "--batch-size", "2", "--warmup", "0")
    for command in [
        ("prepare", f"{at}/film", "-o", f"{at}/out", *model, "--size", "32x32"),
        ("train", *train, *model, "-o", f"{at}/{odd}.run"),
        (
            "generate",
            "a red car",
            "--model",
            f"{at}/{odd}.run/model",
            "--frames",
            "48",
            "-o",
            f"{at}/new.mp4",
        ),
        ("evaluate", f"{at}/new.mp4", "-o", f"{at}/{odd}.numbers", "--clips", f"{at}/{odd}.clips"),
    ]:
        result = cli(*command)
        assert result.code == 0, result
        assert printable(odd) in result.out + result.err or command[0] == "evaluate"


def test_folders_whose_names_are_no_text(
    cli: Cli, tmp_path: Path, tubelet_folder: Path, pictures: np.ndarray
) -> None:
    """Guards bytes that are not UTF-8: film may lie there, what holds tensors may not, and that is said at once."""
    odd, model = tmp_path / "\udcff", ("--model", tubelet_folder)
    film(odd / "\udcfe.mp4", pictures)
    (odd / "\udcfe.txt").write_text("a red car")
    assert cli("prepare", odd, "-o", "out", *model, "--size", "32x32").code == 0
    assert cli("evaluate", odd).code == 0
    shutil.copytree(tmp_path / "out", tmp_path / "\udcfe")
    before = tree(tmp_path)
    for command in [
        ("prepare", odd, "-o", odd / "new", *model),
        ("train", "--data", odd, "-o", odd / "new", *model),
        ("train", "--data", "out", "-o", odd / "new", *model),
        ("train", "--data", "\udcfe", "-o", "new", *model),
        ("evaluate", odd / "\udcfe.mp4", "-o", odd / "new"),
        ("compare", "--world", "tracking-shot", "-o", odd / "new"),
    ]:
        result = cli(*command)
        assert result.code == 2 and "is no name in UTF-8: " in result.err.splitlines()[-1]
        assert tree(tmp_path) == before
