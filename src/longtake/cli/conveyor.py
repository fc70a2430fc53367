"""The conveyor, shown: in a terminal, above the bar, or as a PNG that is rewritten.

From clean, on the left, to noise; beneath each latent its noise level, and the second of the film where it will be.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from rich.color import Color
from rich.console import Console, Group, RenderableType
from rich.segment import Segment, Segments
from rich.style import Style
from rich.text import Text

from longtake.cli.common import BLOCKS, KITTY, PLACES, SIXEL, say
from longtake.cli.graphics import CHARACTERS, Graphics, drop_late, strip
from longtake.errors import OptionError, OutputError
from longtake.files import printable
from longtake.video import check_output

if TYPE_CHECKING:
    from longtake.preview import Conveyor

SUFFIX = ".png"
LATE = 10.0  # seconds of a film in which a terminal that was silent may still answer
BELOW = 6  # lines of a terminal that the bar and what was typed keep
LABEL = 10  # places that are written to beneath a picture, at most
WIDTH, HEIGHT, GAP, TEXT = 1280, 720, 8, 13  # of a PNG, in pixels; its least picture is as wide as LABEL
SOFTWARE, OURS = "Software", "longtake preview"  # says, in a PNG, that it may be rewritten


class Grid(NamedTuple):
    """How pictures are laid out: every so-manieth, so many a row, and their width and height."""

    every: int
    per_row: int
    width: int
    height: int


def grid(
    count: int, aspect: float, width: int, height: int, gap: int, label: int, least: int, most: int
) -> Grid:
    """The fewest rows of the largest pictures that fit, `least` to `most` wide: rather are some left out.

    aspect: of a picture, width to height. label: what lies beneath each. gap: beside and beneath that.
    """
    for every in range(1, count + 1):
        shown, best = -(-count // every), (0, 0, 0)
        for rows in range(1, shown + 1):
            per_row, tall = -(-shown // rows), height // rows - label - gap
            wide = min((width + gap) // per_row - gap, int(tall * aspect), max(least, most))
            best = max(best, (wide, -rows, per_row))
        if best[0] >= least:
            return Grid(every, best[2], best[0], max(1, round(best[0] / aspect)))
    return Grid(count, 1, least, max(1, round(least / aspect)))


def labels(conveyor: "Conveyor") -> list[tuple[str, str]]:
    """What is written beneath each picture: its noise level, and its second."""
    return [
        (f"σ {sigma:.2f}" if sigma else "clean", f"{second:.2f} s" if second < 1000 else f"{second:.0f} s")
        for sigma, second in zip(conveyor.sigmas, conveyor.seconds, strict=True)
    ]


def in_terminal(
    conveyor: "Conveyor",
    count: int,
    columns: int,
    lines: int,
    how: Graphics = CHARACTERS,
) -> RenderableType:
    """The conveyor in a terminal: as pictures, or in characters, each a place's upper half, in two colours.

    count: the latents that there will be at most, so that the pictures stay where they are.
    """
    tall, wide = conveyor.pictures.shape[1:3]
    every, per_row, width, height = grid(
        count, wide / tall, columns - 1, 2 * max(4, lines), 1, 4, LABEL, wide
    )
    height += height % 2
    pictures = [Image.fromarray(picture) for picture in conveyor.pictures[::every]]
    written = labels(conveyor)[::every]
    rows: list[RenderableType] = []
    for start in range(0, len(pictures), per_row):
        row, texts = pictures[start : start + per_row], written[start : start + per_row]
        if how.kind == BLOCKS:
            small = (picture.resize((width, height), Image.Resampling.BOX) for picture in row)
            rows.append(_blocks([picture.tobytes() for picture in small], width, height))
        else:
            rows.append(strip(row, width, height // 2, how, len(rows)))
        rows.extend(Text(" ".join(pair[i].center(width) for pair in texts)) for i in (0, 1))
    return Group(*rows)


def _blocks(pictures: Sequence[bytes], width: int, height: int) -> Segments:
    """Pictures of RGB side by side, two rows of points to a line."""
    segments = []
    for line in range(height // 2):
        for rgb in pictures:
            upper, lower = (rgb[3 * width * y : 3 * width * (y + 1)] for y in (2 * line, 2 * line + 1))
            segments += [
                Segment("▀", _style(upper[x : x + 3], lower[x : x + 3])) for x in range(0, 3 * width, 3)
            ]
            segments.append(Segment(" "))
        segments.append(Segment.line())
    return Segments(segments)


@lru_cache(1 << 14)
def _style(upper: bytes, lower: bytes) -> Style:
    return Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower))


def png(conveyor: "Conveyor", count: int) -> bytes:
    """The conveyor as a PNG, which says that it is one. count: as for in_terminal."""
    font, line = _font(), TEXT + 3
    tall, wide = conveyor.pictures.shape[1:3]
    least = math.ceil(font.getlength("0" * LABEL))
    every, per_row, width, height = grid(
        count, wide / tall, WIDTH - 2 * GAP, HEIGHT - GAP, GAP, 3 * line, least, 2 * wide
    )
    rows = -(-len(range(0, count, every)) // per_row)
    size = (GAP + per_row * (width + GAP), GAP + rows * (height + 3 * line + GAP))
    canvas = Image.new("RGB", size, (24, 24, 26))
    draw = ImageDraw.Draw(canvas)
    shown = zip(conveyor.pictures[::every], conveyor.sigmas[::every], labels(conveyor)[::every], strict=True)
    for i, (picture, sigma, texts) in enumerate(shown):
        x, y = GAP + i % per_row * (width + GAP), GAP + i // per_row * (height + 3 * line + GAP)
        canvas.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC), (x, y))
        y += height + 4
        draw.rectangle((x, y, x + width - 1, y + 2), (70, 70, 74))
        draw.rectangle((x, y, x + round((width - 1) * (1 - sigma)), y + 2), (230, 160, 60))
        for text in texts:
            y += line
            text = text.replace("σ", "sigma")  # which the font does not have
            draw.text((x + width / 2, y), text, (210, 210, 214), font, anchor="ms")
    out, told = BytesIO(), PngInfo()
    told.add_text(SOFTWARE, OURS)
    canvas.save(out, "PNG", pnginfo=told, compress_level=1)
    return out.getvalue()


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=TEXT)


def check_place(place: str) -> None:
    """OptionError where the terminal cannot show pictures, OutputError for a file that cannot or may not be written."""
    if place in PLACES:
        console = Console(stderr=True)
        if place in (KITTY, SIXEL) and not sys.stderr.isatty():
            raise OptionError(f"--preview {place} needs a terminal: give it a file, --preview film.png")
        if not (console.is_terminal and console.color_system and console.encoding.startswith("utf")):
            raise OptionError(
                "--preview needs a terminal with colours and UTF-8: give it a file, --preview film.png"
            )
        return
    path = Path(place)
    check_output(path, suffix=SUFFIX, overwrite=True)
    if path.exists() and not _is_ours(path):
        raise OutputError(f"{printable(path)} exists and is no preview: choose another name")


def _is_ours(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.info.get(SOFTWARE) == OURS
    except (OSError, UnidentifiedImageError):
        return False


class Shown:
    """Shows a conveyor where it is to be seen. above: puts something above the terminal's bar. how: it shows pictures.

    A file that cannot be written any more is told once, and costs the film nothing.
    """

    def __init__(
        self,
        place: str,
        count: int,
        above: Callable[[RenderableType], object],
        how: Graphics = CHARACTERS,
    ) -> None:
        self._place, self._count, self._above, self._how = place, count, above, how
        self._gave_up = False
        self._late = time.monotonic() + LATE if how.silent else 0.0

    def __call__(self, conveyor: "Conveyor") -> None:
        if time.monotonic() < self._late:
            drop_late()
        if self._place in PLACES:
            size = Console(stderr=True).size
            self._above(in_terminal(conveyor, self._count, size.width, size.height - BELOW, self._how))
        elif not self._gave_up:
            self._write(Path(self._place), png(conveyor, self._count))

    def _write(self, path: Path, content: bytes) -> None:
        """Replace the file; it need not outlive a crash, so nothing waits for the disk."""
        part = path.with_name(path.name + ".part")
        try:
            part.write_bytes(content)
            part.replace(path)
        except OSError as error:
            self._gave_up = True
            say(f"note: the preview ends, {printable(path)} cannot be written: {error.strerror}")
