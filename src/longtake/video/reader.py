"""Video files, read as players show them: upright pictures of square pixels, each at its own time.

A file is looked through once without decoding, for the times of its pictures, and then decoded as a stream. Its rate
is that of its times; what it says of its rate, and of its length, is checked against them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any

import av
import av.container
from av.stream import Disposition

from longtake.errors import LongTakeError
from longtake.files import printable
from longtake.video.frame import Fit, Pictures, fitted, shown, shown_size
from longtake.video.timeline import Mending, Timeline, slack

Source = str | os.PathLike[str] | IO[bytes]  # a file object must be able to seek
Decode = Callable[[av.Packet], list[av.VideoFrame]]
Projection = Callable[[av.VideoFrame, Fraction], Pictures]

SEEKABLE = ("mov,mp4", "matroska")  # kinds of file whose index tells where a time is
REORDERED = 16  # pictures, the most that are decoded before one that is shown before them
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # who decodes transparency too; FFmpeg's own leave it out
METADATA_PREFIX = "longtake."
VIDEO_ERRORS = (OSError, av.FFmpegError)
MOST_NESTED, LARGEST = 8, 2.0**64  # of the values that a film says of itself
# Film is opened as one of these or not at all: FFmpeg also knows playlists, which open other files.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,mpegts,mpegvideo,m4v,ogg,asf,gif,apng,ivf,h264,hevc,"
    "yuv4mpegpipe"
)
REASONS: dict[type[Exception], str] = {
    av.InvalidDataError: "it is damaged, cut off or no video",
    av.EOFError: "it is cut off",
    av.ArgumentError: "it is of a kind that is not opened: give mp4, mov, webm, mkv, avi, gif or the like",
}


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` finds: `num_frames` pictures of width x height pixels at `fps`, as `read_frames` gives them; the
    codec's name; and the values that the writer was given as metadata.

    is_constant: whether every picture of the file comes at its tick of `fps`. Otherwise `fps` is a choice, and pictures
    are repeated or left out. missing: the seconds that the file announces and does not hold, 0 if it is whole.
    is_damaged: whether packets are known to be wrong, which `read_frames` leaves out. is_interlaced: whether its rows
    are of two moments, as its first picture says; they are left as they are."""

    num_frames: int
    fps: Fraction
    width: int
    height: int
    codec: str
    metadata: dict[str, Any]
    is_constant: bool
    missing: Fraction
    is_damaged: bool
    is_interlaced: bool

    @property
    def seconds(self) -> Fraction:
        return self.num_frames / self.fps

    @property
    def notes(self) -> list[str]:
        """In words, what must be known of numbers that are measured in its pictures."""
        notes = []
        if not self.is_constant:
            notes.append(
                f"its pictures come at varying times, it is seen {float(self.fps):.6g} times a second"
            )
        if self.missing:
            notes.append(f"{_cut_off(self.seconds, self.missing)}, measured up to there")
        elif self.is_damaged:
            notes.append("parts of it are damaged, and left out")
        if self.is_interlaced:
            notes.append("it is interlaced, and its pictures are taken as they are, woven of two fields")
        return notes


@dataclass(frozen=True)
class TimedPicture:
    """A picture (H, W, 3), and the seconds of the film from which and until which it is shown."""

    start: Fraction
    end: Fraction
    pixels: Pictures


def probe(source: Source) -> VideoInfo:
    """Reads a film's facts; the times of all its pictures are looked at, only the first one is decoded. LongTakeError
    if it is not a video file, or none that can be shown."""
    timeline = _timeline(source)
    with _opened(source) as (container, stream), closing(_decoded(container, stream, False)) as frames:
        timeline.check_jumps()
        first = next(frames, None)
        if first is None:
            raise LongTakeError("holds no pictures")
        shown(*first)
        width, height = shown_size(*first)
        return VideoInfo(
            num_frames=timeline.num_frames,
            fps=timeline.rate,
            width=width,
            height=height,
            codec=stream.codec_context.codec.canonical_name,
            metadata=_metadata(container),
            is_constant=timeline.is_constant,
            missing=timeline.missing,
            is_damaged=timeline.is_damaged,
            is_interlaced=first[0].interlaced_frame,
        )


