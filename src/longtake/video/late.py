"""A value in an mp4's metadata that is not known when its header is written.

The muxer writes metadata with the header, and again behind the last picture, and takes no other by then. So the value
has room from the first, and what it is by now is written over it in the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

ROOM = 2048  # bytes of JSON
MOOV = b"moov"  # the box of an mp4 that holds its metadata
HEAD = 8  # bytes of a box: its length in four, its kind in four; a length of 1 stands in eight more, 0 is to the end


class LateValue:
    """The value, as JSON in ROOM bytes, of which the last are blanks; `first` is what the muxer is given."""

    def __init__(self, value: Any) -> None:
        self.first = self._now = _with_room(value)
        self._place: int | None = None

    @property
    def is_due(self) -> bool:
        """Whether what it is by now is in no file yet."""
        return self._place is None and self._now != self.first

    def tell(self, value: Any, descriptor: int) -> None:
        """Be another value, in the file too, if its header is on disk. OSError when the disk gives out."""
        self._now = _with_room(value)
        self.write(descriptor)

    def write(self, descriptor: int, anew: bool = False) -> None:
        """Write it over where the muxer put it, if it has by now; anew: it put it there again. OSError as above."""
        if self._place is None or anew:
            self._place = _find(descriptor, self.first.encode())
        if self._place is not None:
            os.pwrite(descriptor, self._now.encode(), self._place)


def _with_room(value: Any) -> str:
    text = json.dumps(value).ljust(ROOM)
    assert len(text) == ROOM and text.isascii(), "there is room for a few versions and names"
    return text


def _find(descriptor: int, text: bytes) -> int | None:
    """Where a text is in the metadata of an mp4; None if that is not there yet."""
    for start, length in _boxes(descriptor):
        if (found := os.pread(descriptor, length, start).rfind(text)) >= 0:
            return start + found
    return None


def _boxes(descriptor: int) -> Iterator[tuple[int, int]]:
    """The first byte and the length of each box of metadata."""
    place, end = 0, os.fstat(descriptor).st_size
    while place + HEAD <= end:
        head = os.pread(descriptor, 2 * HEAD, place)
        length = int.from_bytes(head[:4])
        if length == 1:
            length = int.from_bytes(head[HEAD:])
        length = length or end - place
        if head[4:HEAD] == MOOV and place + length <= end:
            yield place, length
        place += max(length, HEAD)
