"""Adherence as a measure of any film's frames: which frames are read, and how seconds become slices."""

import math
from dataclasses import replace

import numpy as np
import pytest

from longtake.errors import OptionError
from longtake.evaluation.measures.adherence import Adherence
from longtake.evaluation.measures.base import Frames
from longtake.evaluation.world import Judged
from longtake.worlds import WorldName, load_world
from longtake.worlds.flight.flight import Change, Flight
from longtake.worlds.flight.scene import Scene
from longtake.worlds.tracking_shot.judge import JUDGED
from longtake.worlds.tracking_shot.shot import FPS, HEIGHT, WIDTH, Shot

SHOT = Shot("car", "red", "mountains", "dawn", "clear", "steady")


class Reader:
    """Reads SHOT off black frames, and a bus off others."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def read(self, looks: Frames) -> dict[str, str]:
        self.seen += looks[:, 0, 0, 1::3].tolist()
        shot = replace(SHOT, vehicle="bus") if looks[..., 0].any() else SHOT
        return {name: getattr(shot, name) for name in JUDGED}

    def read_right(self, count: int) -> dict[str, float]:
        raise NotImplementedError


class FlightReader(Reader):
    """Reads one scene off everything."""

    def read(self, looks: Frames) -> dict[str, str]:
        super().read(looks)
        assert looks.shape == (3, 80, 128, 6)
        return Scene("hills", "noon", motion="left", height="low").shown


def judging(reader: Reader, shot: Shot = SHOT) -> Adherence:
    return Adherence(Judged(load_world(WorldName.tracking_shot), reader, shot))


def film(*seconds: int) -> Frames:
    """Seconds of a level of red each; green counts the frames of a second, so that one can tell which was read."""
    frames = np.zeros((FPS * len(seconds), HEIGHT, WIDTH, 3), np.uint8)
    frames[..., 0] = np.repeat(seconds, FPS)[:, None, None]
    frames[..., 1] = np.tile(np.arange(FPS), len(seconds))[:, None, None]
    return frames


def test_shares_of_seconds() -> None:
    """One second of three is a bus: a share of 2/3 of the vehicle, 14/15 of all, nothing else touched."""
    reader = Reader()
    judge = judging(reader)
    judge.push(film(0, 0, 9))
    assert reader.seen == [[3], [11], [19]] * 3
    right = dict.fromkeys(JUDGED, 1.0)
    assert judge.totals() == {**right, "vehicle": pytest.approx(2 / 3), "adherence": pytest.approx(14 / 15)}
    curves = judge.curves([slice(0, 48), slice(48, 72), slice(72, 96)])
    np.testing.assert_allclose(curves["adherence"], [1, 0.8, math.nan])
    np.testing.assert_allclose(curves["vehicle"], [1, 0, math.nan])
    assert set(curves) == set(judge.totals()) == set(judge.about)


def test_portions_do_not_matter() -> None:
    """Guards the bookkeeping: any portions give what one push gives; a second that is cut short is not read."""
    whole, parts = judging(Reader()), judging(Reader())
    frames = film(0, 9, 0, 9)[:-6]
    whole.push(frames)
    for start in range(0, len(frames), 7):
        parts.push(frames[start : start + 7])
    assert parts.right == whole.right and len(whole.right) == 3


def test_a_film_too_short_to_read() -> None:
    """Nothing read is no number, and no warning."""
    judge = judging(Reader())
    judge.push(film(0)[:1])
    assert all(map(math.isnan, judge.totals().values()))


def test_other_sizes_are_refused() -> None:
    """Guards the one line that says what can be read."""
    with pytest.raises(OptionError, match="128x80 pixels, not 64x48"):
        judging(Reader()).push(np.zeros((1, 48, 64, 3), np.uint8))


def test_what_changes_is_read_against_what_it_became() -> None:
    """A flight over hills turns into a climb at half-way, whose height cannot be seen; pairs of frames, shrunk."""
    turn, climb = Scene("hills", "noon", motion="left"), Scene("hills", "noon", motion="climbing")
    flight, reader = Flight(turn, 0, (Change(48, climb, 12),)), FlightReader()
    judge = Adherence(Judged(load_world(WorldName.flight), reader, flight))
    frames = np.zeros((4 * FPS, 112, 192, 3), np.uint8)
    frames[..., 1] = np.tile(np.arange(FPS), 4)[:, None, None]
    judge.push(frames)
    assert reader.seen == [[2, 12], [7, 17], [12, 22]] * 4
    curves = judge.curves([slice(0, 48), slice(48, 96)])
    np.testing.assert_allclose(curves["motion"], [1, 0])
    np.testing.assert_allclose(curves["height"], [1, math.nan])
    np.testing.assert_allclose(curves["adherence"], [1, 0.75])
    assert judge.totals() == {
        **dict.fromkeys(("land", "time", "weather", "height"), 1),
        "motion": 0.5,
        "adherence": 0.9,
    }
