"""Adherence as a measure of any film's frames: which frames are read, and how seconds become slices."""

import math
from dataclasses import replace

import numpy as np
import pytest

from longtake.errors import OptionError
from longtake.evaluation.classifier import JUDGED, AttributeClassifier
from longtake.evaluation.measures.adherence import READ_AT, Adherence
from longtake.evaluation.measures.base import Frames
from longtake.worlds.tracking_shot import FPS, HEIGHT, WIDTH, Shot

SHOT = Shot("car", "red", "mountains", "dawn", "clear", "steady")


class Reader(AttributeClassifier):
    """Reads SHOT off black frames, and a bus off others."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def read(self, frames: Frames) -> dict[str, str]:
        self.seen.append(frames[:, 0, 0, 1].tolist())
        shot = replace(SHOT, vehicle="bus") if frames[..., 0].any() else SHOT
        return {name: getattr(shot, name) for name in JUDGED}


def film(*seconds: int) -> Frames:
    """Seconds of a level of red each; green counts the frames of a second, so that one can tell which was read."""
    frames = np.zeros((FPS * len(seconds), HEIGHT, WIDTH, 3), np.uint8)
    frames[..., 0] = np.repeat(seconds, FPS)[:, None, None]
    frames[..., 1] = np.tile(np.arange(FPS), len(seconds))[:, None, None]
    return frames


def test_shares_of_seconds() -> None:
    """One second of three is a bus: a share of 2/3 of the vehicle, 14/15 of all, nothing else touched."""
    reader = Reader()
    judge = Adherence(reader, SHOT)
    judge.push(film(0, 0, 9))
    assert reader.seen == [list(READ_AT)] * 3
    right = dict.fromkeys(JUDGED, 1.0)
    assert judge.totals() == {**right, "vehicle": pytest.approx(2 / 3), "adherence": pytest.approx(14 / 15)}
    curves = judge.curves([slice(0, 48), slice(48, 72), slice(72, 96)])
    np.testing.assert_allclose(curves["adherence"], [1, 0.8, math.nan])
    np.testing.assert_allclose(curves["vehicle"], [1, 0, math.nan])
    assert set(curves) == set(judge.totals()) == set(judge.about)


def test_portions_do_not_matter() -> None:
    """Guards the bookkeeping: any portions give what one push gives; a second that is cut short is not read."""
    whole, parts = Adherence(Reader(), SHOT), Adherence(Reader(), SHOT)
    frames = film(0, 9, 0, 9)[:-6]
    whole.push(frames)
    for start in range(0, len(frames), 7):
        parts.push(frames[start : start + 7])
    assert parts.read == whole.read and len(whole.read) == 3


def test_a_film_too_short_to_read() -> None:
    """Nothing read is no number, and no warning."""
    judge = Adherence(Reader(), SHOT)
    judge.push(film(0)[:1])
    assert all(map(math.isnan, judge.totals().values()))


def test_other_sizes_are_refused() -> None:
    """Guards the one line that says what can be read."""
    with pytest.raises(OptionError, match="128x80 pixels, not 64x48"):
        Adherence(Reader(), SHOT).push(np.zeros((1, 48, 64, 3), np.uint8))
