"""Random tracking shots at a glance."""

from __future__ import annotations

import random
from pathlib import Path

from longtake.worlds.sheet import write_sheet
from longtake.worlds.tracking_shot.shot import FPS, HEIGHT, WIDTH, random_shot


def contact_sheet(path: Path, seed: int = 0, rows: int = 12, columns: int = 6, scale: int = 2) -> None:
    """Write a PNG of `rows` random shots, each at `columns` moments one second apart, its caption below."""
    rng = random.Random(seed)
    drawn = []
    for _ in range(rows):
        shot = random_shot(rng)
        words = [shot.caption(rng), *[""] * (columns - 1)]
        pictures = [
            shot.render(FPS * column, 1, WIDTH * scale, HEIGHT * scale)[0] for column in range(columns)
        ]
        drawn.append(list(zip(pictures, words, strict=True)))
    write_sheet(path, drawn)