def read_frames(source: Source, first: int = 0) -> Iterator[Pictures]:
    """Yields a film's pictures (H, W, 3) one by one, at the rate that `probe` tells: each of them once, or, if they
    come at varying times, the one that is shown at each tick.

    first: the number of the first of them; where the file has an index, those before it are not decoded.
    Lenient: of a film that is cut off, all that is there. LongTakeError if it is not a video file, or is damaged."""
    timeline = _timeline(source)
    begin = timeline.begin + first / timeline.rate if first else None
    yield from resampled(_timed(source, timeline, shown, False, begin), timeline.rate, begin)


def read_timed(source: Source, width: int, height: int, fit: Fit = "crop") -> Iterator[TimedPicture]:
    """Yields a film's pictures with their times, upright, made width x height as `fit` says.

    A picture is shown until the next one, the last one for as long as the file says, and a tick of the film's rate at
    least. Strict where `read_frames` is lenient: LongTakeError, before any picture where that is possible, for a film
    that is damaged or ends early."""

    def project(frame: av.VideoFrame, pixel_shape: Fraction) -> Pictures:
        return fitted(frame, pixel_shape, width, height, fit)

    yield from _timed(source, _timeline(source), project, True)


def resampled(
    pictures: Iterable[TimedPicture], fps: Fraction, begin: Fraction | None = None
) -> Iterator[Pictures]:
    """The picture shown at each tick of a clock that ticks `fps` times a second, from second `begin` on, or from the
    first picture."""
    tick = None if begin is None else begin + slack(fps)
    for picture in pictures:
        tick = picture.start + slack(fps) if tick is None else tick
        while tick < picture.end:
            yield picture.pixels
            tick += 1 / fps


def _timeline(source: Source) -> Timeline:
    with _opened(source) as (container, stream):
        return Timeline.of(container, stream)


def _timed(
    source: Source, timeline: Timeline, project: Projection, strict: bool, begin: Fraction | None = None
) -> Iterator[TimedPicture]:
    """Each picture, projected, from when it is shown until the next one is. begin: those that end before this second
    may be left out."""
    with _opened(source) as (container, stream):
        early = (begin or 0) - REORDERED / timeline.rate
        if early > timeline.begin and container.format.name.startswith(SEEKABLE) and not timeline.in_order:
            container.seek(math.floor(early / timeline.time_base), stream=stream)
        yield from _timed_in(container, stream, timeline, project, strict)


def _timed_in(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    timeline: Timeline,
    project: Projection,
    strict: bool,
) -> Iterator[TimedPicture]:
    """Each picture from where the container is, as `_timed`."""
    with closing(_decoded(container, stream, strict)) as frames:
        if strict and timeline.missing:
            raise LongTakeError(f"is {_cut_off(timeline.num_frames / timeline.rate, timeline.missing)}")
        if strict and timeline.is_damaged:
            raise LongTakeError("is damaged or cut off")
        start: Fraction | None = None
        pixels = None
        for number, (frame, pixel_shape) in enumerate(frames):
            next_start = timeline.start(frame, number, start)
            if start is not None and pixels is not None:
                if next_start < start:
                    raise LongTakeError("is damaged: its pictures are out of order")
                yield TimedPicture(start, next_start, pixels)
            start, pixels = next_start, project(frame, pixel_shape)
        if start is None or pixels is None:
            raise LongTakeError("holds no pictures")
        yield TimedPicture(start, max(timeline.end, start + 1 / timeline.rate), pixels)


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream, strict: bool
) -> Generator[tuple[av.VideoFrame, Fraction]]:
    """Each frame, and how many times as wide as high its pixels are: as the container says, or else as the coded film
    says, which may change."""
    codec, container_shape = stream.codec_context, stream.sample_aspect_ratio
    told_by_codec = not container_shape or container_shape == codec.sample_aspect_ratio
    mend, decode, begun = Mending(container, stream), _decoder(stream), False
    for packet in container.demux(stream):
        if packet.is_corrupt and strict:
            raise LongTakeError("is damaged or cut off")
        if packet.is_corrupt:
            continue
        mend(packet)
        try:
            frames = decode(packet)
        except av.InvalidDataError:
            if strict or begun:  # recordings of broadcasts begin anywhere
                raise
            continue
        for frame in frames:
            begun = True
            if frame.is_corrupt and strict:
                raise LongTakeError("is damaged or cut off")
            pixel_shape = codec.sample_aspect_ratio if told_by_codec else container_shape
            yield frame, pixel_shape or Fraction(1)


