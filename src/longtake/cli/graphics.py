"""Pictures in a terminal: kitty's graphics protocol or sixels, where it says that it has them.

Kitty: https://sw.kovidgoyal.net/kitty/graphics-protocol. Sixels, and what a terminal answers to DA1: DEC STD 070.
"""

import base64
import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import groupby
from typing import NamedTuple

import numpy as np
from PIL import Image
from rich.segment import ControlType, Segment, Segments

from longtake.cli.common import BLOCKS, KITTY, SIXEL, TERMINAL

PATIENCE = 1.0  # seconds that a terminal has to answer
CHUNK = 4096  # characters of a picture in one escape, at most
COLOURS = 64  # of a picture in sixels
FIRST_ID = 74_000  # of the images of kitty's that are ours; the next row has the next one
# Whether it shows a picture of one point, how large its characters are, and DA1, which every terminal answers.
QUESTIONS = b"\x1b_Gi=1,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c"
KITTY_YES, CELL, ATTRIBUTES = rb"\x1b_Gi=1;OK", rb"\x1b\[6;(\d+);(\d+)t", rb"\x1b\[\?([\d;]*)c"
HAS_SIXELS = b"4"
UNASKED = "linux", "dumb"  # these write down what they are asked
MULTIPLEXERS = "screen", "tmux"  # these have the variables of the terminal that they were begun in


class Graphics(NamedTuple):
    """How a terminal shows pictures, the width and height of its characters in pixels, and whether it was asked and
    said nothing, which may come late."""

    kind: str = BLOCKS
    cell: tuple[int, int] = (8, 16)
    silent: bool = False


CHARACTERS = Graphics()


def graphics(place: str, terminal: int | None = None) -> Graphics:
    """How pictures are shown: as `place` says, or as the terminal does. terminal: its number; None: that of stderr."""
    terminal = sys.stderr.fileno() if terminal is None else terminal
    if place == BLOCKS or not os.isatty(terminal):
        return CHARACTERS
    answer = _answer(terminal)
    cell = re.search(CELL, answer or b"")
    size = (int(cell[2]), int(cell[1])) if cell and int(cell[1]) and int(cell[2]) else CHARACTERS.cell
    silent = answer is not None and not re.search(ATTRIBUTES, answer)
    return Graphics(_kind(answer or b"") if place == TERMINAL else place, size, silent)


def drop_late(terminal: int | None = None) -> None:
    """Drop what a silent terminal answers late, and what was typed since, before a shell reads it as a command."""
    terminal = sys.stderr.fileno() if terminal is None else terminal
    with suppress(OSError, termios.error):
        if not _is_anothers(terminal):
            termios.tcflush(terminal, termios.TCIFLUSH)


def _kind(answer: bytes) -> str:
    name = os.environ.get("TERM", "")
    is_kitty = name == "xterm-kitty" or "KITTY_WINDOW_ID" in os.environ
    if re.search(KITTY_YES, answer) or (is_kitty and not name.startswith(MULTIPLEXERS)):
        return KITTY
    told = re.search(ATTRIBUTES, answer)
    return SIXEL if told and HAS_SIXELS in told[1].split(b";") else BLOCKS


def _answer(terminal: int) -> bytes | None:
    """What a terminal answers to QUESTIONS, nothing if it is slow; None if it was not asked, being one that writes them
    down or in the hands of another process."""
    told, end = b"", time.monotonic() + PATIENCE
    if os.environ.get("TERM") in UNASKED:
        return None
    try:
        with _listening(terminal) as place:
            os.write(place, QUESTIONS)
            while not re.search(ATTRIBUTES, told) and (left := end - time.monotonic()) > 0:
                if select.select([place], [], [], left)[0]:
                    told += os.read(place, 1 << 10)
    except (OSError, termios.error):
        return None
    return told


@contextmanager
def _listening(terminal: int) -> Iterator[int]:
    """A terminal, open to be asked: what it answers is not shown. OSError where this process may not."""
    place = os.open(os.ttyname(terminal), os.O_RDWR | os.O_NOCTTY)
    try:
        if _is_anothers(place):
            raise OSError("the terminal is in the hands of another process")
        before = termios.tcgetattr(place)
        try:
            tty.setcbreak(place, termios.TCSADRAIN)
            yield place
        finally:
            termios.tcsetattr(place, termios.TCSADRAIN, before)
    finally:
        os.close(place)


def _is_anothers(place: int) -> bool:
    """Whether to ask the terminal would stop this process, as one in the background."""
    try:
        return os.tcgetpgrp(place) != os.getpgrp()
    except OSError:  # not the one that controls this process
        return False


def strip(pictures: Sequence[Image.Image], width: int, lines: int, how: Graphics, row: int) -> Segments:
    """Pictures side by side, each of `width` characters and `lines`, as the `row`th that are shown.

    The lines are left empty, and drawn over from the one below: what is written later would wipe pictures out.
    """
    wide, tall = how.cell
    canvas = Image.new("RGB", (((width + 1) * len(pictures) - 1) * wide, lines * tall))
    for i, picture in enumerate(pictures):
        size = (width * wide, lines * tall)
        canvas.paste(picture.resize(size, Image.Resampling.BICUBIC), (i * (width + 1) * wide, 0))
    columns = (width + 1) * len(pictures) - 1
    drawn = kitty(canvas, columns, lines, FIRST_ID + row) if how.kind == KITTY else sixels(canvas)
    # Marked as what moves the cursor, so that it has no width.
    over = Segment(f"\x1b7\x1b[{lines}A\r{drawn}\x1b8", control=[(ControlType.CARRIAGE_RETURN,)])
    return Segments([*[Segment.line()] * lines, over])


def kitty(image: Image.Image, columns: int, lines: int, number: int) -> str:
    """The escapes that show a picture over so many characters, in place of the one of the same number."""
    png = BytesIO()
    image.save(png, "PNG", compress_level=1)
    data = base64.b64encode(png.getvalue()).decode()
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    told = f"a=T,f=100,i={number},p=1,q=2,C=1,c={columns},r={lines},"
    more = [*[1] * (len(chunks) - 1), 0]
    escapes = zip([told, *[""] * (len(chunks) - 1)], more, chunks, strict=True)
    return "".join(f"\x1b_G{keys}m={follows};{chunk}\x1b\\" for keys, follows, chunk in escapes)


def sixels(image: Image.Image) -> str:
    """The escape that shows a picture in sixels: six rows at a time, a colour after the other."""
    flat = image.quantize(COLOURS)
    pixels, palette = np.asarray(flat), np.reshape(flat.getpalette() or [], (-1, 3))
    out = [f'\x1bP0;1q"1;1;{image.width};{image.height}']
    out += [f"#{i};2;{';'.join(str(round(level / 2.55)) for level in rgb)}" for i, rgb in enumerate(palette)]
    for top in range(0, image.height, 6):
        band = pixels[top : top + 6]
        for colour in np.unique(band):
            bits = (1 << np.arange(len(band))) @ (band == colour)
            runs = ((chr(63 + bit), len([*same])) for bit, same in groupby(bits.tolist()))
            out.append(f"#{colour}{''.join(f'!{count}{sign}' for sign, count in runs)}$")
        out.append("-")
    return "".join([*out, "\x1b\\"])
