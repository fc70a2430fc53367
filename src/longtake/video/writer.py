"""Films, written as streams.

A film is written to `NAME.part` beside its target and renamed when complete. The part is a fragmented mp4
with one fragment a second, unbuffered, so that every complete second of it plays after a kill; closing turns
it into an ordinary mp4. Every second has an encoder of its own, held to one thread and a look-ahead of four
pictures: it reaches the disk five pictures after it is complete, and depends on no other second, so that a film
goes on where it was stopped, packet for packet the same. Equal pictures give equal bytes whatever the machine's
core count and instructions; so mbtree is off, whose AVX-512 form differs from the others and from itself.
One process at a time writes a film, and none begins while another one does."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import av.container
import av.filter
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from longtake.errors import LongTakeError, OutputError
from longtake.files import exclusive, lock_path, put
from longtake.video.frame import Pictures
from longtake.video.late import LateValue
from longtake.video.reader import METADATA_PREFIX, VIDEO_ERRORS, probe

SUFFIX = ".mp4"
# 0.6 bit a pixel is what rich pictures take at this quality; flat ones take a tenth of it.
BYTES_PER_PIXEL = 0.6 / 8
FILE_OVERHEAD = 1 << 20
MUXER = {"movflags": "hybrid_fragmented+frag_keyframe+use_metadata_tags", "flush_packets": "1"}
ENCODER = {"x264-params": "bframes=0:scenecut=0:mbtree=0:rc-lookahead=4:sync-lookahead=0"}
START_CODE = bytes([0, 0, 0, 1])  # before each unit of H.264 that comes from an encoder
CONVERSION = {
    "scale": "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"
    ":out_color_matrix=bt709:out_range=tv:out_chroma_loc=left",
    "format": "pix_fmts=yuv420p",
}


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
    `path` and no other process is writing it."""
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target} is a folder: name a {suffix} file in it")
    if target.suffix.lower() != suffix:
        raise OutputError(f"{target} must end in {suffix}, not in {target.suffix or 'no suffix'!r}")
    if not target.parent.is_dir():
        raise OutputError(f"the folder {target.parent} does not exist: make it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {target.parent} is not writable")
    if lock_path(target).exists():
        with exclusive(target):
            pass
    if not overwrite:
        _check_new(target)
    free = shutil.disk_usage(target.parent).free
    if free < num_bytes:
        raise OutputError(
            f"too little disk for {target}: it may take {num_bytes / 1e6:.1f} MB,"
            f" {free / 1e6:.1f} MB are free"
        )


def _check_new(target: Path) -> None:
    for existing in (target, part_path(target)):
        if existing.exists():
            raise OutputError(f"{existing} exists: choose another name or allow it to be overwritten")


class _WholeWrites(io.FileIO):
    """An unbuffered file that writes all it is given or raises OSError; the muxer does not look at how much it was."""

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        while rest:
            rest = rest[super().write(rest) :]
        return len(data)


