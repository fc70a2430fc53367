"""A value of a film's metadata that is known late: it is in the file at every moment, and nothing else changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longtake.video import Pictures, VideoWriter, part_path, probe
from packets import packets

PICTURES = np.random.default_rng(0).integers(0, 255, (32, 48, 64, 3), dtype=np.uint8)


def writer(path: Path, **metadata: Any) -> VideoWriter:
    return VideoWriter(path, 64, 48, 8, {"prompt": "ein Löwe", "made": None, **metadata}, late="made")


def seconds() -> list[Pictures]:
    return [PICTURES[first : first + 8] for first in range(0, 32, 8)]


def test_what_is_told_is_in_the_file_at_once_and_at_the_end(tmp_path: Path) -> None:
    """Guards films that are killed: the part says what was told last; and one that is closed says it, by a player."""
    path, plain = tmp_path / "film.mp4", tmp_path / "plain.mp4"
    with writer(path) as told:
        told.tell({"seconds": 0})  # before there is a header to say it
        for count, second in enumerate(seconds()):
            told.write(second)
            if count:
                assert probe(part_path(path)).metadata["made"] == {"seconds": count - 1}
            told.tell({"seconds": count})
        assert probe(part_path(path)).metadata == {"prompt": "ein Löwe", "made": {"seconds": 3}}
        told.tell({"seconds": 4, "name": "Löwe"})
    assert probe(path).metadata == {"prompt": "ein Löwe", "made": {"seconds": 4, "name": "Löwe"}}
    with VideoWriter(plain, 64, 48, 8, {"prompt": "ein Löwe"}) as writes:
        writes.write(PICTURES)
    assert packets(path) == packets(plain) and probe(path).num_frames == 32


@pytest.mark.parametrize("count", [1, 8, 9])
def test_a_short_film_says_it_too(tmp_path: Path, count: int) -> None:
    """Guards films whose header comes with their end, and those of which nothing was told."""
    for name, value in (("told.mp4", {"seconds": 1}), ("left.mp4", None)):
        with writer(tmp_path / name) as writes:
            writes.write(PICTURES[:count])
            if value:
                writes.tell(value)
        assert probe(tmp_path / name).metadata["made"] == value


def test_another_key_of_the_same_value_is_left_alone(tmp_path: Path) -> None:
    """Guards what is written over: the value that has room, and no other that reads the same."""
    path = tmp_path / "film.mp4"
    with writer(path, note="null") as writes:
        writes.write(PICTURES)
        writes.tell(1)
    assert probe(path).metadata == {"prompt": "ein Löwe", "made": 1, "note": "null"}


def test_a_disk_that_gives_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the error: that of every other write."""
    from longtake.errors import OutputError

    def full(*given: Any) -> int:
        raise OSError(28, "No space left on device")

    message = r"cannot write .*film\.mp4\.part any further: No space"
    with pytest.raises(OutputError, match=message), writer(tmp_path / "film.mp4") as writes:
        writes.write(PICTURES)
        monkeypatch.setattr("os.pwrite", full)
        writes.tell(1)
    assert probe(tmp_path / "film.mp4.part").num_frames >= 16
