"""Lay moments of a film out as one picture: python examples/strip.py film.mp4 strip.png"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from longtake.video import probe, read_frames


def main(film: Path, picture: Path, columns: int = 4, rows: int = 3) -> None:
    """Write `rows` x `columns` frames of `film`, evenly spaced from its first to its last, as a PNG."""
    wanted = np.linspace(0, probe(film).num_frames - 1, rows * columns).astype(int).tolist()
    moments = [frame for number, frame in enumerate(read_frames(film)) if number in set(wanted)]
    bands = [np.concatenate(moments[row * columns : (row + 1) * columns], axis=1) for row in range(rows)]
    Image.fromarray(np.concatenate(bands)).save(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
