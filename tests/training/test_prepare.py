"""Preparing film: real video files in, latents and captions on disk out, whatever happens on the way."""

import json
import random
import resource
import struct
import subprocess
import sys
import tarfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import IO, Any
from unittest.mock import Mock

import av
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from longtake.errors import DataError, ModelError, OptionError, OutputError
from longtake.models.base import VideoModel
from longtake.models.wan.model import WanModel
from longtake.pictures import to_tensor
from longtake.training import prepare as preparing
from longtake.training.data import MANIFEST, Manifest, PreparedClip, caption_path, read_stored
from longtake.training.prepare import Summary, prepare
from longtake.video import Pictures, TimedPicture, VideoWriter, read_timed
from longtake.worlds.tracking_shot.shot import random_shot
from portable import in_two_processes

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 48, 32
CAPTION = "a red car driving past snowy mountains"


@cache
def render(num_frames: int, shot: int = 0) -> Pictures:
    """Pictures (F, 80, 128, 3) of a tracking shot."""
    return np.asarray(random_shot(random.Random(shot)).render(0, num_frames), np.uint8)


def film(path: Path, pictures: Pictures, fps: Fraction | int = 24, caption: str | None = CAPTION) -> Path:
    path.parent.mkdir(exist_ok=True)
    with VideoWriter(path, pictures.shape[2], pictures.shape[1], fps, {}) as writer:
        writer.write(pictures)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)
    return path


