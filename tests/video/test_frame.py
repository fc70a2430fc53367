"""Pictures as players show them: turned, mirrored, widened, in their own colours."""

import io
import re
import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import IO, Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from longtake.errors import LongTakeError
from longtake.video import Pictures, probe, read_frames, read_timed
from longtake.video.frame import SCALER

ONE = 1 << 16
QUARTERS = {  # display matrix [[a b] [c d]]: red blue / black green, as it is then shown
    (1, 0, 0, 1): "RB/KG",
    (0, 1, -1, 0): "KR/GB",
    (-1, 0, 0, -1): "GK/BR",
    (0, -1, 1, 0): "BG/RK",
    (-1, 0, 0, 1): "BR/GK",
    (1, 0, 0, -1): "KG/RB",
    (0, 1, 1, 0): "RK/BG",
    (0, -1, -1, 0): "GB/KR",
}


def quarters(height: int = 64, width: int = 128) -> Pictures:
    """Red and blue above black and green: every turn and every mirror of it looks different."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2, 0] = 255
    picture[: height // 2, width // 2 :, 2] = 255
    picture[height // 2 :, width // 2 :, 1] = 255
    return picture


def seen(picture: Pictures) -> str:
    """The four quarters of a picture as letters."""
    height, width = picture.shape[:2]
    rows = [[picture[y * height // 4, x * width // 4] for x in (1, 3)] for y in (1, 3)]
    return "/".join("".join("K" if p.max() < 90 else "RGB"[int(p.argmax())] for p in row) for row in rows)


def encoded(
    picture: Pictures,
    *,
    codec: str = "libx264",
    format_: str = "mp4",
    pix_fmt: str = "yuv444p",
    pixel_shape: Fraction | int = 1,
    options: dict[str, str] | None = None,
    convert: dict[str, Any] | None = None,
    tags: Mapping[str, int] | None = None,
) -> IO[bytes]:
    """Three times the same picture as another program writes it; `convert` makes YUV of it, `tags` say what it is."""
    file = io.BytesIO()
    with av.open(file, "w", format=format_) as container:
        stream = container.add_stream(codec, rate=24, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = pix_fmt
        context = stream.codec_context
        context.sample_aspect_ratio = Fraction(pixel_shape)
        for name, value in (tags or {}).items():
            setattr(context, name, value)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            frame = frame.reformat(format=pix_fmt, interpolation=SCALER, **(convert or {}))
            for name, value in (tags or {}).items():
                setattr(frame, name, value)
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    return file


def with_matrix(file: IO[bytes], *matrix: float) -> IO[bytes]:
    """An mp4 whose only track has the display matrix [[a b] [c d]]."""
    data = bytearray(file.read())
    at = data.find(b"tkhd") + 4
    at += 40 if data[at] == 0 else 52
    a, b, c, d = (round(ONE * value) for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return io.BytesIO(bytes(data))


def first(file: IO[bytes]) -> Pictures:
    picture = next(read_frames(file))
    info = probe(file)
    assert picture.shape == (info.height, info.width, 3)
    return picture


@pytest.mark.parametrize("matrix", QUARTERS)
def test_all_eight_orientations_are_upright(matrix: tuple[int, int, int, int]) -> None:
    """Guards phones held any way, front cameras that mirror, and that every way of reading sees the same."""
    file = with_matrix(encoded(quarters()), *matrix)
    size = (128, 64) if matrix[1] else (64, 128)
    picture = first(file)
    assert (picture.shape[:2], seen(picture)) == (size, QUARTERS[matrix])
    timed = next(read_timed(file, size[1], size[0])).pixels
    assert np.array_equal(timed, picture)
    assert seen(next(read_timed(file, 32, 32)).pixels) == QUARTERS[matrix]


def test_matrices_that_are_no_turns() -> None:
    """Guards matrices of noughts, which say nothing, nearly straight ones, and slanted film, which is named."""
    for matrix in ((0, 0, 0, 0), (0.999, 0.005, -0.005, 0.999)):
        assert seen(first(with_matrix(encoded(quarters()), *matrix))) == "RB/KG"
    for reading in (probe, lambda file: next(read_frames(file)), lambda file: next(read_timed(file, 32, 32))):
        slanted = with_matrix(encoded(quarters()), 0.866, 0.5, -0.5, 0.866)
        with pytest.raises(
            LongTakeError, match=r"is to be shown turned by -?30 degrees, and only quarter turns"
        ):
            reading(slanted)


@pytest.mark.parametrize(("shape", "width"), [(2, 256), (Fraction(1, 2), 64), (Fraction(16, 15), 137)])
def test_pixels_become_square(shape: Fraction, width: int) -> None:
    """Guards anamorphic film: as many rows as before, and the columns that a player shows; turned, it is the rows."""
    for format_ in ("mp4", "matroska"):
        file = encoded(quarters(), pixel_shape=shape, format_=format_)
        picture = first(file)
        assert (picture.shape, seen(picture)) == ((64, width, 3), "RB/KG")
    turned = first(with_matrix(encoded(quarters(), pixel_shape=shape), 0, 1, -1, 0))
    assert (turned.shape, seen(turned)) == ((width, 64, 3), "KR/GB")
    square = next(read_timed(encoded(quarters(), pixel_shape=2), 64, 64)).pixels
    assert seen(square) == "RB/KG"


def test_the_containers_pixel_shape_comes_first() -> None:
    """Guards files that were given another shape without encoding them anew."""
    data = encoded(quarters(), pixel_shape=2).read()
    pasp = data.find(b"pasp") + 4
    data = data[:pasp] + struct.pack(">2I", 1, 1) + data[pasp + 8 :]
    assert first(io.BytesIO(data)).shape == (64, 128, 3)


BARS = np.array(
    [[200, 40, 40], [40, 160, 60], [50, 60, 190], [255, 255, 255], [0, 0, 0], [128, 128, 128]], np.uint8
)


def bars(height: int, width: int) -> Pictures:
    return np.repeat(BARS, width // 6, axis=0)[None].repeat(height, axis=0)


def off(file: IO[bytes]) -> int:
    """The largest error in the middles of the bars."""
    picture = first(file).astype(int)
    step = picture.shape[1] // 6
    return int(np.abs(picture[picture.shape[0] // 2, step // 2 :: step][:6] - BARS).max())


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "tag"), [("ITU709", 1), ("ITU601", 5), ("ITU601", 6), ("SMPTE240M", 7)])
def test_matrix_and_range_are_those_of_the_file(matrix: str, tag: int, full: bool) -> None:
    """Guards greens that are 20 off, and greys that are 16 to 235: the file says how its colours are made."""
    span = ColorRange.JPEG if full else ColorRange.MPEG
    convert = {"dst_colorspace": Colorspace[matrix], "dst_color_range": span}
    assert off(encoded(bars(48, 96), convert=convert, tags={"colorspace": tag, "color_range": span})) <= 3


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((720, 1278), "ITU709"), ((536, 1284), "ITU709"), ((576, 720), "ITU601"), ((48, 96), "ITU601")],
)
def test_film_without_tags_is_what_players_take_it_for(size: tuple[int, int], matrix: str) -> None:
    """Guards the decision: high definition, by its lines or its columns, is BT.709, what is smaller BT.601."""
    file = encoded(
        bars(*size), convert={"dst_colorspace": Colorspace[matrix]}, options={"preset": "ultrafast"}
    )
    assert off(file) <= 3


@pytest.mark.parametrize(
    ("codec", "format_", "pix_fmt"),
    [
        ("libx264", "mp4", "yuv444p10le"),
        ("libx264rgb", "matroska", "rgb24"),
        ("ffv1", "matroska", "bgr0"),
        ("ffv1", "matroska", "bgra"),
        ("apng", "apng", "rgb24"),
        ("apng", "apng", "rgba"),
        ("png", "mov", "rgb24"),
        ("rawvideo", "avi", "bgr24"),
        ("mjpeg", "avi", "yuvj444p"),
        ("mjpeg", "avi", "yuvj420p"),
    ],
)
def test_other_kinds_of_pixels(codec: str, format_: str, pix_fmt: str) -> None:
    """Guards ten bits, RGB, JPEG's full range and formats with transparency: they look the same."""
    convert = {"dst_colorspace": Colorspace.ITU601} if pix_fmt.startswith("yuv") else {}
    options = {"crf": "4"} if codec.startswith("libx264") else {}
    assert (
        off(
            encoded(
                bars(48, 96), codec=codec, format_=format_, pix_fmt=pix_fmt, convert=convert, options=options
            )
        )
        <= 4
    )


