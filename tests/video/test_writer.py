"""Properties of the film writer, with real encodes of small moving pictures."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from longtake.errors import OutputError
from longtake.video import (
    Pictures,
    VideoWriter,
    check_output,
    film_bytes,
    part_path,
    probe,
    read_frames,
    read_timed,
)

pytestmark = pytest.mark.slow

WIDTH, HEIGHT, FPS = 96, 64, 24
METADATA = {"prompt": 'a "red" car, naïve ☂', "seed": 7, "shift": 3.0, "negative_prompt": ""}


def pictures(num_frames: int, first: int = 0) -> Pictures:
    """Blocks of colour that move two pixels a picture."""
    blocks = np.random.default_rng(0).integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
    still = blocks.repeat(16, axis=0).repeat(16, axis=1)
    return np.stack([np.roll(still, 2 * index, axis=1) for index in range(first, first + num_frames)])


def film(path: Path, num_frames: int, fps: Fraction | int = FPS, overwrite: bool = False) -> Path:
    with VideoWriter(path, WIDTH, HEIGHT, fps, METADATA, overwrite=overwrite) as writer:
        for first in range(0, num_frames, 7):
            writer.write(pictures(min(7, num_frames - first), first))
    return path


@pytest.mark.parametrize("num_frames", [1, 23, 24, 25, 73])
def test_every_frame_comes_back(tmp_path: Path, num_frames: int) -> None:
    """Guards frame counts at and around whole seconds, and the order and look of the pictures."""
    path = film(tmp_path / "film.mp4", num_frames)
    back = np.stack(list(read_frames(path)))
    assert back.shape == (num_frames, HEIGHT, WIDTH, 3)
    assert np.abs(back.astype(float) - pictures(num_frames)).mean(axis=(1, 2, 3)).max() < 10
    assert not part_path(path).exists()


def test_flat_colours_come_back_within_the_rounding_of_bt709(tmp_path: Path) -> None:
    """Guards against encoding with bt601 and tagging bt709, or full range tagged as limited: shifts of 5 to
    20."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 30, 90]])
    path = tmp_path / "film.mp4"
    with VideoWriter(path, WIDTH, HEIGHT, FPS, {}) as writer:
        writer.write(np.broadcast_to(colours[:, None, None], (6, HEIGHT, WIDTH, 3)).astype(np.uint8))
    for colour, back in zip(colours, read_frames(path), strict=True):
        assert np.abs(back - colour.astype(float)).max() <= 4


def test_file_is_what_browsers_play(tmp_path: Path) -> None:
    """Guards codec, pixel format, colour tags, one key frame a second, and an ordinary (not fragmented)
    ending."""
    path = film(tmp_path / "film.mp4", 60)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert (codec.name, codec.pix_fmt, stream.frames) == ("h264", "yuv420p", 60)
        assert {codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range} == {1}
        packets = [packet for packet in container.demux(stream) if packet.is_keyframe]
        keys = [(packet.pts or 0) * packet.time_base * FPS for packet in packets]
        assert keys == [0, 24, 48] and stream.start_time == 0


@pytest.mark.parametrize("fps", [24, 8, 1, Fraction(24000, 1001), Fraction(25, 2)])
def test_frame_rate_is_exact(tmp_path: Path, fps: Fraction | int) -> None:
    """Guards against rates kept as floats: 23.976 is 24000/1001, and a minute of it must not drift."""
    info = probe(film(tmp_path / "film.mp4", 9, fps))
    assert (info.fps, info.num_frames, info.seconds) == (fps, 9, 9 / Fraction(fps))


def test_facts_and_metadata_come_back(tmp_path: Path) -> None:
    """Guards that prompt, seed and options are in the file with their types, quotes and non-ASCII letters."""
    info = probe(film(tmp_path / "film.mp4", 30))
    assert (info.width, info.height, info.codec) == (WIDTH, HEIGHT, "h264")
    assert info.metadata == METADATA


def test_equal_pictures_give_equal_bytes(tmp_path: Path) -> None:
    """Guards that a film is a function of its pictures and metadata: no dates, no races between threads."""
    first, second = film(tmp_path / "a.mp4", 50), film(tmp_path / "b.mp4", 50)
    assert first.read_bytes() == second.read_bytes()


