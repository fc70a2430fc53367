"""The command line on tiny real models: in this process where that is the same thing, as a process where it
is not."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longtake import __version__
from longtake.provenance import followed
from longtake.video import part_path, probe, read_frames

pytestmark = pytest.mark.slow

PROMPT = "a red car driving past snowy mountains at dawn"
QUICK = ("--frames", "9", "--steps", "2", "--size", "32x32")


Cli = Callable[..., Any]


def copy(folder: Path, to: Path, **index: object) -> Path:
    """A copy of a model folder, with entries of its model_index.json replaced."""
    shutil.copytree(folder, to)
    path = to / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | index))
    return to


def test_generate_films_what_was_asked_for(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the whole way through: exact length, one closing line, no litter, and the options in the
    file."""
    result = cli(
        "generate", PROMPT, "--seconds", "1", "--seed", "7", "-o", "film.mp4", "--model", tubelet_folder
    )
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("film.mp4: 1 s, 24 frames, ") and result.out.count("\n") == 1
    assert "frames/s" in result.out and "peak memory" in result.out
    assert list(tmp_path.iterdir()) == [tmp_path / "film.mp4"]
    info = probe("film.mp4")
    assert (info.num_frames, info.fps, info.width, info.height, info.codec) == (24, 24, 48, 32, "h264")
    assert followed(info.metadata) == {
        "prompt": PROMPT,
        "negative_prompt": "",
        "seed": 7,
        "model": tubelet_folder.name,
        "method": "progressive",
        "num_frames": 24,
        **json.loads((tubelet_folder / "longtake.json").read_text()),
    }


def test_generate_takes_every_option(cli: Cli, wan_folder: Path) -> None:
    """Guards that each option reaches the film, and that --json prints nothing but JSON, on stdout."""
    result = cli(
        *("generate", PROMPT, "--frames", "10", "--seed", "3", "--model", wan_folder, "--device", "cpu"),
        *(
            "--dtype",
            "float32",
            "--method",
            "full-window",
            "--steps",
            "3",
            "--steps-per-chunk",
            "2",
            "--chunk-size",
            "2",
            "--context",
            "2",
        ),
        *(
            "--guidance",
            "3",
            "--negative",
            "a blue bus",
            "--size",
            "48x32",
            "--fps",
            "23.976",
            "--shift",
            "2",
        ),
        *("--overwrite", "--json"),
    )
    assert (result.code, result.err) == (0, "")
    report = json.loads(result.out)
    assert report["file"] == "a-red-car-driving-past-snowy-mountains-at-dawn.mp4"
    assert report["num_frames"] == 10 and report["seconds"] == pytest.approx(10 * 1001 / 24000)
    assert report["frames_per_second"] > 0 and report["peak_memory_bytes"] > 1e8
    assert report["seconds_to_first_frame"] > 0
    told = probe(report["file"]).metadata
    assert report["options"] == followed(told) and report["made"] == told["made"]
    assert report["options"] == {
        "prompt": PROMPT,
        "negative_prompt": "a blue bus",
        "seed": 3,
        "model": wan_folder.name,
        "method": "full-window",
        "num_frames": 10,
        "width": 48,
        "height": 32,
        "fps": 23.976,
        "num_inference_steps": 3,
        "steps_per_chunk": 2,
        "chunk_size": 2,
        "context_size": 2,
        "shift": 2.0,
        "guidance_scale": 3.0,
    }


