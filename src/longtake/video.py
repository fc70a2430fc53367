"""Video files, written and read as streams; the only module that opens them.

Knows nothing of models or prompts. Pictures are uint8 RGB arrays (H, W, 3), several of them (F, H, W, 3).

A film is written to `NAME.part` beside its target and renamed when complete. The part is a fragmented mp4
with one fragment a second, unbuffered, so that every complete second of it plays after a kill; closing turns
it into an ordinary mp4. The encoder is held to one thread and a look-ahead of four pictures: a second then
reaches the disk five pictures after it is complete, and equal pictures give equal bytes whatever the
machine's core count."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import av
import av.container
import av.video
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from longtake.errors import LongTakeError, OutputError

Pictures = NDArray[np.uint8]

SUFFIX = ".mp4"
METADATA_PREFIX = "longtake."
# 0.5 bit a pixel is what rich pictures take at this quality; flat ones take a tenth of it.
BYTES_PER_PIXEL = 0.5 / 8
FILE_OVERHEAD = 1 << 20
MUXER = {"movflags": "hybrid_fragmented+frag_keyframe+use_metadata_tags", "flush_packets": "1"}
ENCODER = {"x264-params": "bframes=0:scenecut=0:rc-lookahead=4:sync-lookahead=0"}
VIDEO_ERRORS = (OSError, av.FFmpegError)
# Film is opened as one of these or not at all: FFmpeg also knows playlists, which open other files.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"
FOREIGN = {"format_whitelist": FORMATS}
ANY_FILM = {
    "format_whitelist": f"{FORMATS},avi,flv,mpeg,mpegts,mpegvideo,ogg,asf,gif,apng,ivf,h264,hevc,yuv4mpegpipe"
}
LONGEST_PICTURE = Fraction(1)
ROUNDING = Fraction(1, 1000)  # Matroska keeps times in whole milliseconds


def part_path(path: str | os.PathLike[str]) -> Path:
    """Where a film for `path` grows until it is complete."""
    target = Path(path)
    return target.with_name(target.name + ".part")


def film_bytes(width: int, height: int, num_frames: int) -> int:
    """A generous estimate of the bytes that `num_frames` pictures of width x height pixels take on disk."""
    return round(width * height * num_frames * BYTES_PER_PIXEL) + FILE_OVERHEAD


def check_output(
    path: str | os.PathLike[str], *, suffix: str = SUFFIX, overwrite: bool = False, num_bytes: int = 0
) -> None:
    """Raises OutputError, having written nothing, unless a file of about `num_bytes` can be written to
    `path`."""
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target} is a folder: name a {suffix} file in it")
    if target.suffix.lower() != suffix:
        raise OutputError(f"{target} must end in {suffix}, not in {target.suffix or 'no suffix'!r}")
    if not target.parent.is_dir():
        raise OutputError(f"the folder {target.parent} does not exist: make it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {target.parent} is not writable")
    if not overwrite:
        for existing in (target, part_path(target)):
            if existing.exists():
                raise OutputError(f"{existing} exists: choose another name or allow it to be overwritten")
    free = shutil.disk_usage(target.parent).free
    if free < num_bytes:
        raise OutputError(
            f"too little disk for {target}: it may take {num_bytes / 1e6:.1f} MB,"
            f" {free / 1e6:.1f} MB are free"
        )


class VideoWriter:
    """A context manager that encodes pictures to an H.264 mp4 (yuv420p, bt709, one key frame a second).

    `width` and `height` are even numbers of pixels, `fps` is exact (23.976 is `Fraction(24000, 1001)`), and
    every value of `metadata` is stored as JSON under its own key, before the first picture. `crf` is x264's
    constant quality: 6 more take about half the bytes. OutputError on
    entering when the path is no good (see `check_output`), and from `write` when the disk gives out.

    Left normally, the film is at `path`. Left by an exception, what was written is at `part` and plays; if
    nothing was written, nothing is there."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        width: int,
        height: int,
        fps: Fraction | int,
        metadata: Mapping[str, Any],
        *,
        overwrite: bool = False,
        crf: int = 18,
    ) -> None:
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise OutputError(f"H.264 films have even sides, not {width}x{height}")
        self.path = Path(path)
        self.part = part_path(path)
        self.width, self.height, self.fps = width, height, Fraction(fps)
        self.metadata = {METADATA_PREFIX + key: json.dumps(value) for key, value in metadata.items()}
        self.overwrite = overwrite
        self.encoder = {**ENCODER, "crf": str(crf)}
        self.num_frames = 0

    def __enter__(self) -> Self:
        check_output(self.path, overwrite=self.overwrite)
        try:
            self._file = open(self.part, "wb" if self.overwrite else "xb", buffering=0)
        except OSError as error:
            raise OutputError(f"cannot write {self.part}: {error.strerror}") from error
        self._container = av.open(self._file, "w", format="mp4", options=MUXER)
        self._container.metadata.update(self.metadata)
        self._stream = self._container.add_stream("libx264", rate=self.fps, options=self.encoder)
        self._stream.width, self._stream.height, self._stream.pix_fmt = self.width, self.height, "yuv420p"
        codec = self._stream.codec_context
        codec.gop_size = max(1, round(self.fps))
        codec.thread_count = 1
        codec.colorspace = Colorspace.ITU709
        codec.color_primaries = ColorPrimaries.BT709
        codec.color_trc = ColorTrc.BT709
        codec.color_range = ColorRange.MPEG
        return self

    def write(self, frames: Pictures) -> None:
        """Appends pictures (F, H, W, 3). OutputError when they cannot be written."""
        assert frames.dtype == np.uint8 and frames.shape[1:] == (self.height, self.width, 3), frames.shape
        try:
            for picture in frames:
                self._container.mux(self._stream.encode(self._frame(picture)))
                self.num_frames += 1
        except VIDEO_ERRORS as error:
            raise OutputError(f"cannot write {self.part} any further: {error.strerror}") from error

    def _frame(self, picture: Pictures) -> av.VideoFrame:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts = self.num_frames
        frame.time_base = 1 / self.fps
        return frame

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.num_frames == 0:
            self._abandon()
            return
        try:
            self._finish()
        except VIDEO_ERRORS as failure:
            # The first error is the one to tell; the fragments on disk play without an ending.
            if error is None:
                raise OutputError(f"cannot finish {self.part}: {failure.strerror}") from failure
            return
        if error is None:
            os.replace(self.part, self.path)

    def _finish(self) -> None:
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def _abandon(self) -> None:
        with suppress(*VIDEO_ERRORS):
            self._container.close()
        self._file.close()
        self.part.unlink()


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` finds: `num_frames` pictures of width x height pixels at `fps`, the codec's name, the values
    that the writer was given as metadata, and the seconds that the file says it lasts, None where it does not."""

    num_frames: int
    fps: Fraction
    width: int
    height: int
    codec: str
    metadata: dict[str, Any]
    announced: Fraction | None

    @property
    def seconds(self) -> Fraction:
        return self.num_frames / self.fps


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Reads a film's facts without decoding it; the frames are counted. LongTakeError if it is not a video
    file."""
    with _open(path) as container:
        stream = container.streams.video[0]
        fps = stream.average_rate
        if not fps:
            raise LongTakeError(f"{path} does not say how many pictures a second it shows")
        announced = None
        if stream.duration is not None and stream.time_base is not None:
            announced = stream.duration * stream.time_base
        elif container.duration is not None:
            announced = Fraction(container.duration, av.time_base)
        metadata = {
            key.removeprefix(METADATA_PREFIX): _told(value)
            for key, value in container.metadata.items()
            if key.startswith(METADATA_PREFIX)
        }
        return VideoInfo(
            num_frames=sum(packet.size > 0 for packet in _packets(container)),
            fps=fps,
            width=stream.width,
            height=stream.height,
            codec=stream.codec_context.name,
            metadata=metadata,
            announced=announced,
        )


def read_frames(path: str | os.PathLike[str]) -> Iterator[Pictures]:
    """Yields a film's pictures (H, W, 3) one by one. LongTakeError if it is not a video file, or is damaged."""
    with _open(path) as container:
        try:
            for packet in _packets(container):
                for frame in packet.decode():
                    yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        except VIDEO_ERRORS as error:
            raise LongTakeError(f"{path} is damaged: {error.strerror}") from error


@dataclass(frozen=True)
class TimedPicture:
    """A picture (H, W, 3), and the seconds of the film from which and until which it is shown."""

    start: Fraction
    end: Fraction
    pixels: Pictures


def read_timed(file: IO[bytes], width: int, height: int) -> Iterator[TimedPicture]:
    """Yields a film's pictures with their times, upright, scaled to cover width x height and cropped to its centre.

    A picture is shown until the next one, the last one for as long as the one before it, and none for longer than a
    second. `file` must be able to seek. Strict where `read_frames` is lenient: LongTakeError, whatever came before,
    for a film that is damaged or ends early."""
    start, pixels, seconds = Fraction(0), None, Fraction(0)
    for next_start, next_pixels in _foreign_pictures(file, width, height):
        if pixels is not None:
            if next_start < start:
                raise LongTakeError("is damaged: its pictures are out of order")
            seconds = min(next_start - start, LONGEST_PICTURE)
            yield TimedPicture(start, start + seconds, pixels)
        start, pixels = next_start, next_pixels
    if pixels is None:
        raise LongTakeError("holds no pictures")
    yield TimedPicture(start, start + seconds, pixels)


def resampled(pictures: Iterable[TimedPicture], fps: Fraction) -> Iterator[Pictures]:
    """The picture shown at each tick of a clock that starts with the first one and ticks `fps` times a second."""
    tick = None
    for picture in pictures:
        tick = picture.start + ROUNDING if tick is None else tick
        while tick < picture.end:
            yield picture.pixels
            tick += 1 / fps


def _foreign_pictures(file: IO[bytes], width: int, height: int) -> Iterator[tuple[Fraction, Pictures]]:
    """The pictures of a film, each behind the time from which it is shown."""
    try:
        with av.open(file, "r", options=FOREIGN, metadata_errors="ignore") as container:
            stream = next((s for s in container.streams.video if s.codec_context is not None), None)
            if stream is None:
                raise LongTakeError("holds no video of a kind that can be read")
            reached = Fraction(0)
            for packet in container.demux():
                frames = stream.decode(packet) if packet.stream is stream else []
                if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
                    raise LongTakeError("is damaged or cut off")
                if packet.pts is not None:
                    reached = max(reached, (packet.pts + (packet.duration or 0)) * packet.time_base)
                for frame in frames:
                    if frame.pts is None or frame.time_base is None:
                        raise LongTakeError("holds a picture without a time")
                    pixel_shape = stream.sample_aspect_ratio or Fraction(1)
                    yield frame.pts * frame.time_base, _covering(frame, pixel_shape, width, height)
            announced = Fraction(container.duration or 0, av.time_base)
            if reached + 1 < announced:
                raise LongTakeError(
                    f"is cut off after {float(reached):.1f} of {float(announced):.1f} seconds"
                )
    except VIDEO_ERRORS as error:
        raise LongTakeError(f"cannot be read as a video file ({error.strerror})") from error


def _covering(frame: av.VideoFrame, pixel_shape: Fraction, width: int, height: int) -> Pictures:
    """The middle of a frame whose pixels are `pixel_shape` times as wide as high, upright, width x height."""
    turns = frame.rotation // 90 % 4
    if turns % 2:
        width, height = height, width
    shown = frame.width * pixel_shape
    scale = max(width / shown, Fraction(height, frame.height))
    wide, high = max(width, round(shown * scale)), max(height, round(frame.height * scale))
    pixels = frame.reformat(wide, high, "rgb24", interpolation="BICUBIC").to_ndarray()
    left, top = (wide - width) // 2, (high - height) // 2
    return np.ascontiguousarray(np.rot90(pixels[top : top + height, left : left + width], turns), np.uint8)


def _told(value: str) -> Any:
    """A value that the writer was given, or, where another program wrote it, its text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _packets(container: av.container.InputContainer) -> Iterator[av.Packet]:
    """All whole packets: an unfinished film may end in half a picture."""
    return (packet for packet in container.demux(container.streams.video[0]) if not packet.is_corrupt)


def _open(path: str | os.PathLike[str]) -> av.container.InputContainer:
    try:
        container = av.open(os.fspath(path), options=ANY_FILM, metadata_errors="ignore")
    except VIDEO_ERRORS as error:
        raise LongTakeError(f"cannot read {path} as a video file: {error.strerror}") from error
    if not container.streams.video:
        container.close()
        raise LongTakeError(f"{path} holds no video")
    return container