def foreign(path: Path, format_: str, codec: str, pictures: Pictures, fps: Fraction | int) -> Path:
    with av.open(str(path), "w", format=format_) as container:
        stream = container.add_stream(codec, rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = pictures.shape[2], pictures.shape[1], "yuv444p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    path.with_suffix(".txt").write_text(CAPTION)
    return path


def manifest(folder: Path) -> Manifest:
    return read_stored(folder / MANIFEST, Manifest)


def close_in_half(stored: torch.Tensor, exact: torch.Tensor) -> None:
    """Fail unless stored numbers are the exact ones in float16, to a unit in its last place."""
    torch.testing.assert_close(stored, exact, rtol=2**-10, atol=1e-5)


def latents(folder: Path, clip: PreparedClip) -> torch.Tensor:
    """The latents (C, F, H, W) of a clip."""
    with safe_open(folder / clip.shard, framework="pt") as file:
        rows = file.get_slice("latents")[clip.first : clip.first + clip.num_latents]
    assert rows.dtype == torch.float16
    return rows.float().transpose(0, 1)


def encoded(model: VideoModel, frames: Sequence[Pictures]) -> torch.Tensor:
    """The latents (C, F, H, W) of frames that are encoded in one go."""
    return model.encoder().push(to_tensor(np.stack(frames)[None]))[0]


def frames_of(path: Path) -> list[Pictures]:
    with path.open("rb") as file:
        return [picture.pixels for picture in read_timed(file, WIDTH, HEIGHT)]


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def ready(tubelet_folder: Path, tmp_path: Path) -> Callable[..., Summary]:
    """Prepares tmp_path/film into tmp_path/out for the embedded-like model, quietly."""

    def run(**options: Any) -> Summary:
        usual: dict[str, Any] = {"model": tubelet_folder, "say": lambda line: None}
        return prepare(tmp_path / "film", tmp_path / "out", **(usual | options))

    return run


@pytest.mark.parametrize("kind", ["tubelet", "wan"])
def test_latents_are_those_of_a_direct_encode(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    """Guards the whole way: a file at the model's own rate gives the latents of its frames, to half precision, and
    its caption the model's states."""
    model: WanModel = request.getfixturevalue(f"{kind}_model")
    path = film(tmp_path / "film" / "a.mp4", render(41))
    folder = request.getfixturevalue(f"{kind}_folder")
    summary = prepare(
        tmp_path / "film", tmp_path / "out", folder, width=WIDTH, height=HEIGHT, fps=24, min_latents=5
    )
    (clip,) = manifest(tmp_path / "out").clips
    assert (clip.name, clip.start, clip.caption) == ("a.mp4", 0, CAPTION)
    direct = encoded(model, frames_of(path))
    assert latents(tmp_path / "out", clip).shape == direct.shape
    close_in_half(latents(tmp_path / "out", clip), direct)
    for caption in (CAPTION, ""):
        states = load_file(caption_path(tmp_path / "out", caption))["text"]
        whole = model.encode_prompt([caption]).zero_padded()[0]
        assert torch.equal(states, whole[: len(states)]) and not whole[len(states) :].any()
        assert len(states) == 0 or states[-1].any()
    assert summary == Summary(
        folder=str(tmp_path / "out"),
        clips=1,
        shots=1,
        latents=clip.num_latents,
        seconds=round((model.spec.first_frames + (clip.num_latents - 1) * 4) / 24, 3),
        skipped=0,
        unknown_words=[],
    )


@pytest.mark.parametrize(
    ("name", "format_", "codec", "fps"),
    [
        ("thirty.mp4", "mp4", "libx264", 30),
        ("film rate.mkv", "matroska", "libx264", Fraction(24000, 1001)),
        ("zwölf ☂.webm", "webm", "libvpx-vp9", 12),
        ("HD.MOV", "mov", "libx264", 60),
    ],
)
def test_any_rate_and_container(
    tmp_path: Path,
    ready: Callable[..., Summary],
    tubelet_model: WanModel,
    name: str,
    format_: str,
    codec: str,
    fps: Fraction,
) -> None:
    """Guards resampling by time: each of the 24 frames a second is the one that the film shows at that moment."""
    seconds = 2
    (tmp_path / "film").mkdir()
    count = int(seconds * fps)
    path = foreign(tmp_path / "film" / name, format_, codec, render(count)[:, 3:70, :99], fps)
    ready()
    (clip,) = manifest(tmp_path / "out").clips
    frames = frames_of(path)
    starts = [number / Fraction(fps) for number in range(count)]
    ticks = [Fraction(k, 24) + Fraction(1, 1000) for k in range(24 * seconds)]
    shown = [frames[bisect_right(starts, tick) - 1] for tick in ticks]
    assert clip.num_latents == len(shown) // 4
    expected = encoded(tubelet_model, shown[: 4 * clip.num_latents])
    close_in_half(latents(tmp_path / "out", clip), expected)


def test_shots_are_cut_and_short_ones_dropped(tmp_path: Path, ready: Callable[..., Summary]) -> None:
    """Guards the manifest of a film of three shots: where each begins, where its latents lie, and what is missing."""
    path = film(tmp_path / "film" / "cuts.mp4", np.concatenate([render(24, 1), render(9, 2), render(43, 3)]))
    lines: list[str] = []
    summary = ready(say=lines.append)
    first, second = manifest(tmp_path / "out").clips
    assert (first.start, first.first, first.num_latents) == (0, 0, 6)
    assert (second.start, second.first, second.num_latents) == (1.375, 6, 10)
    assert lines == [
        "skipped cuts.mp4 at 1 s: the shot has 9 frames (0.375 s at 24 fps), a training window takes 12"
    ]
    assert (summary.clips, summary.shots, summary.latents, summary.skipped) == (1, 2, 16, 1)
    whole = load_file(tmp_path / "out" / first.shard)["latents"]
    assert whole.shape == (16, 4, 4, 6) and path.exists()


def bad_film(folder: Path) -> dict[str, str]:
    """Captioned files that cannot be used, and words of the reason for each."""
    good = film(folder / "good.mp4", render(24)).read_bytes()
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for name, data in {
        "cut off.mp4": good[: len(good) // 2],
        "empty.mkv": b"",
        "text.webm": b"no film",
    }.items():
        (folder / name).write_bytes(data)
    film(folder / "short.mp4", render(8))
    film(folder / "wordy.mp4", render(24), caption="a car " * 40)
    film(folder / "silent.mp4", render(24), caption=None)
    for name in ("sound", "cut off", "empty", "text"):
        (folder / f"{name}.txt").write_text(CAPTION)
    return {
        "silent.mp4": "has no caption",
        "cut off.mp4": "cannot be read",
        "empty.mkv": "cannot be read",
        "short.mp4 at 0 s": "the shot has 8 frames (0.333 s at 24 fps), a training window takes 12",
        "sound.mp4": "holds no video",
        "text.webm": "cannot be read",
        "wordy.mp4": "tokens long",
    }


def test_what_cannot_be_used_is_reported_and_skipped(tmp_path: Path, ready: Callable[..., Summary]) -> None:
    """Guards against a bad file that stops the run, or that is missing without a word; what is left is used."""
    expected = bad_film(tmp_path / "film")
    lines: list[str] = []
    summary = ready(say=lines.append)
    made = manifest(tmp_path / "out")
    assert [clip.name for clip in made.clips] == ["good.mp4"]
    assert [item.name for item in made.skipped] == list(expected)
    assert lines == [f"skipped {item.name}: {item.reason}" for item in made.skipped]
    for item in made.skipped:
        assert expected[item.name] in item.reason and "\n" not in item.reason
    assert summary.skipped == 7
    assert sorted(path.name for path in (tmp_path / "out" / "shards").glob("*.safetensors")) == [
        "00002.safetensors"
    ]


def test_nothing_left_is_an_error_that_says_where_the_reasons_are(
    tmp_path: Path, ready: Callable[..., Summary]
) -> None:
    """Guards against success with nothing to train on."""
    film(tmp_path / "film" / "a.mp4", render(8))
    with pytest.raises(DataError, match=r"all of it was skipped, .*manifest.json says why"):
        ready()
    assert len(manifest(tmp_path / "out").skipped) == 1


def test_tar_shards_are_read_where_they_lie(
    tmp_path: Path, ready: Callable[..., Summary], tubelet_model: WanModel
) -> None:
    """Guards that a member of a shard is decoded as the same file by itself is."""
    path = film(tmp_path / "a.mp4", render(24))
    (tmp_path / "film").mkdir()
    with tarfile.open(tmp_path / "film" / "0.tar", "w") as shard:
        for file in (path, path.with_suffix(".txt")):
            shard.add(file, file.name)
    ready()
    (clip,) = manifest(tmp_path / "out").clips
    assert (clip.name, clip.caption) == ("0.tar/a.mp4", CAPTION)
    direct = encoded(tubelet_model, frames_of(path))
    close_in_half(latents(tmp_path / "out", clip), direct)


def test_unknown_words_are_told(tmp_path: Path, ready: Callable[..., Summary]) -> None:
    """Guards against captions that the text encoder cannot tell apart."""
    film(tmp_path / "film" / "a.mp4", render(24), caption="a red giraffe at dawn, a giraffe")
    assert ready().unknown_words == ["giraffe"]


def several(folder: Path) -> None:
    """Three captioned films, the second with a cut, the third unreadable."""
    film(folder / "a.mp4", render(40))
    film(folder / "b.mp4", np.concatenate([render(100, 1), render(60, 2)]), caption="a bus at night")
    (folder / "c.mp4").write_bytes(b"no film")
    (folder / "c.txt").write_text("a car")


def test_a_run_that_was_stopped_goes_on(
    tmp_path: Path, ready: Callable[..., Summary], tubelet_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards that Ctrl-C, at any portion, costs one file at most, and that the end is the same to the byte."""
    several(tmp_path / "film")
    prepare(tmp_path / "film", tmp_path / "whole", tubelet_folder, say=lambda line: None)
    begun = []

    def stopping(frames: Pictures) -> torch.Tensor:
        begun.append(len(frames))
        if len(begun) in (2, 7, 12):
            raise KeyboardInterrupt
        return to_tensor(frames)

    monkeypatch.setattr(preparing, "to_tensor", stopping)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            ready()
        assert not manifest(tmp_path / "out").complete
        assert not list((tmp_path / "out").rglob("*.part"))
    summary = ready()
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")
    done = len(begun)
    assert ready() == summary and len(begun) == done
    next((tmp_path / "out" / "shards").glob("00001.safetensors")).unlink()
    caption_path(tmp_path / "out", CAPTION).unlink()
    ready()
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def padded(data: bytes, size: int) -> bytes:
    """An mp4 file of so many bytes more than it needs."""
    return data + struct.pack(">I4s", size - len(data), b"free").ljust(size - len(data), b"\0")


def test_a_file_that_is_replaced_is_prepared_anew(
    tmp_path: Path, ready: Callable[..., Summary], tubelet_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards files of equal size: one that was mended is skipped no longer, one that was changed keeps no stale
    latents, others are left alone, and what stays skipped is said again."""
    source, out = tmp_path / "film", tmp_path / "out"
    several(source)
    films = [(source / name).read_bytes() for name in ("a.mp4", "b.mp4")]
    size = max(map(len, films)) + 8
    one, other, bad = *(padded(data, size) for data in films), bytes(size)
    opened: list[str] = []

    def opening(video: IO[bytes], *sides: int) -> Iterator[TimedPicture]:
        opened.append(Path(video.name).name)
        return read_timed(video, sides[0], sides[1])

    monkeypatch.setattr(preparing, "read_timed", opening)
    for changed, skipped, clips in [
        ({"a": one, "b": other, "c": bad}, ["c"], "abb"),
        ({}, ["c"], "abb"),
        ({"c": other}, [], "abbcc"),
        ({"a": other}, [], "aabbcc"),
        ({"a": bad}, ["a"], "bbcc"),
    ]:
        for name, data in changed.items():
            (source / f"{name}.mp4").write_bytes(data)
        lines: list[str] = []
        opened.clear()
        ready(say=lines.append)
        assert opened == [f"{name}.mp4" for name in changed]
        assert [line.split(".")[0] for line in lines] == [f"skipped {name}" for name in skipped]
        assert [clip.name[0] for clip in manifest(out).clips] == list(clips)
    prepare(source, tmp_path / "whole", tubelet_folder, say=lambda line: None)
    assert everything(out) == everything(tmp_path / "whole")


def test_training_can_tell_other_latents(tmp_path: Path, ready: Callable[..., Summary]) -> None:
    """Guards runs against film that was changed under them, with as many latents in it as before."""
    path, manifests = tmp_path / "film" / "a.mp4", set()
    for shot in (0, 1):
        path.unlink(missing_ok=True)
        path.write_bytes(padded(film(path, render(24, shot)).read_bytes(), 30_000))
        assert ready().latents == 6
        manifests.add((tmp_path / "out" / MANIFEST).read_bytes())
    assert len(manifests) == 2


KILLED = """
import os, signal, sys, torch
torch.set_num_threads(int(os.environ.get("LONGTAKE_THREADS", "1")))
from pathlib import Path
from longtake.training import prepare
def dying(frames, portions=iter(range(99)), convert=prepare.to_tensor):
    if next(portions) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return convert(frames)
prepare.to_tensor = dying
prepare.prepare(*map(Path, sys.argv[1:]))
"""


@in_two_processes
def test_a_run_that_was_killed_goes_on(
    tmp_path: Path, ready: Callable[..., Summary], tubelet_folder: Path
) -> None:
    """Guards against half a shard that passes for a whole one: after kill -9 amid the second film, the end is the same
    to the byte."""
    several(tmp_path / "film")
    folders = [str(folder) for folder in (tmp_path / "film", tmp_path / "out", tubelet_folder)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *folders], capture_output=True, check=False)
    assert killed.returncode == -9
    assert [path.name for path in (tmp_path / "out").rglob("*.part")] == ["00001.safetensors.part"]
    ready()
    prepare(tmp_path / "film", tmp_path / "whole", tubelet_folder, say=lambda line: None)
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_a_full_disk_is_one_line_and_costs_nothing(tmp_path: Path, ready: Callable[..., Summary]) -> None:
    """Guards what is finished when the disk (here a limit on file size) gives out, and that the run goes on after."""
    several(tmp_path / "film")
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(OutputError, match="make room and prepare again") as error:
            ready()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert "\n" not in str(error.value) and not list((tmp_path / "out").rglob("*.part"))
    assert (tmp_path / "out" / "shards" / "00000.safetensors").is_file()
    assert ready().shots == 3


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, ready: Callable[..., Summary], wan_folder: Path
) -> None:
    """Guards against latents of two kinds in one folder, and against writing into people's own folders."""
    film(tmp_path / "film" / "a.mp4", render(24))
    ready()
    before = everything(tmp_path / "out")
    others: list[tuple[dict[str, Any], str]] = [
        ({"fps": 12}, "another fps:"),
        ({"width": 32, "height": 16}, "another width, height:"),
        ({"min_latents": 2}, "another min_latents:"),
        ({"dtype": "bfloat16"}, "another dtype:"),
        (
            {"model": wan_folder, "width": 48, "height": 32, "fps": 24, "min_latents": 3},
            "another vae, text_encoder:",
        ),
    ]
    for options, words in others:
        with pytest.raises(OutputError, match=f"{words} take another folder or delete it"):
            ready(**options)
    film(tmp_path / "film" / "b.mp4", render(24))
    with pytest.raises(OutputError, match="another source"):
        ready()
    assert everything(tmp_path / "out") == before
    for target, words in [("film", "holds something else"), ("film/a.mp4/out", "cannot make the folder")]:
        with pytest.raises(OutputError, match=words):
            prepare(tmp_path / "film", tmp_path / target, wan_folder, width=48, height=32)
    (tmp_path / "out" / MANIFEST).write_text("{}")
    with pytest.raises(DataError, match="damaged or of another version"):
        ready()


def test_sizes_and_models_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path: Path, ready: Callable[..., Summary]
) -> None:
    """Guards the order: options first, then the film, then the folder."""
    refused: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"width": 50}, OptionError),
        ({"model": tmp_path / "none"}, ModelError),
        ({}, DataError),
    ]
    for options, kind in refused:
        with pytest.raises(kind):
            ready(**options)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def cli(cli: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, str, str]]:
    """Runs `longtake prepare`."""
    return partial(cli, "prepare")


