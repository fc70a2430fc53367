"""Reading other programs' films: what a player shows, when, and one line where it cannot be."""

import io
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import IO

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.errors import LongTakeError
from longtake.video import Pictures, TimedPicture, VideoWriter, probe, read_frames, read_timed, resampled

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 96, 64
CLOCK = Fraction(1, 90_000)


def foreign(
    format_: str,
    codec: str,
    times: Sequence[Fraction],
    size: tuple[int, int] = (WIDTH, HEIGHT),
    turned: int = 0,
    pixel_shape: Fraction | int = 1,
    pix_fmt: str = "yuv420p",
    clock: Fraction = CLOCK,
    last: Fraction | None = None,
    **metadata: str,
) -> IO[bytes]:
    """A film as other programs write it, its left half red, and changing with each picture, its right half blue.

    last: the seconds for which its last picture is shown, if that is told."""
    file = io.BytesIO()
    with av.open(file, "w", format=format_) as container:
        container.metadata.update(metadata)
        stream = container.add_stream(codec, rate=30 if clock == CLOCK else 1 / clock)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p" if size[0] % 2 else pix_fmt
        stream.codec_context.time_base = clock
        stream.codec_context.sample_aspect_ratio = Fraction(pixel_shape)
        stream.codec_context.gop_size = 12
        if turned:
            stream.set_display_rotation(turned)
        for number, time in enumerate(times):
            picture = np.zeros((size[1], size[0], 3), np.uint8)
            picture[:, : size[0] // 2] = [200, 5 * number % 200, 0]
            picture[:, size[0] // 2 :] = [0, 0, 200]
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.time_base, frame.pts = clock, round(time / clock)
            container.mux(stream.encode(frame))
        for packet in stream.encode(None):
            if last is not None and packet.pts == frame.pts:
                packet.duration = round(last / clock)
            container.mux(packet)
    file.seek(0)
    return file


def steady(num_frames: int, fps: Fraction | int = 24, begin: int = 0) -> list[Fraction]:
    return [begin + number / Fraction(fps) for number in range(num_frames)]


def order(pictures: Sequence[Pictures]) -> list[int]:
    """Which picture of `foreign` each one is."""
    return [round(int(picture[16, 4, 1]) / 5) for picture in pictures]


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
        assert picture.end == after.start
    assert seen[-1].end - seen[-1].start == pytest.approx(1 / 24, abs=0.0011)
    lightness = [int(picture.pixels[16, 4, 1]) for picture in seen]
    assert lightness == sorted(lightness) and len(seen) == len(times) == 20


RAW = {
    "avi": ("avi", "mpeg4"),
    "avi with pictures out of order": ("avi", "libx264"),
    "h264": ("h264", "libx264"),
    "m4v": ("m4v", "mpeg4"),
    "ivf": ("ivf", "libvpx-vp9"),
    "y4m": ("yuv4mpegpipe", "rawvideo"),
    "wmv": ("asf", "mpeg4"),
}


@pytest.mark.parametrize("fps", [24, Fraction(24000, 1001), 30, Fraction(60000, 1001)])
@pytest.mark.parametrize("kind", [*CONTAINERS, ("mpegts", "libx264"), ("flv", "libx264")])
def test_the_rate_is_that_of_the_pictures(kind: tuple[str, str], fps: Fraction | int) -> None:
    """Guards rates that files declare (here 30), average or round to milliseconds, and files that begin at an hour."""
    for begin in (0, 3600):
        file = foreign(*kind, steady(49, fps, begin))
        info = probe(file)
        assert (info.num_frames, info.fps, info.notes) == (49, fps, [])
        assert order(list(read_frames(file)))[:40] == pytest.approx(range(40), abs=1)


@pytest.mark.parametrize("fps", [24, 30])
@pytest.mark.parametrize("kind", RAW)
def test_film_without_times_of_its_own_has_its_rate(kind: str, fps: int) -> None:
    """Guards containers that number pictures as they are decoded, or not at all; FFmpeg takes raw film for 25 a
    second, and shows pictures of an avi in a wrong order."""
    file = foreign(*RAW[kind], steady(40, fps), clock=Fraction(1, fps))
    info = probe(file)
    assert (info.num_frames, info.fps, info.notes) == (40, fps, [])
    assert order(list(read_frames(file))) == pytest.approx(range(40), abs=1)


def test_an_avi_of_600_a_second_is_one_of_24() -> None:
    """Guards variable rates that were copied into an avi: its clock is no rate."""
    info = probe(foreign("avi", "mpeg4", steady(40), clock=Fraction(1, 600)))
    assert (info.num_frames, info.fps, info.notes) == (40, 24, [])


@pytest.mark.parametrize("kind", CONTAINERS)
def test_varying_rates_keep_their_time(kind: tuple[str, str]) -> None:
    """Guards phones and recordings of screens: a film's seconds are those of its pictures, each is shown at its time,
    and it is told."""
    times = [time for number, time in enumerate(steady(60)) if number % 3 != 2 and not 20 < number < 50]
    file = foreign(*kind, times)
    info = probe(file)
    assert (info.fps, info.is_constant, info.num_frames) == (24, False, 59)
    assert info.notes == ["its pictures come at varying times, it is seen 24 times a second"]
    shown = order(list(read_frames(file)))
    due = [sum(time <= tick + Fraction(1, 1000) for time in times) - 1 for tick in steady(59)]
    assert shown == pytest.approx(due, abs=1)


def test_a_last_picture_is_shown_for_as_long_as_it_says() -> None:
    """Guards slides and title cards at the end, and that a film which says so is not cut off."""
    info = probe(foreign("mp4", "libx264", steady(24), last=Fraction(3)))
    assert (info.seconds, info.missing) == (23 * Fraction(1, 24) + 3, 0)
    assert probe(foreign("mp4", "libx264", steady(24), last=CLOCK)).num_frames == 24


@pytest.mark.parametrize(
    ("delays", "fps", "num_frames"),
    [
        ([4] * 20, 25, 20),
        ([0] * 10, 10, 10),
        ([1] * 10, 10, 10),
        ([3, 3, 4] * 10, 30, 30),
        ([10, 30, 10], 10, 5),
    ],
)
def test_gifs_last_as_in_a_browser(delays: list[int], fps: int, num_frames: int) -> None:
    """Guards delays in hundredths of a second: 0 and 1 mean ten, 3 3 4 are thirty a second."""
    info = probe(gif(delays))
    assert (info.num_frames, info.fps, info.codec) == (num_frames, fps, "gif")


def gif(delays: Sequence[int]) -> IO[bytes]:
    """A gif of a pixel or two, byte by byte."""
    data = b"GIF89a" + bytes([2, 0, 2, 0, 0x80, 0, 0]) + bytes([0, 0, 0, 255, 255, 255])
    for delay in delays:
        data += b"\x21\xf9\x04\x00" + delay.to_bytes(2, "little") + b"\x00\x00"
        data += b"\x2c" + bytes([0, 0, 0, 0, 2, 0, 2, 0, 0]) + b"\x02\x02\x84\x51\x00"
    return io.BytesIO(data + b"\x3b")


@pytest.mark.parametrize("kind", [*CONTAINERS, ("mpegts", "libx264"), ("avi", "mpeg4"), ("gif", "gif")])
def test_a_single_picture_is_a_film(kind: tuple[str, str]) -> None:
    """Guards rates of films with nothing between two pictures."""
    clock = {"avi": Fraction(1, 30), "gif": Fraction(1, 100)}.get(kind[0], CLOCK)
    file = foreign(*kind, steady(1), clock=clock, pix_fmt="rgb8" if kind[0] == "gif" else "yuv420p")
    assert probe(file).num_frames == len(list(read_frames(file))) == 1


def with_sound(format_: str, picture_seconds: int, sound_seconds: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=format_) as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        sound = container.add_stream("aac", rate=8000, layout="mono")
        blank = np.zeros((32, 32, 3), np.uint8)
        for number in range(24 * picture_seconds):
            frame = av.VideoFrame.from_ndarray(blank + number % 200, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for number in range(8 * sound_seconds):
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), "fltp", "mono")
            heard.sample_rate, heard.pts, heard.time_base = 8000, 1000 * number, Fraction(1, 8000)
            container.mux(sound.encode(heard))
        container.mux(sound.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("format_", ["mp4", "matroska", "mpegts", "flv"])
def test_sound_that_goes_on_cuts_nothing_off(format_: str) -> None:
    """Guards files whose sound is longer, or shorter, than their pictures."""
    for seconds in ((1, 3), (3, 1)):
        file = io.BytesIO(with_sound(format_, *seconds))
        info = probe(file)
        assert (info.num_frames, info.missing) == (24 * seconds[0], 0)
        assert len(list(read_timed(file, 32, 32))) == 24 * seconds[0]


def test_cut_off_is_said_of_what_is() -> None:
    """Guards films of which the end is missing: how much is there is measured, and told; they are not trained on."""
    for data in (foreign("matroska", "libx264", steady(96, begin=3600)).read(), with_sound("matroska", 4, 4)):
        file = io.BytesIO(data[: len(data) // 2])
        info = probe(file)
        held = float(info.seconds)
        assert 1 < held < 3.4 and info.missing > 0.5
        assert any(note.startswith(f"cut off after {held:.2f} of ") for note in info.notes)
        assert len(list(read_frames(file))) == info.num_frames
        with pytest.raises(LongTakeError, match=rf"is cut off after {held:.2f} of"):
            next(read_timed(file, 32, 32))


def test_films_put_behind_one_another_go_on() -> None:
    """Guards recordings that were joined as files are, whose times begin anew."""
    one = foreign("mpegts", "libx264", steady(48)).read()
    file = io.BytesIO(one + one)
    info = probe(file)
    shown = order(list(read_frames(file)))
    assert 95 <= info.num_frames == len(shown) <= 96 and info.fps == 24
    assert shown[:20] == list(range(20)) and shown[-5:-1] in ([37, 38, 39, 0], [3, 4, 5, 6])


def test_a_jump_of_hours_is_told() -> None:
    """Guards measurements of days of one still, also where the last picture is said to last so long."""
    jump = foreign("matroska", "libx264", steady(30) + steady(30, begin=40_000))
    with pytest.raises(
        LongTakeError, match=r"has no picture for 11.1 hours, 1.2 seconds after its start: cut it there"
    ):
        probe(jump)
    with pytest.raises(LongTakeError, match=r"has no picture for 5.6 hours, 1.0 seconds after its start"):
        probe(foreign("mp4", "libx264", steady(24), last=Fraction(20_000)))


@given(
    lengths=st.lists(st.sampled_from([1, 3, 7, 33, 40, 42, 400, 1000]), min_size=1, max_size=30),
    fps=st.sampled_from([8, 24, Fraction(24000, 1001), 30]),
)
def test_resampling_shows_what_is_shown(lengths: list[int], fps: Fraction) -> None:
    """Guards variable frame rates: at every tick, to a millisecond, the frame that is shown then; no tick lost."""
    pictures, start = [], Fraction(5)
    for number, length in enumerate(lengths):
        end = start + Fraction(length, 1000)
        pictures.append(TimedPicture(start, end, np.full((1, 1, 3), number, np.uint8)))
        start = end
    seen = [int(pixels[0, 0, 0]) for pixels in resampled(iter(pictures), Fraction(fps))]
    ticks = [5 + k / Fraction(fps) + Fraction(1, 1000) for k in range(len(seen) + 1)]
    assert ticks[-1] >= start and all(tick < start for tick in ticks[:-1])
    for number, tick in zip(seen, ticks, strict=False):
        assert pictures[number].start <= tick < pictures[number].end


def test_resampling_to_the_rate_of_a_film_gives_each_picture_once() -> None:
    """Guards the tick and the rounding of times at every rate."""
    for fps in (Fraction(24000, 1001), Fraction(240), Fraction(480)):
        file = foreign("mp4", "libx264", steady(60, fps))
        assert order(list(resampled(read_timed(file, WIDTH, HEIGHT), fps)))[:39] == list(range(39))


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


def test_what_is_no_film_is_one_line_with_its_name(tmp_path: Path) -> None:
    """Guards readers against FFmpeg's own exceptions, and says what to give instead; names may be of any kind."""
    png = io.BytesIO()
    with av.open(png, "w", format="image2pipe") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
        container.mux(stream.encode(av.VideoFrame(32, 32, "rgb24")))
        container.mux(stream.encode(None))
    good = foreign("mp4", "libx264", steady(24)).read()
    files = {
        "text.mp4": (b"no film" * 30, "it is damaged, cut off or no video"),
        "empty.mkv": (b"", "it is empty"),
        "a: picture.png": (png.getvalue(), "give mp4, mov, webm, mkv"),
        "picture.mp4": (png.getvalue(), "give mp4, mov, webm, mkv"),
        "sound.mp4": (only_sound(), "holds no video"),
        "header.mp4": (good[:40], "cannot be read"),
        "no pictures.mkv": (foreign("matroska", "libx264", steady(24)).read()[:700], "holds no pictures"),
    }
    for name, (data, words) in files.items():
        (tmp_path / name).write_bytes(data)
        for reading in (probe, lambda path: next(read_frames(path))):
            with pytest.raises(LongTakeError) as error:
                reading(tmp_path / name)
            assert words in str(error.value) and name in str(error.value) and "\n" not in str(error.value)
    for name in ("missing.mp4", "."):
        with pytest.raises(LongTakeError, match="cannot be read as a video file"):
            probe(tmp_path / name)


def test_a_path_is_a_path(tmp_path: Path) -> None:
    """Guards names that FFmpeg takes for protocols and patterns."""
    for name in ("12:30.mp4", "file:x.mp4", "%03d.mp4", "concat:a|b.mp4"):
        (tmp_path / name).write_bytes(foreign("mp4", "libx264", steady(3)).read())
        assert probe(tmp_path / name).num_frames == 3


def test_our_own_films_come_back_with_their_matrix(tmp_path: Path) -> None:
    """Guards the tag: film of BT.709 below 720 lines is read by it."""
    colours = np.array([[200, 30, 30], [30, 170, 40], [40, 40, 200]], np.uint8)
    with VideoWriter(tmp_path / "film.mp4", 48, 32, 24, {}) as writer:
        writer.write(np.broadcast_to(colours[:, None, None], (3, 32, 48, 3)).astype(np.uint8))
    for colour, back in zip(colours, read_frames(tmp_path / "film.mp4"), strict=True):
        assert np.abs(back.reshape(-1, 3).astype(int) - colour).max() <= 3


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
    path = tmp_path / "film.mp4"
    path.write_bytes(foreign("mp4", "libx264", steady(3)).read())
    playlists = {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile '{path.name}'\n",
    }
    for name, text in playlists.items():
        (tmp_path / name).write_text(text)
        assert av.open(str(tmp_path / name)).streams.video
        with open(tmp_path / name, "rb") as file, pytest.raises(LongTakeError, match="cannot be read"):
            next(read_timed(file, 32, 32))