class VideoWriter:
    """A context manager that encodes pictures to an H.264 mp4 (yuv420p, bt709, one key frame a second).

    `width` and `height` are even numbers of pixels, `fps` is exact (23.976 is `Fraction(24000, 1001)`), and
    every value of `metadata` is stored as JSON under its own key, before the first picture. That of key `late` may be
    told anew until the film is closed. `crf` is x264's constant quality: 6 more take about half the bytes. `before`: a
    film of such a writer and a whole number of its seconds, in frames, that this one begins with, packet for packet; it
    may be this one's own part, which stays until more than that is on disk. OutputError on entering when the path is no
    good (see `check_output`), another process writes there or `before` is no such film, and from `write` when the disk
    gives out.

    Left normally, the film is at `path`. Left by an exception, what was written is at `part` and plays, `num_frames`
    of it; if nothing was written, nothing is there."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        width: int,
        height: int,
        fps: Fraction | int,
        metadata: Mapping[str, Any],
        *,
        late: str | None = None,
        overwrite: bool = False,
        crf: int = 18,
        before: tuple[Path, int] | None = None,
    ) -> None:
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise OutputError(f"H.264 films have even sides, not {width}x{height}")
        self.path = Path(path)
        self.part = part_path(path)
        self.width, self.height, self.fps = width, height, Fraction(fps)
        self.metadata = {METADATA_PREFIX + key: json.dumps(value) for key, value in metadata.items()}
        self._late = None if late is None else LateValue(metadata[late])
        if self._late is not None:
            self.metadata[METADATA_PREFIX + str(late)] = self._late.first
        self.overwrite = overwrite
        self.encoder = {**ENCODER, "crf": str(crf)}
        self.frames_per_second = max(1, round(self.fps))
        self.before, self.num_frames, self._seconds = before, 0, 0
        self._goes_on = before is not None and before[0] == self.part
        self._growing = part_path(self.part) if self._goes_on else self.part

    @property
    def num_safe(self) -> int:
        """The pictures that a kill would leave: those of whole fragments."""
        return max(0, self._seconds - 1) * self.frames_per_second

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._lock(stack)
            try:
                mode = "w+" if self.overwrite or self._goes_on else "x+"
                self._file = stack.enter_context(_WholeWrites(self._growing, mode))
            except OSError as error:
                raise OutputError(f"cannot write {self.part}: {error.strerror}") from error
            stack.callback(self._remove_empty)
            self._open()
            if self.before is not None and self.before[1]:
                self.copy(self.before[0], 0, self.before[1])
            self._closing = stack.pop_all()
        return self

    def _lock(self, stack: ExitStack) -> None:
        """Take the film for this process alone; what is there is looked at while no other one can change it."""
        check_output(self.path, overwrite=True)
        stack.enter_context(exclusive(self.path))
        if not self.overwrite and not self._goes_on:
            _check_new(self.path)

    def _open(self) -> None:
        """Write the header. A trailer without one kills the process."""
        self._container = av.open(self._file, "w", format="mp4", options=MUXER)
        self._container.metadata.update(self.metadata)
        self._stream = self._container.add_stream("libx264", rate=self.fps, options=self.encoder)
        self._settle(self._stream.codec_context)
        self._converter = _converter(self.width, self.height, 1 / self.fps)
        self._second: av.VideoCodecContext | None = None
        try:
            self._container.start_encoding()
        except VIDEO_ERRORS as error:
            raise OutputError(f"cannot write {self.part}: {error.strerror}") from error
        self._header = self._stream.codec_context.extradata or b""

    def _settle(self, codec: av.VideoCodecContext) -> None:
        codec.width, codec.height, codec.pix_fmt = self.width, self.height, "yuv420p"
        codec.gop_size = self.frames_per_second
        codec.thread_count = 1
        codec.colorspace = Colorspace.ITU709
        codec.color_primaries = ColorPrimaries.BT709
        codec.color_trc = ColorTrc.BT709
        codec.color_range = ColorRange.MPEG

    def _new_encoder(self) -> av.VideoCodecContext:
        """The encoder of one second, with the settings of the header."""
        codec = av.VideoCodecContext.create("libx264", "w")
        assert isinstance(codec, av.VideoCodecContext)
        codec.time_base, codec.framerate, codec.options = 1 / self.fps, self.fps, self.encoder
        codec.flags |= Flags.global_header
        self._settle(codec)
        return codec

    def copy(self, source: Path, first: int, end: int) -> None:
        """Append pictures `first` to `end` of a film of such a writer, packet for packet, in their places: whole
        seconds of it, where the last may be cut short as the film's own is."""
        assert first % self.frames_per_second == 0 and first == self.num_frames
        self._end_second()
        try:
            with av.open(str(source), format="mp4") as container:
                stream = container.streams.video[0]
                known = stream.codec_context.extradata or b""
                if any(unit not in known for unit in self._header.split(START_CODE)):
                    raise OutputError(f"{source} was encoded in another way: film it anew")
                for packet in islice((p for p in container.demux(stream) if p.size), first, end):
                    self._mux([_as_encoded(packet)])
                    self.num_frames += 1
        except VIDEO_ERRORS as error:
            raise OutputError(f"cannot go on from {source}: {error.strerror}") from error
        if self.num_frames < end:
            raise OutputError(f"{source} holds {self.num_frames} whole pictures, not the {end} it should")

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            packet.stream = self._stream
            self._container.mux(packet)
            self._seconds += packet.is_keyframe
            if self._late is not None and self._late.is_due and packet.is_keyframe:
                self._late.write(self._file.fileno())
        if self.before is not None and self.num_safe >= self.before[1]:
            self._keep()

    def _keep(self) -> None:
        """Let what grows take the place of the part that it went on from."""
        if self._growing != self.part:
            self._growing.replace(self.part)
            self._growing = self.part

    def write(self, frames: Pictures) -> None:
        """Appends pictures (F, H, W, 3). OutputError when they cannot be written."""
        assert frames.dtype == np.uint8 and frames.shape[1:] == (self.height, self.width, 3), frames.shape
        try:
            for picture in frames:
                if self.num_frames % self.frames_per_second == 0:
                    self._end_second()
                    self._second = self._new_encoder()
                assert self._second is not None, "a film goes on at a whole second"
                self._mux(self._second.encode(self._frame(picture)))
                self.num_frames += 1
        except VIDEO_ERRORS as error:
            raise OutputError(f"cannot write {self.part} any further: {error.strerror}") from error

    def tell(self, value: Any) -> None:
        """Say another value of the key that is `late`, in what is on disk too. OutputError when that gives out."""
        assert self._late is not None, "no key is late"
        try:
            self._late.tell(value, self._file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self.part} any further: {error.strerror}") from error

    def sync(self) -> None:
        """Have what was written, `num_safe` pictures of it whole, on disk, where a film that is closed is already.
        OutputError when the disk gives out."""
        if self._file.closed:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self.part} any further: {error.strerror}") from error

    def _end_second(self) -> None:
        if self._second is not None:
            self._mux(self._second.encode(None))
            self._second = None

    def _frame(self, picture: Pictures) -> av.VideoFrame:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        frame.pts = self.num_frames
        frame.time_base = 1 / self.fps
        self._converter.vpush(frame)
        return self._converter.vpull()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._closing:
            if not self.num_frames:  # a trailer behind no picture kills the process, as one behind no header
                return
            try:
                self._finish()
                self._keep()
            except VIDEO_ERRORS as failure:
                # The first error is the one to tell; the fragments on disk play without an ending.
                self.num_frames = _num_playable(self.part)
                if error is None:
                    raise OutputError(f"cannot finish {self.part}: {failure.strerror}") from failure
                return
            if error is None:
                put(self.part, self.path)

    def _finish(self) -> None:
        try:
            self._end_second()
        finally:
            self._container.close()
        if self._late is not None:
            self._late.write(self._file.fileno(), anew=True)
        os.fsync(self._file.fileno())

    def _remove_empty(self) -> None:
        if self.num_frames == 0 or self._growing != self.part:
            self._growing.unlink()


def _converter(width: int, height: int, time_base: Fraction) -> av.filter.Graph:
    """What makes yuv420p of RGB, chroma where H.264 has it: half a pixel beside, colours would walk with each copy."""
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"), time_base=time_base)
    nodes = [graph.add(name, options) for name, options in CONVERSION.items()]
    graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()
    return graph


def _as_encoded(packet: av.Packet) -> av.Packet:
    """A packet of an mp4 as its encoder gave it: each unit behind a start code, not behind its length."""
    data, units, place = bytes(packet), [], 0
    while place < len(data):
        end = place + 4 + int.from_bytes(data[place : place + 4])
        units += [START_CODE, data[place + 4 : end]]
        place = end
    plain = av.Packet(b"".join(units))
    plain.pts, plain.dts, plain.duration = packet.pts, packet.dts, packet.duration
    plain.time_base, plain.is_keyframe = packet.time_base, packet.is_keyframe
    return plain


def _num_playable(part: Path) -> int:
    """The pictures that can be read of a film without an ending."""
    try:
        return probe(part).num_frames
    except LongTakeError:
        return 0