KILLED = """
import sys
from tests_video import METADATA, WIDTH, HEIGHT, FPS, VideoWriter, pictures
with VideoWriter(sys.argv[1], WIDTH, HEIGHT, FPS, METADATA) as writer:
    writer.write(pictures(200))
    print("filmed", flush=True)
    sys.stdin.read()
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Runs a program that may import this file as tests_video."""
    header = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('tests_video', {__file__!r})\n"
        "sys.modules['tests_video'] = module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
    )
    command = [sys.executable, "-c", header + program, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_every_complete_second_survives_a_kill(tmp_path: Path) -> None:
    """Guards the promise of the `.part`: after kill -9 at frame 200, 192 frames and the metadata are
    readable."""
    path = tmp_path / "film.mp4"
    with start(KILLED, str(path)) as process:
        assert process.stdout is not None and process.stdout.readline() == "filmed\n"
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    part = part_path(path)
    assert len(list(read_frames(part))) == 192
    info = probe(part)
    assert (info.num_frames, info.fps, info.metadata) == (192, FPS, METADATA)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_exception_leaves_a_complete_part(tmp_path: Path, error: type[BaseException]) -> None:
    """Guards that Ctrl-C and bugs keep what was filmed, to the last frame, and leave the target's name
    free."""
    path = tmp_path / "film.mp4"
    with pytest.raises(error), VideoWriter(path, WIDTH, HEIGHT, FPS, METADATA) as writer:
        writer.write(pictures(31))
        raise error
    assert not path.exists()
    assert writer.part == part_path(path)
    assert len(list(read_frames(writer.part))) == writer.num_frames == 31


def test_a_film_without_frames_leaves_nothing(tmp_path: Path) -> None:
    """Guards 'nothing written' when the very first chunk fails."""
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "film.mp4", WIDTH, HEIGHT, FPS, METADATA):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


FULL_DISK = """
import resource, sys
from tests_video import METADATA, WIDTH, HEIGHT, FPS, OutputError, VideoWriter, pictures
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    with VideoWriter(sys.argv[1], WIDTH, HEIGHT, FPS, METADATA) as writer:
        for _ in range(100):
            writer.write(pictures(24))
except OutputError as error:
    print(error)
"""


def test_a_full_disk_is_an_error_and_leaves_a_playable_part(tmp_path: Path) -> None:
    """Guards against a traceback, a hang or a lost film when the disk (here a limit on file size) gives
    out."""
    path = tmp_path / "film.mp4"
    with start(FULL_DISK, str(path)) as process:
        output, _ = process.communicate()
    assert process.returncode == 0 and "cannot write" in output and output.count("\n") == 1
    assert not path.exists()
    assert len(list(read_frames(part_path(path)))) >= FPS


NO_BYTE = """
import resource, sys
from tests_video import METADATA, WIDTH, HEIGHT, FPS, OutputError, VideoWriter, pictures
for size in (0, 1, 100, 1000, 3000, 7000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    writer = VideoWriter(f"{sys.argv[1]}/{size}.mp4", WIDTH, HEIGHT, FPS, METADATA)
    try:
        with writer:
            writer.write(pictures(40))
    except OutputError as error:
        print(size, writer.num_frames, error)
"""


def test_a_disk_that_takes_nothing_ends_in_one_line(tmp_path: Path) -> None:
    """Guards against the segmentation fault of a container that is closed without its header or any picture, against
    empty files left behind, and that the frames that are told of are there."""
    with start(NO_BYTE, str(tmp_path)) as process:
        output, _ = process.communicate()
    lines = output.splitlines()
    assert process.returncode == 0 and [line.split()[0] for line in lines] == [
        "0",
        "1",
        "100",
        "1000",
        "3000",
        "7000",
    ]
    left = {path.name for path in tmp_path.iterdir()}
    for line in lines:
        size, count, *words = line.split()
        assert words[0] == "cannot" and words[-3:] == ["File", "too", "large"]
        assert (f"{size}.mp4.part" in left) == (int(count) > 0)
        if int(count):
            assert len(list(read_frames(tmp_path / f"{size}.mp4.part"))) == int(count)
    assert int(lines[0].split()[1]) == 0 < int(lines[-1].split()[1])