def test_the_command(
    tmp_path: Path,
    cli: Callable[..., tuple[int, str, str]],
    tubelet_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards options, the closing line, JSON, reports on stderr, one-line errors, Ctrl-C and the missing extra."""
    source, out = tmp_path / "film", tmp_path / "out"
    film(source / "a.mp4", render(24), caption="a red giraffe")
    film(source / "b.mp4", render(8))
    usual = (source, "-o", out, "--model", tubelet_folder, "--size", "32x16", "--fps", "12")
    code, printed, said = cli(*usual, "--device", "cpu", "--dtype", "float32")
    assert (code, printed) == (0, f"{out}: 1 clips, 1 shots, 3 latents, 1 s, 1 skipped\n")
    assert said.splitlines() == [
        "skipped b.mp4 at 0 s: the shot has 4 frames (0.333 s at 12 fps), a training window takes 12",
        "note: the model does not know giraffe",
    ]
    code, printed, _ = cli(*usual, "--json")
    assert code == 0 and json.loads(printed)["latents"] == 3
    for wrong, words in [
        ((tmp_path / "no", "-o", out), "no folder"),
        ((source, "-o", out, "--model", tubelet_folder), "another width, height, fps"),
        ((source, "-o", tmp_path / "new", "--size", "50x50"), "take a multiple of"),
    ]:
        code, printed, said = cli(*wrong)
        assert (code, printed) == (2, "") and words in said and said.count("\n") == 1
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "load_encoders", Mock(side_effect=KeyboardInterrupt))
        code, printed, said = cli(*usual)
        assert (code, printed) == (130, "") and said == f"stopped: prepare into {out} again to go on\n"
    for module in ("prepare", "cuts"):
        monkeypatch.delitem(sys.modules, f"longtake.training.{module}")
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    code, printed, said = cli(*usual)
    assert (code, printed) == (2, "") and "this needs scenedetect: pip install 'longtake[train]'" in said
