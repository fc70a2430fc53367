"""One decoded frame as a player shows it: upright, with square pixels, in the colours of sRGB's gamut and curve.

Orientation: display matrices of quarter turns and mirrors, all eight. Colour: the frame's own matrix and range; where
it names none, BT.709 for film of high definition, BT.601 below, limited range. What would need tone mapping or
another gamut is refused by name. Transparency lies over black."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from numpy.typing import NDArray

from longtake.errors import LongTakeError

Pictures = NDArray[np.uint8]
Fit = Literal["crop", "pad", "scale"]  # what becomes of a picture of another shape

# Without accuracy white comes out at 253, and every conversion to RGB is darker by one.
SCALER = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)
HD_WIDTH, HD_HEIGHT = 1280, 720
SKEW = 1 / 50  # about a degree
# H.273's numbers of matrices and curves
UNSPECIFIED = 2
UNTOLD = {0, UNSPECIFIED, 3}  # of a frame that is not RGB
MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
}
# Lightness of limited range, 16 to 235, in full range
EXPANDED = ((np.arange(256) - 16) * 255 / 219).round().clip(0, 255).astype(np.uint8)
HDR: dict[int, str] = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}
UNDISPLAYED: dict[int, str] = {
    ColorTrc.LINEAR: "linear light",
    ColorTrc.LOG: "a logarithmic curve",
    ColorTrc.LOG_SQRT: "a logarithmic curve",
    ColorTrc.SMPTE428: "digital cinema's curve",
}
WIDE_MATRICES = range(9, 16)  # those of BT.2020, and those that go with wide gamuts or HDR alone
NARROWED = "zscale=p=bt709:t=bt709:m=bt709:r=tv,format=yuv420p"
TONE_MAPPED = f"zscale=t=linear:npl=100,tonemap=hable,{NARROWED}"
DISPLAY_MATRIX, DOLBY_VISION = Type.DISPLAYMATRIX, Type.DOVI_METADATA


def shown(frame: av.VideoFrame, pixel_shape: Fraction) -> Pictures:
    """The picture (H, W, 3) of a frame whose pixels are `pixel_shape` times as wide as high.

    It has as many rows as the frame, or columns if that is a quarter turned. LongTakeError for a frame that cannot be
    shown as it is meant."""
    return _turned(_rgb(frame, round(frame.width * pixel_shape), frame.height), orientation(frame))


def fitted(
    frame: av.VideoFrame, pixel_shape: Fraction, width: int, height: int, fit: Fit = "crop"
) -> Pictures:
    """A frame as `shown` shows it, of width x height: scaled to cover that and cropped to its middle, scaled to fit
    into it and padded with black, or stretched."""
    turn = orientation(frame)
    if turn.transposed:
        width, height = height, width
    if fit == "scale":
        return _turned(_rgb(frame, width, height), turn)
    natural = frame.width * pixel_shape
    scales = width / natural, Fraction(height, frame.height)
    if fit == "pad":
        wide, high = (max(1, round(side * min(scales))) for side in (natural, frame.height))
        left, top = (width - wide) // 2, (height - high) // 2
        picture = np.zeros((height, width, 3), np.uint8)
        picture[top : top + high, left : left + wide] = _rgb(frame, wide, high)
        return _turned(picture, turn)
    scale = max(scales)
    wide, high = max(width, round(natural * scale)), max(height, round(frame.height * scale))
    left, top = (wide - width) // 2, (high - height) // 2
    return _turned(_rgb(frame, wide, high)[top : top + height, left : left + width], turn)


def shown_size(frame: av.VideoFrame, pixel_shape: Fraction) -> tuple[int, int]:
    """The width and height of the picture that `shown` gives of a frame."""
    width, height = round(frame.width * pixel_shape), frame.height
    return (height, width) if orientation(frame).transposed else (width, height)


@dataclass(frozen=True)
class Orientation:
    """How the rows and columns of a frame become those of its picture: exchanged first, then mirrored."""

    transposed: bool = False
    mirrored_columns: bool = False
    mirrored_rows: bool = False


def orientation(frame: av.VideoFrame) -> Orientation:
    """What the display matrix of a frame says; one that is not invertible says nothing.

    LongTakeError for one that turns by anything but quarters of a circle."""
    side_data: Any = frame.side_data
    if DISPLAY_MATRIX not in side_data:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(side_data[DISPLAY_MATRIX]))
    if a * d == b * c:
        return Orientation()
    if max(abs(b), abs(c)) <= SKEW * min(abs(a), abs(d)):
        return Orientation(False, a < 0, d < 0)
    if max(abs(a), abs(d)) <= SKEW * min(abs(b), abs(c)):
        return Orientation(True, c < 0, b < 0)
    raise LongTakeError(
        f"is to be shown turned by {frame.rotation} degrees, and only quarter turns are known:"
        " ffmpeg -i FILE NEW.mp4 turns it"
    )


def _turned(picture: Pictures, turn: Orientation) -> Pictures:
    if turn.transposed:
        picture = picture.swapaxes(0, 1)
    rows, columns = (-1 if mirrored else 1 for mirrored in (turn.mirrored_rows, turn.mirrored_columns))
    return np.ascontiguousarray(picture[::rows, ::columns])


def _rgb(frame: av.VideoFrame, width: int, height: int) -> Pictures:
    """The picture (height, width, 3) of a frame as it is coded, not turned."""
    _check_colour(frame)
    frame = _over_black(frame)
    picture = frame.reformat(
        width,
        height,
        "rgb24",
        src_colorspace=_matrix(frame),
        dst_color_range=ColorRange.JPEG,
        interpolation=SCALER,
        threads=1,
    )
    pixels = np.asarray(picture.to_ndarray(), np.uint8)
    return EXPANDED[pixels] if _is_grey(frame) and frame.color_range == ColorRange.MPEG else pixels


def _is_grey(frame: av.VideoFrame) -> bool:
    """Whether a frame is of lightness alone; swscale takes such for full range, whatever it is told."""
    colours = [part for part in frame.format.components if not part.is_alpha]
    return len(colours) == 1 and not frame.format.has_palette


def _check_colour(frame: av.VideoFrame) -> None:
    """LongTakeError for colours that would look wrong if they were taken as they are coded."""
    side_data: Any = frame.side_data
    if frame.color_trc in HDR:
        raise LongTakeError(f"is HDR ({HDR[frame.color_trc]}): {_convert(TONE_MAPPED)}")
    if frame.color_trc == UNSPECIFIED and DOLBY_VISION in side_data:
        raise LongTakeError(f"is HDR (Dolby Vision): {_convert(TONE_MAPPED)}")
    if frame.color_trc in UNDISPLAYED:
        raise LongTakeError(f"has {UNDISPLAYED[frame.color_trc]}: {_convert(NARROWED)}")
    if frame.color_primaries == ColorPrimaries.BT2020 or frame.colorspace in WIDE_MATRICES:
        raise LongTakeError(f"has the wide gamut of BT.2020: {_convert(NARROWED)}")


def _convert(filters: str) -> str:
    return f"ffmpeg -i FILE -vf {filters} NEW.mp4 makes a film of it that can be read"


def _matrix(frame: av.VideoFrame) -> int | None:
    """The matrix that makes RGB of a frame, in swscale's numbers; None where there is none to be applied."""
    if frame.format.is_rgb or frame.format.has_palette:
        return None
    if frame.colorspace in MATRICES:
        return MATRICES[frame.colorspace]
    if frame.colorspace not in UNTOLD:
        raise LongTakeError(f"has colours of an unknown kind (matrix {frame.colorspace} of H.273)")
    is_hd = frame.width >= HD_WIDTH or frame.height >= HD_HEIGHT
    return Colorspace.ITU709 if is_hd else Colorspace.ITU601


def _over_black(frame: av.VideoFrame) -> av.VideoFrame:
    """The same frame without transparency."""
    if not frame.format.has_palette and not any(part.is_alpha for part in frame.format.components):
        return frame
    rgba = frame.reformat(
        format="rgba", src_colorspace=_matrix(frame), interpolation=SCALER, threads=1
    ).to_ndarray()
    colours = np.empty((*rgba.shape[:2], 3), np.uint8)
    for row, line in enumerate(rgba.astype(np.uint8, copy=False)):  # one by one, for large pictures' memory
        colours[row] = (line[:, :3].astype(np.uint16) * line[:, 3:] + 127) // 255
    return av.VideoFrame.from_ndarray(colours, "rgb24")