def test_one_film_is_written_by_one(tmp_path: Path) -> None:
    """Guards against two runs that write one film: the second, overwriting or not, is told who does, and changes
    nothing; when the first one is done, or was killed, the film may be written."""
    path = tmp_path / "film.mp4"
    with start(KILLED, str(path)) as process:
        assert process.stdout is not None and process.stdout.readline() == "filmed\n"
        before = part_path(path).read_bytes()
        for overwrite in (False, True):
            told = rf"film.mp4 is being written by process {process.pid} on .*: wait for it"
            with pytest.raises(OutputError, match=told):
                film(path, 5, overwrite=overwrite)
            with pytest.raises(OutputError, match=told):
                check_output(path, overwrite=overwrite)
        assert part_path(path).read_bytes() == before
        process.kill()
    film(path, 5, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]


def test_a_film_that_came_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the moment between the look at the path and the lock."""
    path = tmp_path / "film.mp4"

    @contextmanager
    def late(target: Path) -> Iterator[None]:
        film_of_another.rename(target)
        yield

    film_of_another = film(tmp_path / "other.mp4", 3)
    monkeypatch.setattr("longtake.video.writer.exclusive", late)
    with pytest.raises(OutputError, match="exists"), VideoWriter(path, WIDTH, HEIGHT, FPS, {}):
        raise AssertionError
    assert probe(path).num_frames == 3


def test_film_made_again_and_again_does_not_drift(tmp_path: Path) -> None:
    """Guards films that are continued from what was filmed: white, black, greys and colours stay in ten generations of
    writing and reading, scaled up and down again. One unit lost in each, or one column of chroma, would show."""
    flat = np.zeros((64, 96, 3), np.uint8)
    flat[:32] = np.linspace(0, 255, 6).round().astype(np.uint8).repeat(16)[:, None]
    flat[32:] = np.repeat([[200, 40, 40], [40, 160, 60], [50, 60, 190], [220, 200, 60]], 24, axis=0)
    now = flat
    for generation in range(10):
        path = tmp_path / f"{generation}.mp4"
        with VideoWriter(path, now.shape[1], now.shape[0], FPS, {}, crf=1) as writer:
            writer.write(now[None])
        with path.open("rb") as file:
            size = (96, 64) if generation % 2 else (192, 128)
            now = next(read_timed(file, *size)).pixels
    assert now.shape == flat.shape
    assert np.abs(now[16, 8::16].astype(int) - flat[16, 8::16]).max() <= 2  # the middles of greys,
    assert np.abs(now[48, 12::24].astype(int) - flat[48, 12::24]).max() <= 3  # and of colours
    assert now[8, [2, -3]].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert np.abs(now.mean(axis=(0, 1)) - flat.mean(axis=(0, 1))).max() < 0.5
    redder = now[48].astype(int) @ [1, 0, -1]
    assert np.flatnonzero(np.diff(redder > 50)).tolist() == [23, 71]  # colours have not walked aside


def test_unusable_paths_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """Guards each rule of the output path; every refusal names the path."""
    (tmp_path / "old.mp4").write_bytes(b"kept")
    (tmp_path / "half.mp4.part").write_bytes(b"kept")
    (tmp_path / "folder.mp4").mkdir()
    before = sorted(tmp_path.iterdir())
    for name, words in [
        ("old.mp4", "exists"),
        ("half.mp4", "half.mp4.part exists"),
        ("folder.mp4", "is a folder"),
        (".", "is a folder"),
        ("film.avi", "must end in .mp4"),
        ("film", "must end in .mp4"),
        ("missing/film.mp4", "does not exist"),
        ("old.mp4/film.mp4", "does not exist"),
    ]:
        with pytest.raises(OutputError, match=words), VideoWriter(tmp_path / name, 16, 16, FPS, {}):
            raise AssertionError
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "old.mp4").read_bytes() == (tmp_path / "half.mp4.part").read_bytes() == b"kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    """Guards the check of the parent folder's permissions."""
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="not writable"):
        check_output(tmp_path / "film.mp4")


def test_a_file_system_that_refuses_is_one_line() -> None:
    """Guards the open itself: /proc takes no new files, not even root's."""
    with pytest.raises(OutputError, match="cannot lock"), VideoWriter("/proc/film.mp4", 16, 16, FPS, {}):
        raise AssertionError