def test_words_the_model_cannot_tell_apart_are_named(cli: Cli, tubelet_folder: Path) -> None:
    """Guards against a prompt that is silently half read."""
    result = cli("generate", "a red giraffe", *QUICK, "--model", tubelet_folder, "-o", "film.mp4")
    assert result.code == 0 and "giraffe" in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([""], "prompt is empty"),
        (["car " * 13], "13 tokens long"),
        ([PROMPT, "--seconds", "0"], "seconds must be a positive number"),
        ([PROMPT, "--seconds", "-2"], "seconds must be a positive number"),
        ([PROMPT, "--seconds", "nan"], "seconds must be a positive number"),
        ([PROMPT, "--seconds", "1", "--frames", "24"], "not both"),
        ([PROMPT, "--seconds", "0.001"], "less than half a frame"),
        ([PROMPT, "--seconds", "long"], "'--seconds'"),
        ([PROMPT, "--size", "50x32"], "width 50 does not fit"),
        ([PROMPT, "--size", "48"], "two numbers of pixels"),
        ([PROMPT, "--steps", "4", "--steps-per-chunk", "5"], "steps_per_chunk must lie in 1 to"),
        ([PROMPT, "--device", "tpu"], "tpu"),
        ([PROMPT, "--dtype", "int8"], "int8"),
        ([PROMPT, "--lenght", "8"], "--lenght"),
        ([], "prompt"),
        ([PROMPT, "-o", "old.mp4"], "old.mp4 exists"),
        ([PROMPT, "-o", "half.mp4"], "half.mp4.part exists"),
        ([PROMPT, "-o", "folder.mp4"], "is a folder"),
        ([PROMPT, "-o", "missing/film.mp4"], "does not exist"),
        ([PROMPT, "-o", "film.avi"], "must end in .mp4"),
        ([PROMPT, "-o", "/proc/film.mp4"], "/proc/film.mp4"),
        ([PROMPT, "--model", "missing-folder"], "no model folder missing-folder"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    cli: Cli, tubelet_folder: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    """Guards exit code 2, one line on stderr that says what is wrong, and an untouched folder."""
    (tmp_path / "old.mp4").write_bytes(b"kept")
    (tmp_path / "half.mp4.part").write_bytes(b"kept")
    (tmp_path / "folder.mp4").mkdir()
    before = sorted(tmp_path.rglob("*"))
    if "--model" not in arguments:
        arguments = [*arguments, "--model", str(tubelet_folder)]
    result = cli("generate", *arguments)
    assert result.code == 2
    assert result.err.startswith("error: ") and result.err.count("\n") == 1 and words in result.err
    assert result.out == ""
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "old.mp4").read_bytes() == (tmp_path / "half.mp4.part").read_bytes() == b"kept"