def _decoder(stream: av.VideoStream) -> Decode:
    """What makes frames of a stream's packets, transparency included."""
    name = WITH_ALPHA.get(stream.codec_context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return stream.decode
    try:
        decoder = av.CodecContext.create(name, "r")
    except ValueError as error:
        raise LongTakeError(f"is transparent, which {name} alone can read: make a mov of it") from error
    assert isinstance(decoder, av.VideoCodecContext)
    return decoder.decode


@contextmanager
def _opened(source: Source) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """A film's container, and the stream that a player shows. Errors name the file if `source` is a path."""
    with _named(source), ExitStack() as stack:
        try:
            file = (
                stack.enter_context(open(source, "rb")) if isinstance(source, str | os.PathLike) else source
            )
            if not file.seek(0, os.SEEK_END):
                raise LongTakeError("cannot be read as a video file (it is empty)")
            file.seek(0)
            options = {"format_whitelist": FORMATS}
            container = stack.enter_context(av.open(file, "r", options=options, metadata_errors="ignore"))
        except VIDEO_ERRORS as error:
            reason = REASONS.get(type(error), error.strerror)
            raise LongTakeError(f"cannot be read as a video file ({reason})") from error
        try:
            yield container, _best(container)
        except VIDEO_ERRORS as error:
            raise LongTakeError(f"is damaged ({error.strerror})") from error


@contextmanager
def _named(source: Source) -> Iterator[None]:
    try:
        yield
    except LongTakeError as error:
        if not isinstance(source, str | os.PathLike):
            raise
        raise LongTakeError(f"{printable(os.fspath(source))} {error}") from error


def _best(container: av.container.InputContainer) -> av.VideoStream:
    """The stream of moving pictures that a player shows."""
    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:
        raise LongTakeError("holds no video")
    if stream.codec_context is None:
        raise LongTakeError("holds no video of a kind that can be read")
    assert isinstance(stream, av.VideoStream)
    return stream


def _metadata(container: av.container.InputContainer) -> dict[str, Any]:
    """The values that the writer was given."""
    return {
        key.removeprefix(METADATA_PREFIX): _told(value)
        for key, value in container.metadata.items()
        if key.startswith(METADATA_PREFIX)
    }


def _told(value: str) -> Any:
    """A value that the writer was given, or, where another program wrote it, its text."""
    try:
        told = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return told if _is_plain(told, MOST_NESTED) else value


def _is_plain(told: Any, levels: int) -> bool:
    """Whether a value of JSON is one that a film is given: finite, of 64 bits, and of so many levels at most."""
    if isinstance(told, dict | list):
        inner = told.values() if isinstance(told, dict) else told
        return levels > 0 and all(_is_plain(each, levels - 1) for each in inner)
    return not isinstance(told, int | float) or abs(told) < LARGEST


def _cut_off(held: Fraction, missing: Fraction) -> str:
    return f"cut off after {float(held):.2f} of {float(held + missing):.2f} seconds"
