"""Properties of the film writer and reader, with real encodes of small moving pictures."""

import io
import os
import resource
import signal
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import IO

import av
import numpy as np
import pytest

from longtake.errors import LongTakeError, OutputError
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
    with pytest.raises(OutputError, match="cannot write"), VideoWriter("/proc/film.mp4", 16, 16, FPS, {}):
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


def test_reading_what_is_no_film_is_one_line(tmp_path: Path) -> None:
    """Guards readers against FFmpeg's own exceptions."""
    (tmp_path / "text.mp4").write_text("no film")
    for path in (tmp_path / "missing.mp4", tmp_path / "text.mp4"):
        with pytest.raises(LongTakeError, match="cannot read"):
            probe(path)
        with pytest.raises(LongTakeError, match="cannot read"):
            next(read_frames(path))


def test_memory_of_reading_and_writing_is_constant(tmp_path: Path) -> None:
    """Guards against pictures kept by the encoder or the container over a long film."""
    film(tmp_path / "short.mp4", 48)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = film(tmp_path / "long.mp4", 600)
    assert sum(1 for _ in read_frames(path)) == 600
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8_000


def foreign(
    format_: str,
    codec: str,
    times: list[Fraction],
    size: tuple[int, int] = (WIDTH, HEIGHT),
    turned: int = 0,
    pixel_shape: int = 1,
    **metadata: str,
) -> IO[bytes]:
    """A film as other programs write it, its left half red, and changing with each picture, its right half blue."""
    file = io.BytesIO()
    with av.open(file, "w", format=format_) as container:
        container.metadata.update(metadata)
        stream = container.add_stream(codec, rate=30)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p" if size[0] % 2 else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)
        stream.codec_context.sample_aspect_ratio = Fraction(pixel_shape)
        stream.codec_context.gop_size = 12
        if turned:
            stream.set_display_rotation(turned)
        for number, time in enumerate(times):
            picture = np.zeros((size[1], size[0], 3), np.uint8)
            picture[:, : size[0] // 2] = [200, 5 * number % 200, 0]
            picture[:, size[0] // 2 :] = [0, 0, 200]
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.time_base, frame.pts = Fraction(1, 90_000), round(90_000 * time)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    return file


def steady(num_frames: int, fps: Fraction | int = 24) -> list[Fraction]:
    return [number / Fraction(fps) for number in range(num_frames)]


def red(pixels: Pictures) -> np.ndarray:
    """Where a picture is red rather than blue (H, W)."""
    return np.asarray(pixels[..., 0] > pixels[..., 2])


CONTAINERS = [("mp4", "libx264"), ("mov", "libx264"), ("matroska", "libx264"), ("webm", "libvpx")]


@pytest.mark.parametrize(("format_", "codec"), CONTAINERS)
def test_times_of_foreign_film_are_its_own(format_: str, codec: str) -> None:
    """Guards against times counted off at an average rate: here every third picture is missing, and one long gone."""
    times = [time for number, time in enumerate(steady(30)) if number % 3 != 2]
    times[-4:] = [time + 3 for time in times[-4:]]
    seen = list(read_timed(foreign(format_, codec, times), 32, 32))
    assert [float(picture.start) for picture in seen] == pytest.approx([*map(float, times)], abs=0.0006)
    for picture, after in pairwise(seen):
        assert picture.end == min(after.start, picture.start + 1)
    assert seen[-1].end - seen[-1].start == pytest.approx(1 / 24, abs=0.0011)
    lightness = [int(picture.pixels[16, 4, 1]) for picture in seen]
    assert lightness == sorted(lightness) and len(seen) == len(times) == 20


def test_foreign_film_is_cropped_to_its_middle() -> None:
    """Guards aspect ratios: whatever the shape of the film, what comes back is its middle, undistorted, of the
    size asked for."""
    for size in ((96, 64), (64, 96), (101, 37), (33, 17), (640, 48)):
        pixels = next(read_timed(foreign("mp4", "libx264", steady(2), size), 48, 32)).pixels
        assert pixels.shape == (32, 48, 3) and pixels.flags.c_contiguous
        assert red(pixels)[:, :22].all() and not red(pixels)[:, 26:].any()


def test_phones_that_were_held_upright_film_upright() -> None:
    """Guards the rotation that phones note in the file: a quarter turn to the left puts the left half below."""
    for turned, lower in ((90, True), (-90, False)):
        pixels = next(read_timed(foreign("mp4", "libx264", steady(2), turned=turned), 32, 48)).pixels
        assert red(pixels)[28:].all() == lower == (not red(pixels)[:20].any())
    pixels = next(read_timed(foreign("mp4", "libx264", steady(2), turned=180), 48, 32)).pixels
    assert red(pixels)[:, 26:].all() and not red(pixels)[:, :22].any()


def test_wide_pixels_are_widened() -> None:
    """Guards anamorphic film: 48 x 64 pixels, each twice as wide as high, are a picture of 96 x 64."""
    square = next(read_timed(foreign("mp4", "libx264", steady(2), (96, 64)), 96, 64)).pixels
    wide = next(read_timed(foreign("mp4", "libx264", steady(2), (48, 64), pixel_shape=2), 96, 64)).pixels
    assert np.abs(square.astype(float) - wide)[:, [0, 20, 75, 95]].max() < 6


def test_metadata_in_other_alphabets_do_not_matter() -> None:
    """Guards against titles that are not UTF-8."""
    file = foreign("mp4", "libx264", steady(3), title="TITEL")
    spoilt = io.BytesIO(file.read().replace(b"TITEL", b"T\xc4T\xc4L"))
    assert len(list(read_timed(spoilt, 32, 32))) == 3


def only_sound() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def disordered() -> bytes:
    """Still pictures of which the third is to be shown before the second."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=24)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        for number, shown in enumerate((0, 3, 2, 4)):
            (packet,) = stream.encode(picture)
            packet.pts, packet.dts, packet.time_base = shown, number, Fraction(1, 24)
            container.mux(packet)
    return file.getvalue()


def test_foreign_film_that_is_not_whole_is_an_error(tmp_path: Path) -> None:
    """Guards against training on what a decoder makes up: cut off, overwritten, silent or no film at all is an
    error in one line, whatever was read before it."""
    whole = {format_: foreign(format_, codec, steady(72)).read() for format_, codec in CONTAINERS}
    noise = np.random.default_rng(0).bytes(300)
    middle = len(whole["matroska"]) // 2
    wrong = {
        "mp4 cut off": whole["mp4"][:-700],
        "mkv cut off": whole["matroska"][:middle],
        "webm cut off": whole["webm"][: len(whole["webm"]) // 3],
        "overwritten": whole["matroska"][: middle - 150] + noise + whole["matroska"][middle + 150 :],
        "sound": only_sound(),
        "disordered": disordered(),
        "text": b"no film" * 99,
        "empty": b"",
    }
    for name, data in wrong.items():
        with pytest.raises(LongTakeError) as error:
            list(read_timed(io.BytesIO(data), 32, 32))
        assert "\n" not in str(error.value), name


def test_playlists_open_nothing(tmp_path: Path) -> None:
    """Guards against files that send the reader to other files or to the network."""
    path = film(tmp_path / "film.mp4", 3)
    playlists = {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile '{path.name}'\n",
    }
    for name, text in playlists.items():
        (tmp_path / name).write_text(text)
        assert av.open(str(tmp_path / name)).streams.video
        with open(tmp_path / name, "rb") as file, pytest.raises(LongTakeError, match="cannot be read"):
            next(read_timed(file, 32, 32))
