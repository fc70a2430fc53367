"""Clips and photos of every odd kind that a film may be told to begin or end with: shown right, or one line."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import zip_longest
from operator import lt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from longtake.errors import LongTakeError
from longtake.start import read_given
from longtake.video import Fit, Pictures, probe, read_frames

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 48, 32
FILM: Any = SimpleNamespace(settings=SimpleNamespace(width=WIDTH, height=HEIGHT), rate=Fraction(24))
MIDDLES = [(8, 12), (8, 36), (24, 12), (24, 36)]
PICTURE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
for colour, (row, column) in zip(
    ((200, 30, 30), (30, 180, 40), (40, 40, 200), (220, 210, 60)), MIDDLES, strict=True
):
    PICTURE[row - 8 : row + 8, column - 12 : column + 12] = colour
HALF_BLACK = PICTURE * (np.arange(WIDTH) >= WIDTH // 2)[:, None].astype(np.uint8)
CLEAR = np.where(np.arange(WIDTH) < WIDTH // 2, 0, 255).astype(np.uint8)
HALF_CLEAR = np.dstack([PICTURE, CLEAR[None].repeat(HEIGHT, 0)])
NO_ALT_REF = {"options": {"auto-alt-ref": "0"}}


def clip(
    path: Path,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    picture: Pictures | Callable[[int], Pictures] = PICTURE,
    ticks: Sequence[int] = range(8),
    turned: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """A clip of a picture, or of one for each number, at ticks of a 24th of a second."""
    make = picture if callable(picture) else lambda number: picture
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=24, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = make(0).shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = pix_fmt, Fraction(1, 24)
        if turned:
            stream.set_display_rotation(turned)
        for number, tick in enumerate(ticks):
            pixels = make(number)
            frame = av.VideoFrame.from_ndarray(pixels, "rgba" if pixels.shape[2] == 4 else "rgb24")
            frame = frame.reformat(
                format=pix_fmt, dst_colorspace="itu709" if stream.width >= 1280 else "itu601"
            )
            frame.pts, frame.time_base = tick, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shown(path: Path, frames: int = 2, fit: Fit | None = None) -> tuple[Pictures, tuple[str, ...]]:
    return read_given(path, FILM, frames, fit)


def is_shown(pixels: Pictures, wanted: Pictures = PICTURE, by: int = 8) -> bool:
    """Whether the middles of a picture's quarters have the colours of another's."""
    return all(np.abs(pixels[place].astype(int) - wanted[place]).max() <= by for place in MIDDLES)


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("ten bits.mp4", {"pix_fmt": "yuv420p10le"}, PICTURE),
        ("ten bits.mkv", {"codec": "ffv1", "pix_fmt": "yuv420p10le"}, PICTURE),
        ("clear.mov", {"codec": "qtrle", "pix_fmt": "argb", "picture": HALF_CLEAR}, HALF_BLACK),
        ("clear 10.mov", {"codec": "prores_ks", "pix_fmt": "yuva444p10le", "picture": HALF_CLEAR}, HALF_BLACK),
        ("clear.webm", {"codec": "libvpx-vp9", "pix_fmt": "yuva420p", "picture": HALF_CLEAR}, HALF_BLACK),
        ("clear 8.webm", {"codec": "libvpx", "pix_fmt": "yuva420p", "picture": HALF_CLEAR} | NO_ALT_REF, HALF_BLACK),
        ("no name of a clip", {}, PICTURE),
    ],
)  # fmt: skip
def test_clips_are_shown_as_they_are_meant(
    name: str, options: dict[str, Any], wanted: Pictures, tmp_path: Path
) -> None:
    """Guards deep colours, and transparency, which FFmpeg's own VP8 and VP9 leave out, over black."""
    path = clip(tmp_path / (name if "." in name else "a.mp4"), **options).rename(tmp_path / name)
    pictures, notes = shown(path)
    assert notes == () and is_shown(pictures[0], wanted) and is_shown(pictures[1], wanted)


@pytest.mark.parametrize(("turned", "quarters"), [(90, -1), (180, 2), (-90, 1)])
def test_turned_clips_are_upright_and_of_their_upright_size(
    turned: int, quarters: int, tmp_path: Path
) -> None:
    """Guards phones' clips, which are not of the film's size as they are coded."""
    path = clip(tmp_path / "a.mp4", picture=np.ascontiguousarray(np.rot90(PICTURE, quarters)), turned=turned)
    pictures, notes = shown(path)
    assert notes == () and is_shown(pictures[1])


def test_one_frame_is_enough_where_one_is_needed(tmp_path: Path) -> None:
    """Guards clips of a single picture, and says how many are needed where that is more."""
    path = clip(tmp_path / "one.mp4", ticks=[0])
    assert is_shown(shown(path, 1)[0][0])
    with pytest.raises(
        LongTakeError, match=r"1 frames at the film's 24 fps; .* 4 such frames.*a longer clip"
    ):
        shown(path, 4)


