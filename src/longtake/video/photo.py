"""Photos, read as they are shown: upright as their EXIF says, in the colours of a film's frames."""

from __future__ import annotations

import os
from fractions import Fraction

import av
import av.filter

from longtake.errors import LongTakeError
from longtake.files import printable
from longtake.video.frame import Fit, Pictures, fitted
from longtake.video.reader import VIDEO_ERRORS

# A photo is opened as one of these or not at all.
FORMATS = "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,jpegxl_pipe,mov"
EXIF = 31  # FFmpeg's number of a frame's EXIF, which PyAV stumbles over; what that says of turns is told apart from it


def read_photo(
    path: str | os.PathLike[str], width: int, height: int, fit: Fit
) -> tuple[Pictures, tuple[int, int]]:
    """A photo (height, width, 3), made that size as `fit` says, and the width and height that it has in its file.

    LongTakeError for a file that is no photo, or of a kind that cannot be read.
    """
    try:
        with (
            open(path, "rb") as file,
            av.open(file, "r", options={"format_whitelist": FORMATS}) as container,
        ):
            stream = container.streams.video[0]
            frame = next(container.decode(stream))
            graph = av.filter.Graph()
            plain = graph.add("sidedata", f"mode=delete:type={EXIF}")
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
            )
            graph.link_nodes(source, plain, graph.add("buffersink")).configure()
            graph.vpush(frame)
            frame = graph.vpull()
            shape = stream.sample_aspect_ratio or Fraction(1)
            return fitted(frame, shape, width, height, fit), (frame.width, frame.height)
    except (*VIDEO_ERRORS, IndexError, StopIteration) as error:
        raise LongTakeError(f"{printable(os.fspath(path))} cannot be read as a photo") from error
    except LongTakeError as error:
        raise LongTakeError(f"{printable(os.fspath(path))} {error}") from error
