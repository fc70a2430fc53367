"""Measuring video files from the command line: what people have, and what they get wrong."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import save_model
from torch import nn

from longtake.evaluation.world import JUDGE
from longtake.video import VideoWriter, probe
from longtake.worlds.classifier import AttributeClassifier
from longtake.worlds.tracking_shot.judge import JUDGED, TRACKING_SHOT
from longtake.worlds.tracking_shot.shot import ATTRIBUTES, Shot

pytestmark = pytest.mark.slow

NTSC = Fraction(24000, 1001)
SHOT = Shot("car", "red", "hills", "noon", "clear", "fast")

WORLD = ("--world", "tracking-shot")

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(cli: Cli) -> Cli:
    """Runs `longtake evaluate`."""
    return partial(cli, "evaluate")


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """Two and a half seconds of a tracking shot, 64 × 40."""
    return SHOT.render(0, 60, 64, 40)


def write(path: Path, pictures: NDArray[np.uint8], codec: str = "ffv1", rate: Fraction | int = 24) -> Path:
    """A video file as other programs make them."""
    path.parent.mkdir(exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def sound(path: Path) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_films_of_any_kind(cli: Cli, pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """Guards names, codecs, sizes and rates as they come: 23.976 is kept exact, two films of one name are told apart,
    what longtake wrote into its own is used."""
    odd = write(tmp_path / "a film_ü – 1.mkv", pictures, rate=NTSC)
    write(tmp_path / "a" / "x.webm", pictures[:, ::2, ::2], "libvpx", 25)
    with VideoWriter(tmp_path / "x.webm.mp4", 64, 40, NTSC, {"prompt": "a red car", "seed": 3}) as writer:
        writer.write(pictures)
    (tmp_path / "b").mkdir()
    (tmp_path / "x.webm.mp4").rename(tmp_path / "b" / "x.webm")
    code, out, err = cli(odd, "a/x.webm", "b/x.webm", "-o", "run", "--json")
    assert code == 0 and [line.split(": ")[-1] for line in err.splitlines()] == [
        f"its last {frames} frames, fewer than a slice, are in no curve" for frames in (13, 10, 13)
    ]
    first, second, third = json.loads(out)
    assert [film["row"] for film in (first, second, third)] == ["a film_ü – 1.mkv", "a/x.webm", "b/x.webm"]
    assert [film["fps"] for film in (first, second, third)] == ["24000/1001", "25", "24000/1001"]
    assert (first["num_frames"], first["frames_left_over"], first["codec"]) == (60, 13, "ffv1")
    assert set(first) == {
        *("row", "group", "seed", "file", "sha256", "codec", "size", "options", "notes", "made"),
        *("num_frames", "frames_left_over", "fps", "times", "curves", "totals", "about"),
    }
    assert first["sha256"] == hashlib.sha256(odd.read_bytes()).hexdigest()
    assert second["size"] == [32, 20] and (third["group"], third["seed"]) == ("a red car", 3)
    assert len(first["curves"]["luma"]) == 1 and 0 < first["totals"]["luma"] < 1
    assert len(list((tmp_path / "run" / "films").glob("*.json"))) == 3
    page = (tmp_path / "run" / "report.html").read_text()
    assert "a film_ü – 1.mkv" in page and "give --real" in page


def test_time_and_shape_are_those_that_are_shown(
    cli: Cli, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Guards film of varying rate, turned, of wide pixels and beginning at an hour: its seconds, its size and its clips
    are what a player shows, and what was chosen is told."""
    path = tmp_path / "phone.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = 40, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        stream.set_display_rotation(90)
        kept = [k for k in range(60) if k % 4 or k > 50]
        for number in kept:
            frame = av.VideoFrame.from_ndarray(pictures[number], "rgb24")
            frame.time_base, frame.pts = Fraction(1, 1000), 3_600_000 + round(number * 1000 / 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    code, out, err = cli(path, "--clips", "clips", "--json")
    assert code == 0, err
    (film,) = json.loads(out)
    assert (film["size"], film["fps"], film["num_frames"]) == ([40, 128], "24", 59)
    assert film["notes"][0] == "its pictures come at varying times, it is seen 24 times a second"
    assert f"{path.name}: {film['notes'][0]}" in err
    (clip,) = (tmp_path / "clips").rglob("*.mp4")
    info = probe(clip)
    assert (info.width, info.height, info.num_frames, info.fps) == (40, 128, 48, 24)


def test_hdr_is_told_of(cli: Cli, pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """Guards a measurement of HDR as it is coded: its name, and what makes a film of it that can be measured."""
    with av.open(tmp_path / "hdr.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = 40, 64, "yuv420p10le"
        stream.codec_context.color_trc = 16
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    code, _, err = cli("hdr.mp4")
    assert (
        code == 2
        and "error: hdr.mp4: is HDR (PQ): ffmpeg -i FILE -vf zscale=" in err
        and err.count("\n") == 1
    )


def test_bad_files_among_good_ones(cli: Cli, pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """Guards against silent skips: each bad file is told of in a line, what is whole is measured, the exit is no 0."""
    write(tmp_path / "good.mkv", pictures)
    whole = write(tmp_path / "whole.mkv", np.concatenate([pictures] * 2)).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    write(tmp_path / "short.mkv", pictures[:40])
    mp4 = write(tmp_path / "film.mp4", pictures, "libx264").read_bytes()
    (tmp_path / "half.mp4").write_bytes(mp4[: len(mp4) // 2])
    (tmp_path / "text.mp4").write_text("no film\n")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:9.0,\ngood.mkv\n#EXT-X-ENDLIST\n")
    sound(tmp_path / "sound.mp4")
    bad = ["short.mkv", "half.mp4", "text.mp4", "list.mp4", "sound.mp4", "gone.mp4"]
    code, out, err = cli("good.mkv", "cut.mkv", *bad)
    assert code == 2 and "| good.mkv | 1 |" in out and "| cut.mkv | 1 |" in out
    notes, errors = (
        [line for line in err.splitlines() if line.startswith(kind)] for kind in ("note", "error")
    )
    (cut,) = (note for note in notes if "measured up to there" in note)
    assert "cut.mkv: cut off after 3." in cut and "of 5.00 seconds" in cut
    assert len(notes) + len(errors) == len(err.splitlines())
    for name, line in zip(bad, errors, strict=True):
        assert name in line
    assert "40 frames at 24 a second are fewer than a slice of 2 seconds" in errors[0]
    assert "holds no video" in errors[4]
    assert cli("text.mp4")[0] == 2
    write(tmp_path / "slow.mkv", pictures[:5], rate=Fraction(1, 2))
    assert "slow.mkv: its 0.5 frames a second are too few to measure: at least 1" in cli("slow.mkv")[2]


def test_sets_have_intervals(cli: Cli, pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """Guards folders: one row each, prompts in their order, real film to compare with, what is no film said."""
    for name, films in (("ours", pictures), ("theirs", pictures // 2), ("real", pictures)):
        for number in range(2):
            write(tmp_path / name / f"{number}.mkv", np.roll(films, number * 9, axis=2))
    (tmp_path / "ours" / "notes.txt").write_text("")
    (tmp_path / "prompts.txt").write_text("one\ntwo\none more\nand another\n")
    command = ("ours", "theirs", "--real", "real", "--prompts", "prompts.txt")
    code, out, err = cli(*command, "--clips", "clips")
    assert code == 0 and "passed over in ours, not video files by their names: notes.txt" in err
    assert "| ours | 2 |" in out and "| real film | 2 |" in out and "time to drift" in out
    assert len(list((tmp_path / "clips").rglob("*.mp4"))) == 4
    (tmp_path / "prompts.txt").write_text("one\n")
    assert "1 prompts for 4 films" in cli(*command)[2]
    write(tmp_path / "ours" / "other.mkv", pictures[:, :32])
    code, _, err = cli("ours")
    assert (code, err.count("\n")) == (2, 1) or "notes.txt" in err
    assert "the films of a set have one size" in err and "64x32" in err


def test_films_of_different_lengths(cli: Cli, pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """Guards a report whose lines end at different times, a film longer than all real film, real film that does not
    vary, and the one slice of 47 frames at 23.976, each of which ended in a traceback."""
    long = np.concatenate([pictures] * 3)
    write(tmp_path / "short.mkv", pictures[:47], rate=NTSC)
    write(tmp_path / "long.mkv", long)
    write(tmp_path / "real" / "frozen.mkv", np.repeat(pictures[:1], 50, axis=0))
    code, out, err = cli("short.mkv", "long.mkv", "--real", "real", "-o", "run")
    assert code == 0, err
    assert "| short.mkv | 1 |" in out and "| long.mkv | 1 |" in out
    assert "a film is shorter than ten seconds" in (tmp_path / "run" / "report.html").read_text()
    films = [json.loads(path.read_text()) for path in sorted((tmp_path / "run" / "films").glob("*.json"))]
    assert [len(film["times"]) for film in films] == [1, 3, 1]


def test_only_its_own_files_are_lost(cli: Cli, pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """Guards people's films in a folder that happens to be called films."""
    (tmp_path / "here").mkdir()
    mine = write(tmp_path / "here" / "films" / "mine.mkv", pictures)
    code, _, err = cli("here/films", "-o", "here")
    assert (code, mine.exists()) == (2, True) and "here holds something else: give a new folder" in err
    assert cli("here/films", "-o", "run")[0] == 0
    film = write(tmp_path / "run" / "films" / "kept.mkv", pictures)
    assert cli("here/films", "-o", "run")[0] == 0
    assert film.exists() and len(list((tmp_path / "run" / "films").glob("*.json"))) == 1


def test_what_is_strange_in_files(cli: Cli, pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """Guards names as long as file systems allow and names that are no text, metadata that longtake did not write so,
    and places for clips that are taken: tracebacks, or told after an hour of measuring."""
    long = write(tmp_path / f"{'ü' * 120}.mkv", pictures)
    (tmp_path / "a").mkdir()
    odd = write(tmp_path / "x.mkv", pictures).rename(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff.mkv"))
    with VideoWriter(
        tmp_path / "told.mp4", 64, 40, 24, {"model": "tracking-shot", "seed": [], "fps": "no"}
    ) as writer:
        writer.write(pictures)
    told = (tmp_path / "told.mp4").read_bytes()
    assert b'"no"' in told
    (tmp_path / "told.mp4").write_bytes(told.replace(b'"no"', b'"no!'))
    code, out, err = cli(long, odd, "told.mp4", "-o", "run", "--clips", "clips")
    assert code == 0, err
    assert r"| \xff.mkv | 1 |" in out and "no seam score" in err
    assert len(list((tmp_path / "clips").rglob("*.mp4"))) == 3
    code, out, err = cli("told.mp4", "--clips", "clips")
    assert (code, out) == (2, "") and "clips exists" in err


def test_sets_of_the_same_prompts_are_compared(cli: Cli, pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """Guards the comparison of other people's films: the first set is what the others are compared with."""
    for name, films in (("b", pictures), ("a", pictures // 2)):
        for number in range(2):
            write(tmp_path / name / f"{number}.mkv", films)
    (tmp_path / "prompts.txt").write_text("one\ntwo\none\ntwo\n")
    assert cli("b", "a", "--prompts", "prompts.txt", "-o", "run")[0] == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What b gains or loses" in page and "b minus …" in page
    assert "gains or loses" not in run_page(cli, tmp_path, "b", "a")


def test_adherence_to_prompts_of_the_world(cli: Cli, pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    """Guards the judge of other people's films: it reads what each prompt says, and why it does not is told."""
    film = write(tmp_path / "a.mkv", SHOT.render(0, 48))
    for name in "bc":
        (tmp_path / f"{name}.mkv").write_bytes(film.read_bytes())
    write(tmp_path / "small.mkv", pictures)
    blue = replace(SHOT, colour="blue").caption()
    (tmp_path / "prompts.txt").write_text(f"{SHOT.caption()}\n{blue}\na boat at sea\n{blue}\n")
    (tmp_path / "one.txt").write_text(SHOT.caption())
    command = ("a.mkv", "b.mkv", "c.mkv", "small.mkv", "--prompts", "prompts.txt", "-o", "run", "--json")
    assert "attributes" not in cli("a.mkv", "--prompts", "one.txt", "-o", "run")[1]
    save_model(always_reads(SHOT), str(tmp_path / "run" / JUDGE))
    code, out, err = cli(*command, *WORLD)
    assert code == 0, err
    films = json.loads(out)
    assert [film["totals"].get("adherence") for film in films] == [1, 0.8, None, None]
    assert films[1]["curves"]["colour"] == [0] and films[1]["shot"]["colour"] == "blue"
    assert "c.mkv: no adherence: a tracking shot has one colour, and 'a boat at sea' tells of none" in err
    assert "small.mkv: no adherence: it is read off films of 128x80 at 24 frames a second" in err
    assert "adherence is in no table" in (tmp_path / "run" / "report.html").read_text()
    assert "attributes read right, last 10 s" in cli("a.mkv", "--prompts", "one.txt", "-o", "run", *WORLD)[1]


def always_reads(shot: Shot) -> AttributeClassifier:
    classifier = AttributeClassifier(TRACKING_SHOT)
    for name in JUDGED:
        head = classifier.get_submodule(f"heads.{name}")
        assert isinstance(head, nn.Linear)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        head.bias.data[list(ATTRIBUTES[name]).index(shot.attributes[name])] = 1
    return classifier


def run_page(cli: Cli, folder: Path, *films: str) -> str:
    assert cli(*films, "-o", "other")[0] == 0
    return (folder / "other" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [((), "Missing argument"), (("empty",), "holds no video files"), (("x", "./x"), "x is given twice")],
)
def test_mistakes_are_told_at_once(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    """Guards one-line errors before anything is measured."""
    (tmp_path / "empty").mkdir()
    code, _, err = cli(*arguments)
    assert code == 2 and says in err