def test_grey_of_both_ranges() -> None:
    """Guards film of lightness alone: swscale takes it for full range, whatever it says."""
    ramp = np.arange(16, 236, 20, dtype=np.uint8).repeat(8)[None, :, None].repeat(32, 0).repeat(3, 2)
    full, limited = (
        first(encoded(ramp, codec="ffv1", format_="matroska", pix_fmt="gray", tags={"color_range": span}))[
            16, 4::8, 0
        ]
        for span in (ColorRange.JPEG, ColorRange.MPEG)
    )
    assert full.tolist() == ramp[0, 4::8, 0].tolist()
    assert limited[[0, -1]].tolist() == [0, 233] and np.abs(limited - (full - 16.0) * 255 / 219).max() <= 0.5


def test_transparency_lies_over_black() -> None:
    """Guards colours that nobody sees: what is transparent is black, what is half so half as light."""
    file = io.BytesIO()
    picture = np.full((32, 96, 4), 200, np.uint8)
    picture[..., 3] = np.array([0, 128, 255], np.uint8).repeat(32)
    with av.open(file, "w", format="apng") as container:
        stream = container.add_stream("apng", rate=24)
        stream.height, stream.width, stream.pix_fmt = 32, 96, "rgba"
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(picture ^ np.array([number, 0, 0, 0], np.uint8), "rgba")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert first(file)[16, 16::32, 1].tolist() == [0, 100, 200]


