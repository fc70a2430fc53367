"""Contact sheets: pictures in rows, with words below them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MARGIN = 12  # pixels below a row, for its words


def write_sheet(path: Path, rows: Sequence[Sequence[tuple[NDArray[np.uint8], str]]]) -> None:
    """Write a PNG of rows of equally many pictures (H, W, 3) of one size, each with words from its left edge on."""
    from PIL import Image, ImageDraw

    height, width = rows[0][0][0].shape[:2]
    sheet = Image.new("RGB", (len(rows[0]) * width, len(rows) * (height + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    for y, row in enumerate(rows):
        for x, (picture, words) in enumerate(row):
            corner = x * width, y * (height + MARGIN)
            sheet.paste(Image.fromarray(picture), corner)
            draw.text((corner[0] + 2, corner[1] + height), words, fill="black")
    sheet.save(path, format="PNG")
