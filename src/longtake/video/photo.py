"""Photos, read as they are shown: upright as their EXIF says, in the colours of a film's frames."""

from __future__ import annotations

import os
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import av.container
import av.filter

from longtake.errors import LongTakeError
from longtake.files import printable
from longtake.video.frame import Fit, Pictures, fitted, shown_size
from longtake.video.reader import VIDEO_ERRORS

# A photo is opened as one of these or not at all.
FORMATS = "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,jpegxl_pipe,mov"
EXIF = 31  # FFmpeg's number of a frame's EXIF, which PyAV stumbles over; what that says of turns is told apart from it
MOVES = b"ANIM", b"acTL"  # the chunk that a webp, or a png, has before its pictures if there are several
PICTURES = b"IDAT"  # of a png
INSTEAD = "make a png of it"


def read_photo(
    path: str | os.PathLike[str], width: int, height: int, fit: Fit
) -> tuple[Pictures, tuple[int, int]]:
    """A photo (height, width, 3), made that size as `fit` says, and the width and height at which it is shown.

    LongTakeError, which says what to give instead, for a file that is no photo, or of a kind that cannot be read.
    """
    name = printable(os.fspath(path))
    try:
        content = Path(path).read_bytes()
        frame, pixel_shape = _decoded(content)
        return fitted(frame, pixel_shape, width, height, fit), shown_size(frame, pixel_shape)
    except (*VIDEO_ERRORS, IndexError, StopIteration) as error:
        why = error.strerror if isinstance(error, OSError) and not isinstance(error, av.FFmpegError) else None
        why = why or "it is damaged, cut off or no photo"
        raise LongTakeError(
            f"{name} cannot be read as a photo ({why}): give a whole png, jpg, webp, bmp or tiff"
        ) from error
    except LongTakeError as error:
        raise LongTakeError(f"{name} {error}") from error


def _decoded(content: bytes) -> tuple[av.VideoFrame, Fraction]:
    """The frame of a photo, and how many times as wide as high its pixels are."""
    if any(chunk in content.partition(PICTURES)[0] for chunk in MOVES):
        raise LongTakeError("is no photo, it moves: make an mp4 or a gif of it")
    # Without a name: FFmpeg knows kinds of files by that too.
    with av.open(BytesIO(content), "r", options={"format_whitelist": FORMATS}) as container:
        _check_mov(container)
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        graph = av.filter.Graph()
        plain = graph.add("sidedata", f"mode=delete:type={EXIF}")
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
        )
        graph.link_nodes(source, plain, graph.add("buffersink")).configure()
        graph.vpush(frame)
        return graph.vpull(), stream.sample_aspect_ratio or Fraction(1)


def _check_mov(container: av.container.InputContainer) -> None:
    """LongTakeError for what shares avif's kind of file, and for an avif of which one stream is not all."""
    if not container.format.name.startswith("mov"):
        return
    brands = container.metadata.get("compatible_brands", "")
    if "avif" not in brands:
        raise LongTakeError(f"is no photo of a kind that is read: {INSTEAD}")
    if "avis" in brands:
        raise LongTakeError("is no photo, it moves: make an mp4 or a gif of it")
    if len(container.streams.video) > 1:
        raise LongTakeError(f"has transparency or tiles, which are not read of an avif: {INSTEAD}")