def test_bad_model_folders_are_one_line_and_nothing_is_written(
    cli: Cli, tubelet_folder: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """Guards folders that are incomplete, of a one-timestep network, or that ask for remote code."""
    folders = tmp_path_factory.mktemp("bad")
    incomplete = copy(tubelet_folder, folders / "incomplete")
    next((incomplete / "transformer").glob("*.safetensors")).unlink()
    one = copy(tubelet_folder, folders / "one", transformer=["diffusers", "MochiTransformer3DModel"])
    code = copy(tubelet_folder, folders / "code", transformer=["transformer_mine", "MyTransformer"])
    for folder, words in [
        (incomplete, "is incomplete: transformer/"),
        (one, "one timestep for the whole clip"),
        (code, "asks for code of its own"),
        (folders, "model_index.json is missing"),
    ]:
        result = cli("generate", PROMPT, "--model", folder)
        assert result.code == 2 and words in result.err and result.err.count("\n") == 1
        assert not list(tmp_path.iterdir())


def test_too_little_disk_is_refused_before_the_model_is_loaded(
    cli: Cli, tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the disk check against what is free, and its place before the slow part."""
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    monkeypatch.setattr("longtake.pipeline.LongTake.from_pretrained", None)
    result = cli("generate", PROMPT, "--model", tubelet_folder)
    assert result.code == 2 and "too little disk" in result.err and not list(tmp_path.iterdir())


def test_overwrite_replaces_the_film(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards --overwrite."""
    (tmp_path / "film.mp4").write_bytes(b"old")
    result = cli("generate", PROMPT, *QUICK, "--model", tubelet_folder, "-o", "film.mp4", "--overwrite")
    assert result.code == 0 and probe("film.mp4").num_frames == 9


def test_the_file_is_named_after_the_prompt(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards names: words of any script, no path separators, a bound, and something when no word is left."""
    for prompt, name in [
        ("../A Red/Car!", "a-red-car.mp4"),
        ("赤い 車", "赤い-車.mp4"),
        ("☂ ☂", "film.mp4"),
        ("a " * 11 + "car" * 30, "a-" * 11 + "car" * 12 + "ca.mp4"),
    ]:
        result = cli("generate", prompt, *QUICK, "--model", tubelet_folder)
        assert (result.code, [path.name for path in tmp_path.iterdir()]) == (0, [name])
        (tmp_path / name).unlink()


def test_plan_reads_no_weights(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards planning on a folder that holds JSON alone, and its numbers."""
    folder = copy(tubelet_folder, tmp_path / "model")
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    result = cli("plan", "--model", folder, "--seconds", "2", "--json")
    assert (result.code, result.err) == (0, "")
    report = json.loads(result.out)
    assert report["plan"]["length"]["num_frames"] == 48
    assert report["plan"]["passes"] == (12 - 1) * 2 + 4
    assert report["plan"]["passes_until_first_chunk"] == 4
    assert report["settings"]["shift"] == 3.0
    assert report["sigmas"][0] == 1 and report["sigmas"][-1] == 0 and len(report["sigmas"]) == 5


def test_plan_draws_the_ladder(cli: Cli, tubelet_folder: Path) -> None:
    """Guards the text form: what it costs, and one bar for the context and for each chunk of the window."""
    result = cli("plan", "--model", tubelet_folder, "--seconds", "2")
    assert (result.code, result.err) == (0, "")
    for words in ("48 frames", "26, of two rows", "at most 3 latents, 1 of them context", "4 after 4 passes"):
        assert words in result.out
    assert len(result.out.split("\n\n")[1].splitlines()) == 3


def test_plan_draws_cues(cli: Cli, tubelet_folder: Path) -> None:
    """Guards the timeline below the ladder, and the same as JSON."""
    arguments = ("plan", "--model", tubelet_folder, "--seconds", "2", "--at", "1s", "a blue bus")
    result = cli(*arguments)
    bar, line = result.out.split("\n\n")[2].splitlines()
    assert bar == f"0 s  {'█' * 30}1{'█' * 29}  2 s"
    assert line == '  1  from 1 s, latent 6: enters as noise at pass 13, clean after pass 16; "a blue bus"'
    (cue,) = json.loads(cli(*arguments, "--json").out)["cues"]
    assert (cue["at"], cue["latent"], cue["first_pass"], cue["last_pass"]) == (1, 6, 13, 16)


def test_plan_by_another_method(cli: Cli, tubelet_folder: Path) -> None:
    """Guards that the plan is that of the method: here clips of two latents behind one, at one level."""
    result = cli("plan", "--model", tubelet_folder, "--seconds", "2", "--method", "replacement")
    assert (result.code, result.err) == (0, "")
    for words in (
        "replacement",
        "steps         4, 4 for each chunk of 2",
        "24, of two rows",
        "68 latent-frame evaluations",
        "8 after 4",
    ):
        assert words in result.out
    assert len(result.out.split("\n\n")[1].splitlines()) == 2


def test_models_lists_the_embedded_one_first(cli: Cli) -> None:
    """Guards `longtake models`."""
    result = cli("models")
    assert result.code == 0 and "\n  tracking-shot\n" in result.out[:80] and "Wan-AI/" in result.out


def test_world_draws_a_contact_sheet(cli: Cli, tmp_path: Path) -> None:
    """Guards `longtake world`, and that it does not overwrite unasked."""
    pytest.importorskip("skia")
    assert cli("world", "--sheet", "sheet.png").code == 0
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    again = cli("world", "--sheet", "sheet.png")
    assert again.code == 2 and "sheet.png exists" in again.err
    assert cli("world", "--sheet", "sheet.gif").code == 2
    assert cli("world", "tracking-shot", "--sheet", "same.png").code == 0
    assert (tmp_path / "same.png").read_bytes() == (tmp_path / "sheet.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "prompt"),
    [("flight", "a drone flight over snowy mountains at dawn"), ("tracking-shot", PROMPT)],
)
def test_world_draws_films(cli: Cli, name: str, prompt: str) -> None:
    """Guards films of what a prompt tells of, at any size, and of what chance draws, with their captions."""
    pytest.importorskip("skia")
    size = ("--width", "64", "--height", "32")
    result = cli("world", name, prompt, "--film", "one.mp4", "--seconds", "1", *size)
    assert (result.code, result.err) == (0, "")
    assert result.out == f"one.mp4: 1 s, 24 frames\n   0.00 s  {prompt}\n"
    info = probe("one.mp4")
    assert (info.num_frames, info.fps, info.width, info.height) == (24, 24, 64, 32)
    assert info.metadata["prompt"] == prompt
    other = cli("world", name, "--film", "two.mp4", "--seconds", "0.5", "--seed", "3", *size)
    assert other.code == 0 and probe("two.mp4").metadata["prompt"] in other.out
    assert cli("world", name, "--film", "two.mp4").code == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["flight"], "give either --sheet PNG or --film MP4"),
        (["flight", "over hills", "--sheet", "sheet.png"], "a prompt goes with --film"),
        (["flight", "over green hills", "--film", "film.mp4"], "a flight has one time"),
        (["flight", "--film", "film.mp4", "--width", "65", "--seconds", "1"], "even sides, not 65x80"),
        (["moon", "--film", "film.mp4"], "'moon' is not one of"),
    ],
)
def test_worlds_that_cannot_be_drawn(cli: Cli, tmp_path: Path, arguments: list[str], problem: str) -> None:
    """Guards one line for what is wrong, and that nothing is written then."""
    result = cli("world", *arguments)
    assert result.code == 2 and problem in result.err and result.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_version(cli: Cli) -> None:
    """Guards `longtake --version`."""
    assert cli("--version") == (0, f"longtake {__version__}\n", "")