def test_overwrite_replaces_film_and_part(tmp_path: Path) -> None:
    """Guards `overwrite`: the old film stays until the new one is complete."""
    path = film(tmp_path / "film.mp4", 5)
    part_path(path).write_bytes(b"x" * 100_000)
    film(path, 9, overwrite=True)
    assert probe(path).num_frames == 9
    assert not part_path(path).exists()


def test_too_little_disk_is_refused(tmp_path: Path) -> None:
    """Guards the estimate: monotone, and compared with what is really free."""
    assert film_bytes(128, 72, 24) < film_bytes(128, 72, 1440) < film_bytes(832, 480, 1440)
    with pytest.raises(OutputError, match="too little disk"):
        check_output(tmp_path / "film.mp4", num_bytes=1 << 60)
    check_output(tmp_path / "film.mp4", num_bytes=film_bytes(128, 72, 24))


def test_odd_sides_are_refused(tmp_path: Path) -> None:
    """Guards yuv420p, which halves the sides of the colour planes."""
    with pytest.raises(OutputError, match="even sides"):
        VideoWriter(tmp_path / "film.mp4", 63, 64, FPS, {})


def test_memory_of_reading_and_writing_is_constant(tmp_path: Path) -> None:
    """Guards against pictures kept by the encoder or the container over a long film."""
    film(tmp_path / "short.mp4", 48)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = film(tmp_path / "long.mp4", 600)
    assert sum(1 for _ in read_frames(path)) == 600
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8_000


@pytest.mark.parametrize("fps", [24, Fraction(24000, 1001), Fraction(25, 2)])
@pytest.mark.parametrize("stopped_at", [49, 72, 73, 75])
def test_a_film_goes_on_where_it_was_stopped(tmp_path: Path, fps: Fraction | int, stopped_at: int) -> None:
    """Guards films that are resumed: the same bytes as one that was never stopped."""
    whole, path = film(tmp_path / "whole.mp4", 100, fps), tmp_path / "film.mp4"
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, WIDTH, HEIGHT, fps, METADATA) as writer:
        writer.write(pictures(stopped_at))
        raise KeyboardInterrupt
    safe = writer.num_safe
    assert safe >= stopped_at - 2 * round(Fraction(fps)) and safe % round(Fraction(fps)) == 0
    with VideoWriter(path, WIDTH, HEIGHT, fps, METADATA, before=(part_path(path), safe)) as writer:
        assert writer.num_frames == safe
        writer.write(pictures(100 - safe, safe))
    assert path.read_bytes() == whole.read_bytes()
    assert sorted(place.name for place in tmp_path.iterdir()) == ["film.mp4", "whole.mp4"]


def test_a_film_that_begins_with_another(tmp_path: Path) -> None:
    """Guards films that are extended: the old part is copied, and the old film stays what it was."""
    old = film(tmp_path / "old.mp4", 60)
    was = old.read_bytes()
    with VideoWriter(tmp_path / "new.mp4", WIDTH, HEIGHT, FPS, METADATA, before=(old, 48)) as writer:
        writer.write(pictures(52, 48))
    assert (tmp_path / "new.mp4").read_bytes() == film(tmp_path / "whole.mp4", 100).read_bytes()
    assert old.read_bytes() == was


def test_a_part_that_cannot_be_gone_on_from_stays(tmp_path: Path) -> None:
    """Guards what is there against a resumption that fails: too short, of another size, no film at all."""
    path = tmp_path / "film.mp4"
    for content in (film(tmp_path / "short.mp4", 30).read_bytes(), b"", b"none"):
        part_path(path).write_bytes(content)
        with (
            pytest.raises(OutputError),
            VideoWriter(path, WIDTH, HEIGHT, FPS, METADATA, before=(part_path(path), 48)),
        ):
            pass
        assert part_path(path).read_bytes() == content and not path.exists()
        assert not part_path(part_path(path)).exists()
    part_path(path).write_bytes((tmp_path / "short.mp4").read_bytes())
    with (
        pytest.raises(OutputError, match="another way"),
        VideoWriter(path, WIDTH, 2 * HEIGHT, FPS, METADATA, before=(part_path(path), 24)),
    ):
        pass
    assert part_path(path).exists()
