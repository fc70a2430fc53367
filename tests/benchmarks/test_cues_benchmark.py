"""The measurement of cues: what is chosen, what is read, and the numbers that come of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

import cues
from longtake.errors import OptionError
from longtake.evaluation.measures.base import Frames
from longtake.worlds.tracking_shot.world import WORLD

pytestmark = pytest.mark.slow


class Reader:
    """Reads of any look that its first frame's brightness is a number of a value."""

    def read(self, looks: Frames) -> dict[str, str]:
        return dict.fromkeys(WORLD.attributes, str(round(looks[..., 0].mean())))

    def read_right(self, count: int) -> dict[str, float]:
        return {}


def changed() -> cues.Change:
    return cues.changes_of(WORLD, 60, 1)[0]


def test_a_change_is_of_one_attribute_and_prompts_are_in_one_each() -> None:
    """Guards intervals, whose films must not share prompts, and what is called a change."""
    changes = cues.changes_of(WORLD, 200, 8)
    told = [text for change in changes for text in (change.before, change.behind)]
    assert len(set(told)) == 16
    assert {change.attribute for change in changes} == set(WORLD.attributes)
    for change in changes:
        here, there = change.shot.attributes_at(0), change.other.attributes_at(0)
        assert [name for name in here if here[name] != there[name]] == [change.attribute]
    with pytest.raises(OptionError, match="ask for no more"):
        cues.changes_of(WORLD, 20, 20)


def test_every_look_begins_a_second_that_is_read() -> None:
    """Guards times: a film whose brightness is its second."""
    film = np.repeat(np.arange(4, dtype=np.uint8), WORLD.fps)[:, None, None, None].repeat(3, 3)
    found = cues.seen(film, WORLD, Reader())
    begun = [second + look[0] / WORLD.fps for second in range(4) for look in WORLD.looks]
    assert found.times == pytest.approx(begun[:-2])
    assert [read["time"] for read in found.read[::3]] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(("late", "seconds"), [(2.0, 2.125), (0.0, 0.125), (99.0, np.inf)])
def test_the_seconds_until_a_cue_is_seen(late: float, seconds: float) -> None:
    """Guards the delay, and that what the cue names is no part of what is kept."""
    change = changed()
    before, behind = (dict(shot.attributes_at(0)) for shot in (change.shot, change.other))
    times = [second + 0.125 for second in range(12)]
    read = [behind if time >= 4 + late else before for time in times]
    found = cues.numbers_of(change, cues.Seen(times, read), 4.0)
    assert found.seconds == seconds and found.new == (late < 99) and found.new_before == 0
    assert found.kept == found.kept_before == 1


def test_quantiles_of_what_may_never_be() -> None:
    """Guards the interval where some are infinite."""
    values = [*map(float, range(1, 10)), np.inf]
    median, most = cues.quantile(values, 0.5), cues.quantile(values, 0.95)
    assert (median.value, most.value) == (5, np.inf) and median.low < 5 < median.high < np.inf
    assert cues._cell(most, 1, ".1f", " s").startswith("never [")


@pytest.mark.slow
def test_a_run_of_the_embedded_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the command: its tables, its sheet, and that it makes no film twice."""
    monkeypatch.setattr(cues, "load_world", lambda name: replace(WORLD, judge=lambda path: Reader()))
    arguments = [
        "cues.py",
        str(tmp_path / "run"),
        "--cues",
        "1",
        "--seconds",
        "4",
        "--at",
        "2",
        "--blend",
        "1",
    ]
    monkeypatch.setattr("sys.argv", arguments)
    cues.main()
    out = capsys.readouterr().out
    assert all(f"\n| {row} |" in out for row in cues.ROWS)
    read: dict[str, Any] = json.loads((tmp_path / "run" / "000-0.json").read_text())
    assert len(read["times"]) == len(read["read"]) == 10
    monkeypatch.setattr(cues, "film_of", Mock(side_effect=AssertionError))
    monkeypatch.setattr(cues, "renders_of", Mock(side_effect=AssertionError))
    cues.main()
    assert capsys.readouterr().out == out
    monkeypatch.setattr("sys.argv", [*arguments, "--sheet", "0", str(tmp_path / "cue.jpg")])
    cues.main()
    assert (tmp_path / "cue.jpg").read_bytes()[:2] == b"\xff\xd8"