def test_no_arguments_are_a_cry_for_help(cli: Cli) -> None:
    """Guards the bare command: the help, not an error."""
    result = cli()
    assert "generate" in result.out + result.err and "Traceback" not in result.err


HELP = """
import sys
from longtake.cli import main
try:
    main()
except SystemExit as exit_:
    print(exit_.code, sorted({"torch", "diffusers", "transformers", "av", "numpy"} & sys.modules.keys()))
"""


def test_help_is_quick() -> None:
    """Guards `longtake --help` against importing torch and its like, which cost seconds."""
    command = [sys.executable, "-c", HELP, "--help"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.endswith("0 []\n") and "generate" in output


def interrupt_when_longer(path: Path, size: int) -> None:
    """Sends this process a SIGINT, as Ctrl-C does, once a file has grown."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and path.stat().st_size > size:
            os.kill(os.getpid(), signal.SIGINT)
            return
        time.sleep(0.01)


def test_ctrl_c_leaves_a_playable_film_and_says_where(cli: Cli, tubelet_folder: Path) -> None:
    """Guards Ctrl-C while filming: exit 130, one line, the frames it speaks of in the part, and no target."""
    part = part_path("film.mp4")
    finger = threading.Thread(target=interrupt_when_longer, args=(part, 4_000))
    finger.start()
    result = cli("generate", PROMPT, "--seconds", "6000", "--model", tubelet_folder, "-o", "film.mp4")
    finger.join()
    assert (result.code, result.out, result.err.count("\n")) == (130, "", 1)
    num_frames = sum(1 for _ in read_frames(part))
    assert num_frames > 0
    assert re.fullmatch(
        rf"stopped: (\d+) frames \(.* s\) are in {part}; longtake resume {part} goes on\n", result.err
    )
    assert int(result.err.split()[1]) in (num_frames, num_frames - 1)
    assert not Path("film.mp4").exists()


def test_ctrl_c_while_the_model_loads_leaves_nothing(
    cli: Cli, tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards Ctrl-C before the first frame."""
    monkeypatch.setattr("longtake.pipeline.load_model", lambda *_: signal.raise_signal(signal.SIGINT))
    result = cli("generate", PROMPT, "--model", tubelet_folder)
    assert (result.code, result.err) == (130, "stopped: nothing was written\n")
    assert not list(tmp_path.iterdir())
