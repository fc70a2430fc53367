"""The times of a film's pictures, found by looking through its file without decoding it.

Times are those of the pictures, not rate times number: films of varying rates have them, and films that begin at an
hour. What a file says of its rate and its length is checked against them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import av
import av.container
import av.stream
import numpy as np

from longtake.errors import LongTakeError
from longtake.video.rate import ROUNDING, Times, constant_rate, typical_rate

# These hold pictures without times; what FFmpeg says of their length it takes from their size.
UNTIMED = {"h264", "hevc", "m4v", "mpegvideo"}
MISSING = Fraction(1, 2)  # seconds that a file may announce and not hold
RESTART = 1  # seconds by which times must go back
GIF_SHORTEST, GIF_USUAL = 2, 10  # hundredths of a second
LONGEST_PICTURE = 3600  # seconds; a longer one is a jump in time


@dataclass(frozen=True)
class Timeline:
    """The times of a film's pictures (F,), ascending, in units of `time_base`, and what follows from them.

    rate: pictures a second; if is_constant, each of them comes at a tick of it, and its time is taken without the
    rounding of the file. in_order: the file tells no times, or those of decoding alone: pictures take these in turn.
    hold: the seconds for which the last picture is shown. missing: the seconds that the file announces and does not
    hold, 0 for one that is whole. is_damaged: some packets are known to be wrong."""

    times: Times
    time_base: Fraction
    rate: Fraction
    is_constant: bool
    in_order: bool
    hold: Fraction
    missing: Fraction
    is_damaged: bool

    @classmethod
    def of(cls, container: av.container.InputContainer, stream: av.VideoStream) -> Self:
        """Look through a file. LongTakeError if it holds no pictures, or tells nothing of their times."""
        own, is_damaged = _Pictures(stream), False
        tracks = {other.index: _Track(other) for other in container.streams} | {stream.index: own}
        mend = Mending(container, stream)
        for packet in container.demux():
            is_damaged |= packet.is_corrupt
            mend(packet)
            if packet.size and not packet.is_corrupt and packet.stream.index in tracks:
                tracks[packet.stream.index].add(packet)
        if not own.times:
            raise LongTakeError("holds no pictures")
        times, base = np.sort(np.frombuffer(own.times, np.int64)), own.time_base
        told, rounding = own.length_of_last * base, max(ROUNDING, base)
        if times[-1] > times[0]:
            constant = constant_rate(times, base, stream.average_rate)
        else:
            constant = _rate_of_one(stream, told, rounding)
        rate = constant or typical_rate(times, base)
        hold = told if own.tells_lengths and told > 1 / rate + rounding else 1 / rate
        own.end = max(own.end, math.ceil(times[-1] + hold / base))
        return cls(
            times=times,
            time_base=base,
            rate=rate,
            is_constant=constant is not None,
            in_order=not own.is_timed or (own.is_ascending and stream.codec_context.has_b_frames),
            hold=hold,
            missing=_missing(container, stream, tracks),
            is_damaged=is_damaged,
        )

    @property
    def num_frames(self) -> int:
        """The number of ticks of the rate from the first picture to the end of the last one."""
        return math.ceil((self.end - self.begin - slack(self.rate)) * self.rate)

    @property
    def begin(self) -> Fraction:
        """The second from which the first picture is shown."""
        return self._place(int(self.times[0]))

    @property
    def end(self) -> Fraction:
        """The second at which the last picture ends."""
        return self._place(int(self.times[-1])) + self.hold

    def start(self, frame: av.VideoFrame, number: int, before: Fraction | None) -> Fraction:
        """The second from which a picture is shown, the `number`th to be decoded, behind one shown from `before` on."""
        if self.in_order and number < len(self.times):
            return self._place(int(self.times[number]))
        if not self.in_order and frame.pts is not None and frame.time_base is not None:
            return self._place(frame.pts * frame.time_base / self.time_base)
        return Fraction(0) if before is None else before + 1 / self.rate

    def check_jumps(self) -> None:
        """LongTakeError if a picture is shown for longer than any still is."""
        lengths = np.append(np.diff(self.times) * float(self.time_base), float(self.hold))
        if lengths.max() > LONGEST_PICTURE:
            at = lengths[: lengths.argmax()].sum()
            raise LongTakeError(
                f"has no picture for {lengths.max() / 3600:.1f} hours, {at:.1f} seconds after its start: cut it there"
            )

    def _place(self, time: Fraction | int) -> Fraction:
        first = int(self.times[0])
        seconds = (time - first) * self.time_base
        if self.is_constant:
            seconds = round(seconds * self.rate) / self.rate
        return first * self.time_base + seconds


class Mending:
    """Changes the times of a stream's packets to those at which players show them; to be called with each of a film in
    turn.

    Times that start again, as where files were put one behind another, go on. A gif's pictures that are shown for less
    than 2 hundredths of a second are shown for 10."""

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self.stream, self.is_gif = stream, container.format.name == "gif"
        self._shift = self._reached = 0

    def __call__(self, packet: av.Packet) -> None:
        if packet.stream is not self.stream or packet.dts is None:
            return
        if packet.dts + self._shift < self._reached - RESTART / packet.time_base:
            self._shift = self._reached - packet.dts
        packet.dts += self._shift
        packet.pts = None if packet.pts is None else packet.pts + self._shift
        length = packet.duration or 0
        self._reached = packet.dts + length
        if self.is_gif and packet.size and length < GIF_SHORTEST:
            self._shift += GIF_USUAL - length


def slack(fps: Fraction) -> Fraction:
    """How far behind a tick of `fps` its picture may begin, since times are rounded."""
    return min(ROUNDING, 1 / (2 * fps))


def _rate_of_one(stream: av.VideoStream, told: Fraction, rounding: Fraction) -> Fraction:
    """The rate of a single picture that is shown for `told` seconds, 0 if that is not told."""
    rate = stream.average_rate or stream.guessed_rate
    if rate and (not told or abs(1 / rate - told) <= rounding):
        return rate
    if not told:
        raise LongTakeError("does not say how long its picture is shown")
    return 1 / told


class _Track:
    """From when to when the packets of a stream last, in units of its time base."""

    def __init__(self, stream: av.stream.Stream) -> None:
        self.time_base = stream.time_base or Fraction(1, av.time_base)
        self.begin: int | None = None
        self.end = 0

    def add(self, packet: av.Packet) -> None:
        if packet.pts is not None:
            self.lasts(packet.pts, packet.duration or 0)

    def lasts(self, time: int, length: int) -> None:
        self.begin = time if self.begin is None else min(self.begin, time)
        self.end = max(self.end, time + length)


class _Pictures(_Track):
    """times: of the pictures that are shown, as their packets come; length_of_last: for how long the last one is shown,
    0 where that is not told. tells_lengths: whether that is more than one length for all of them. is_timed,
    is_ascending: whether packets have times, and whether these ascend."""

    def __init__(self, stream: av.VideoStream) -> None:
        super().__init__(stream)
        rate = stream.guessed_rate
        self.usual_length = round(1 / (rate * self.time_base)) if rate else 1
        self.times = array("q")
        self.length_of_last = self._last = self._next = 0
        self.is_timed = self.is_ascending = True
        self._lengths: set[int] = set()

    @property
    def tells_lengths(self) -> bool:
        return len(self._lengths) > 1

    def add(self, packet: av.Packet) -> None:
        length, time = packet.duration or 0, self._next if packet.pts is None else packet.pts
        self.is_timed &= packet.pts is not None
        self.is_ascending &= not self.times or time >= self.times[-1]
        self._next = time + (length or self.usual_length)
        self.lasts(time, length)
        if packet.is_discard:
            return
        if not self.times or time >= self._last:
            self._last, self.length_of_last = time, length
        self.times.append(time)
        if len(self._lengths) < 2:
            self._lengths.add(length)


def _missing(
    container: av.container.InputContainer, stream: av.VideoStream, tracks: Mapping[int, _Track]
) -> Fraction:
    """The seconds that a file announces and does not hold, 0 if they may be rounding.

    A stream's own length is compared with the stream, the file's with all that is in it: sound may go on longer. Some
    kinds of file count their length from 0, others from their first packet."""
    own = tracks[stream.index]
    if container.format.name in UNTIMED:
        return Fraction(0)
    if stream.duration is not None:
        announced, held = stream.duration * own.time_base, (own.end - (own.begin or 0)) * own.time_base
    else:
        announced = Fraction(container.duration or 0, av.time_base)
        used = [track for track in tracks.values() if track.begin is not None]
        end = max(track.end * track.time_base for track in used)
        held = max(end, end - min((track.begin or 0) * track.time_base for track in used))
    return announced - held if announced - held > MISSING else Fraction(0)
