"""What the tests of the command line share."""

from pathlib import Path

import numpy as np
import pytest

from longtake.video import VideoWriter


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A folder with one captioned film of two seconds, in the folder that commands run in."""
    folder = tmp_path / "film"
    folder.mkdir()
    (folder / "a.txt").write_text("a red car")
    rows = np.linspace(0, 200, 32).astype(np.uint8)[None, :, None, None]
    with VideoWriter(folder / "a.mp4", 48, 32, 24, {}) as writer:
        writer.write(np.concatenate([np.broadcast_to(rows + np.uint8(i), (1, 32, 48, 3)) for i in range(48)]))
    return folder
