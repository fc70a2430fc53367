"""Clips for other people's tools: what they are told, and names that they do not trip over."""

import json
import re
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.errors import LongTakeError, OutputError
from longtake.evaluation.export import INDEX, clip_name, export_clips
from longtake.video import VideoWriter, probe, read_frames


def film(path: Path, frames: int, fps: Fraction = Fraction(8), width: int = 32) -> Path:
    """A film that brightens frame by frame."""
    with VideoWriter(path, width, 16, fps, {}) as writer:
        for level in range(frames):
            writer.write(np.full((1, 16, width, 3), 20 + 4 * level, np.uint8))
    return path


def test_where_the_tools_look(tmp_path: Path) -> None:
    """VBench-Long takes a folder a film below split_clip, and the film's name from it; cd-fvd takes every mp4 below.
    Every clip has the two seconds of a slice of the curves, at the film's own rate; the rest is told."""
    first = film(tmp_path / "a red_car.v2-Scene-1.mp4", 40)
    second = film(tmp_path / "fähre 🚢.mp4", 24, Fraction(24000, 2002))
    index = export_clips([first, second], tmp_path / "out")
    assert [film.frames_left_over for film in index] == [8, 1]
    assert json.loads((tmp_path / "out" / INDEX).read_text()) == [asdict(film) for film in index]
    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.mp4"))
    assert names == [
        "split_clip/0001-a-red-car-v2-scene-1/0001-a-red-car-v2-scene-1_0000.mp4",
        "split_clip/0001-a-red-car-v2-scene-1/0001-a-red-car-v2-scene-1_0001.mp4",
        "split_clip/0002-fähre/0002-fähre_0000.mp4",
    ]
    info = probe(tmp_path / "out" / names[2])
    assert (info.num_frames, info.fps) == (23, Fraction(24000, 2002))
    levels = [picture.mean() for picture in read_frames(tmp_path / "out" / names[1])]
    np.testing.assert_allclose(levels, 20 + 4 * np.arange(16, 32), atol=3)


@given(st.text(max_size=80), st.integers(1, 99999))
def test_names_are_safe(stem: str, number: int) -> None:
    """Guards what these tools split names at: '.mp4', '_', '-Scene', 'split_clip', and their own numbers."""
    name = clip_name(number, stem)
    assert re.fullmatch(r"[^\W_]+(-[^\W_]+)*", name) and "-Scene" not in name and len(name) <= 60
    assert int(name.split("-")[0]) == number


def test_short_films_and_full_places(tmp_path: Path) -> None:
    """One line says what is wrong, and nothing is left behind."""
    good, short = film(tmp_path / "good.mp4", 16), film(tmp_path / "short.mp4", 15)
    with pytest.raises(LongTakeError, match=r"short.mp4 has 15 frames, fewer than a clip of 2 s"):
        export_clips([good, short], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.mp4", "short.mp4"]
    with pytest.raises(OutputError, match="exists: choose another name"):
        export_clips([good], tmp_path)
    with pytest.raises(OutputError, match="cannot write"):
        export_clips([good], good / "out")