def test_fields_are_woven_and_that_is_said(tmp_path: Path) -> None:
    """Guards interlaced clips: every row is there, and who sees combs knows why."""
    rows = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rows[::2] = 200
    interlaced = {"x264-params": "tff=1:qp=1", "flags": "+ilme+ildct"}
    pictures, notes = shown(clip(tmp_path / "a.mp4", picture=rows, options=interlaced))
    assert pictures[0][::2].min() > 190 and pictures[0][1::2].max() < 10
    (note,) = notes
    assert "is interlaced" in note and "-vf bwdif" in note


def test_what_is_fitted_is_said(tmp_path: Path) -> None:
    """Guards clips that are cropped, padded, stretched or resampled: in words, as for photos."""
    large = clip(tmp_path / "large.mp4", picture=PICTURE.repeat(2, 0).repeat(4, 1))
    for fit, words in (
        ("crop", "cropped to its middle"),
        ("pad", "padded with black"),
        ("scale", "stretched"),
    ):
        notes = shown(large, fit=fit)[1]  # type: ignore[arg-type]
        assert len(notes) == 1 and "is 192x64, the film 48x32" in notes[0] and words in notes[0]
    grey = clip(tmp_path / "a.mkv", "ffv1", "bgr0", lambda k: PICTURE * 0 + np.uint8(9 * k), [0, 1, 4, 5, 9])
    pictures, notes = shown(grey, 7, "crop")
    assert (pictures[:, 0, 0, 0] // 9).tolist() == [0, 1, 1, 1, 2, 3, 3]
    assert notes == (f"{grey} is resampled to the film's 24 fps",)


def test_files_that_cannot_be_shown_are_one_line_that_says_what_to_give(tmp_path: Path) -> None:
    """Guards files that are empty, cut off, of sound, of text, of another kind, a folder or not there."""
    whole = clip(tmp_path / "a.mp4").read_bytes()
    long = clip(
        tmp_path / "a.mkv", ticks=range(96), picture=lambda k: PICTURE + np.uint8(k % 30)
    ).read_bytes()
    image = Image.fromarray(PICTURE)
    image.save(tmp_path / "a.png")
    for ending in ("webp", "png", "avif"):
        image.save(tmp_path / f"moves.{ending}", save_all=True, append_images=[image.rotate(90)])
    Image.fromarray(HALF_CLEAR).save(tmp_path / "clear.avif")
    with av.open(tmp_path / "sound.mp4", "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "folder.png").mkdir()
    instead = ": give a whole clip or a photo$"
    photo = "as a photo .*: give a whole png, jpg, webp, bmp or tiff$"
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x08mdat"
    wrong: dict[str, tuple[bytes | None, str]] = {
        "empty.mp4": (b"", "it is empty.*" + instead),
        "text.mp4": (b"no film\n" * 20, "no video.*" + instead),
        "cut.mp4": (whole[:-300], "cut off.*" + instead),
        "cut.mkv": (long[: len(long) // 2], "is cut off after .* of 4.00 seconds" + instead),
        "sound.mp4": (None, "holds no video" + instead),
        "photo.mp4": ((tmp_path / "a.png").read_bytes(), "of a kind that is not opened.*" + instead),
        "folder.mp4": (None, "that is a folder"),
        "folder.png": (None, "that is a folder"),
        "gone.mp4": (None, "there is no such file"),
        "empty.png": (b"", photo),
        "text.jpg": (b"no photo", photo),
        "cut.png": ((tmp_path / "a.png").read_bytes()[:90], photo),
        "clip.png": (whole, "no photo of a kind that is read: make a png of it$"),
        "phone.jpg": (heic, "photo"),
        "moves.webp": (None, "it moves: make an mp4 or a gif of it$"),
        "moves.png": (None, "it moves: make an mp4 or a gif of it$"),
        "moves.avif": (None, "it moves: make an mp4 or a gif of it$"),
        "clear.avif": (None, "has transparency or tiles.*: make a png of it$"),
    }
    for name, (content, message) in wrong.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        for side in ("begin", "end"):
            with pytest.raises(LongTakeError, match=message) as error:
                read_given(tmp_path / name, FILM, 2, None, side)
            assert "\n" not in str(error.value) and name in str(error.value)


TURN = Image.Transpose
CODED = {
    1: None,
    2: TURN.FLIP_LEFT_RIGHT,
    3: TURN.ROTATE_180,
    4: TURN.FLIP_TOP_BOTTOM,
    5: TURN.TRANSPOSE,
    6: TURN.ROTATE_90,
    7: TURN.TRANSVERSE,
    8: TURN.ROTATE_270,
}  # how a photo is coded that EXIF turns upright by this number


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif", "avif"])
def test_photos_of_all_eight_orientations_are_upright(ending: str, tmp_path: Path) -> None:
    """Guards EXIF, and that what is told of a photo's size is of the photo that is seen."""
    for number, turn in CODED.items():
        exif, image = Image.Exif(), Image.fromarray(PICTURE)
        exif[0x112] = number
        path = tmp_path / f"{number}.{ending}"
        options: dict[str, Any] = {} if ending in ("png", "tif") else {"quality": 95}
        (image.transpose(turn) if turn is not None else image).save(path, exif=exif, **options)
        pictures, notes = shown(path, 1)
        assert is_shown(pictures[0]) and notes == (), (number, notes)


def test_photos_of_every_kind_of_pixel(tmp_path: Path) -> None:
    """Guards 16 bits, CMYK, palettes, grey, one bit and transparency; and a name that is another kind's."""
    image, grey = Image.fromarray(PICTURE), PICTURE[..., :1].repeat(3, 2)
    frame = av.VideoFrame.from_ndarray(PICTURE.astype(np.uint16) * 257, "rgb48be")
    with av.open(tmp_path / "deep.png", "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb48be"
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep grey.png")
    Image.fromarray(PICTURE[..., 0]).save(tmp_path / "grey.jpg", quality=95)
    image.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    for ending in ("png", "bmp", "tif"):
        image.quantize(16).save(tmp_path / f"palette.{ending}")
    for ending in ("png", "webp", "tif"):
        Image.fromarray(HALF_CLEAR).save(tmp_path / f"clear.{ending}", lossless=True)
    image.save(tmp_path / "a jpg.png", format="JPEG", quality=95)
    for path in tmp_path.iterdir():
        wanted = grey if "grey" in path.stem else HALF_BLACK if path.stem == "clear" else PICTURE
        assert is_shown(shown(path, 1)[0][0], wanted), path.name


PEAKS = """
import resource
from tests.test_odd_starts import *
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for film in (
    read_given({long!r}, FILM, 24, "crop")[0],
    list(read_frames({long!r}, 596)),
    read_given({photo!r}, FILM, 1, "scale")[0],
    read_given({large!r}, FILM, 1, "scale")[0],
):
    assert film[0].any() == is_shown(film[0]) and len(film) in (24, 4, 1)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in units of Linux")
def test_large_and_long_clips_take_little_memory(tmp_path: Path) -> None:
    """Guards 8k, a picture of which is 100 MB, and a clip whose pictures are 400 MB: a few are held at once."""
    large, long, photo = tmp_path / "8k.mp4", tmp_path / "long.mp4", tmp_path / "8k.jpg"
    eight_k = PICTURE.repeat(135, 0).repeat(160, 1)
    fast = {"preset": "ultrafast"}
    clip(large, picture=eight_k, ticks=[0], options=fast)
    Image.fromarray(eight_k).save(photo)
    still = np.zeros((360, 640, 3), np.uint8)
    clip(long, picture=lambda k: still, ticks=range(600), options=fast)
    paths = {"large": str(large), "long": str(long), "photo": str(photo)}
    run = subprocess.run(
        [sys.executable, "-c", PEAKS.format(**paths)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    peaks = [*map(int, run.stdout.split())]
    assert len(peaks) == 4 and all(map(lt, peaks, (120, 120, 250, 450))), peaks


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"g": "12", "bf": "5"}),
        ("a.mp4", "libx264", {"x264-params": "open-gop=1:keyint=12:bframes=5"}),
        ("a.mkv", "libx264", {"g": "12"}),
        ("a.webm", "libvpx", {"g": "12"}),
        ("a.ts", "libx264", {"g": "12"}),
        ("a.avi", "mpeg4", {"g": "12"}),
    ],
)
def test_the_last_pictures_are_those_of_the_whole_film(
    name: str, codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    """Guards reading from a picture on: after groups that refer to one another, and gaps; with an index or without."""
    dice = np.random.default_rng(0)
    noise = dice.integers(0, 256, (80, HEIGHT, WIDTH, 3), np.uint8)
    ticks = [*range(30), *range(33, 80)]
    path = clip(tmp_path / name, codec, picture=lambda k: noise[k], ticks=ticks, options=options)
    whole = list(read_frames(path))
    assert len(whole) == probe(path).num_frames
    for first in (0, 1, 17, 29, 31, 32, 47, 60, 77, len(whole) - 1, len(whole)):
        pairs = zip_longest(read_frames(path, first), whole[first:], fillvalue=np.empty(0))
        assert all(np.array_equal(a, b) for a, b in pairs), first