HDR: list[tuple[dict[str, int], str]] = [
    (
        {"color_trc": ColorTrc.SMPTE2084, "color_primaries": ColorPrimaries.BT2020, "colorspace": 9},
        "HDR (PQ)",
    ),
    (
        {"color_trc": ColorTrc.ARIB_STD_B67, "color_primaries": ColorPrimaries.BT2020, "colorspace": 9},
        "HDR (HLG)",
    ),
    ({"color_trc": ColorTrc.SMPTE2084}, "HDR (PQ)"),
    ({"color_primaries": ColorPrimaries.BT2020}, "wide gamut of BT.2020"),
    ({"colorspace": 9}, "wide gamut of BT.2020"),
    ({"color_trc": ColorTrc.LINEAR}, "linear light"),
    ({"color_trc": ColorTrc.LOG}, "a logarithmic curve"),
]


@pytest.mark.parametrize(("tags", "words"), HDR)
@pytest.mark.parametrize("format_", ["mp4", "matroska"])
def test_hdr_is_named_and_a_way_out_is_shown(tags: dict[str, int], words: str, format_: str) -> None:
    """Guards HDR that is taken as it is coded, grey and pale: it is refused by every way of reading."""
    ways: list[Callable[[IO[bytes]], Any]] = [
        probe,
        lambda file: next(read_frames(file)),
        lambda file: next(read_timed(file, 32, 32)),
    ]
    for reading in ways:
        with pytest.raises(LongTakeError, match=re.escape(words)) as error:
            reading(encoded(bars(48, 96), pix_fmt="yuv420p10le", format_=format_, tags=tags))
        assert "ffmpeg -i FILE -vf " in str(error.value) and "\n" not in str(error.value)


def test_hdr_that_the_container_alone_tells_is_named() -> None:
    """Guards films whose coded stream says nothing, as those remuxed from some cameras."""
    data = encoded(
        bars(48, 96),
        format_="matroska",
        codec="ffv1",
        pix_fmt="yuv420p10le",
        tags={"color_trc": ColorTrc.SMPTE2084},
    )
    with pytest.raises(LongTakeError, match="HDR"):
        probe(data)


@pytest.mark.parametrize("size", [(48, 32), (96, 64), (200, 100), (33, 21)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuvj420p"])
def test_scaling_keeps_white_white(size: tuple[int, int], pix_fmt: str) -> None:
    """Guards whites of 253, and greys that are two too dark: any scale, any subsampling."""
    for level in (0, 64, 128, 255):
        convert = {"dst_color_range": ColorRange.JPEG if pix_fmt.startswith("yuvj") else ColorRange.MPEG}
        flat = np.full((64, 96, 3), level, np.uint8)
        pixels = next(read_timed(encoded(flat, pix_fmt=pix_fmt, convert=convert), *size)).pixels
        assert np.abs(pixels.astype(int) - level).max() <= (level in (64, 128))
