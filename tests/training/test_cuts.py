"""Film cut into shots: cuts to the frame, flashes that are none, jumps in time."""

import random
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from longtake.training.cuts import shots
from longtake.video import Pictures, TimedPicture
from longtake.worlds.tracking_shot.shot import random_shot


@cache
def render(num_frames: int, shot: int = 0) -> Pictures:
    """Pictures (F, 80, 128, 3) of a tracking shot."""
    return np.asarray(random_shot(random.Random(shot)).render(0, num_frames), np.uint8)


def timed(pictures: Pictures, fps: int = 24, begin: int = 0) -> list[TimedPicture]:
    return [
        TimedPicture(Fraction(k, fps), Fraction(k + 1, fps), picture)
        for k, picture in enumerate(pictures, begin)
    ]


def lengths(pictures: list[TimedPicture]) -> list[int]:
    return [sum(1 for _ in shot) for shot in shots(iter(pictures))]


@pytest.mark.parametrize("parts", [(30, 40), (1, 40), (40, 1), (20, 3, 30), (40,), (1,), (2,), (3, 3)])
def test_hard_cuts_are_found_to_the_frame(parts: tuple[int, ...]) -> None:
    """Guards cuts anywhere, also one frame from either end, where the detector has not yet seen enough, or no more."""
    pictures = np.concatenate([render(count, shot) for shot, count in enumerate(parts)])
    assert lengths(timed(pictures)) == list(parts)


def test_a_gap_in_time_ends_a_shot() -> None:
    """Guards against a freeze of hours where a file's times jump."""
    pictures = render(40)
    assert lengths(timed(pictures[:15]) + timed(pictures[15:], begin=100_000)) == [15, 25]


def flashed(pictures: Pictures, place: int, length: int = 1, level: int = 255) -> Pictures:
    """The same, but for pictures of one colour."""
    pictures = pictures.copy()
    pictures[place : place + length] = level
    return pictures


@pytest.mark.parametrize("level", [255, 0])
@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("place", [1, 2, 20, 36, 37])
def test_a_flash_is_no_cut(place: int, length: int, level: int) -> None:
    """Guards flashlights, lightning and pictures that dropped out: the shot goes on, with all its pictures."""
    assert lengths(timed(flashed(render(40), place, length, level))) == [40]


def test_flashes_beside_flashes_and_beside_cuts() -> None:
    """Guards strobes, and cuts near a flash: they are found to the frame."""
    strobe = render(60)
    for place in (10, 13, 20, 24, 29):
        strobe = flashed(strobe, place)
    assert lengths(timed(strobe)) == [60]
    two = np.concatenate([render(30, 1), render(40, 2)])
    for place in (10, 22, 26, 34, 50):
        assert lengths(timed(flashed(two, place))) == [30, 40]


def test_a_flash_that_leads_to_another_shot_is_a_cut() -> None:
    """Guards cuts through white: another shot is behind it, and none of the pictures is lost."""
    two = np.concatenate([render(30, 1), render(40, 2)])
    for place, length in ((30, 1), (29, 1), (29, 2)):
        parts = lengths(timed(flashed(two, place, length)))
        assert sum(parts) == 70 and parts[0] in (29, 30) and parts[-1] >= 38 and len(parts) in (2, 3)


def test_a_flash_at_either_end_is_a_shot_of_its_own() -> None:
    """Guards the decision: with nothing on its other side, it may be anything; it is too short to be trained on."""
    assert lengths(timed(flashed(render(40), 0))) == [1, 39]
    assert lengths(timed(flashed(render(40), 39))) == [39, 1]


def test_three_pictures_of_something_else_are_two_cuts() -> None:
    """Guards the length of a flash: what is longer is a shot."""
    assert lengths(timed(flashed(render(40), 20, 3))) == [20, 3, 17]


def test_a_still_longer_than_a_second_ends_a_shot() -> None:
    """Guards slides: of a picture that is shown for a minute, a second is kept."""
    pictures = timed(render(20))
    slide = TimedPicture(pictures[9].start, pictures[9].start + 60, pictures[9].pixels)
    later = [TimedPicture(p.start + 60, p.end + 60, p.pixels) for p in pictures[10:]]
    found = [list(shot) for shot in shots(iter([*pictures[:9], slide, *later]))]
    assert [len(shot) for shot in found] == [10, 10]
    assert found[0][-1].end == slide.start + 1


def test_shots_run_two_pictures_ahead_and_keep_none() -> None:
    """Guards memory: of a film of any length, the pictures that the detector of cuts needs are alive, and no more."""
    pictures = timed(np.concatenate([render(30), render(30, 1)]))
    read = 0

    def stream() -> Iterator[TimedPicture]:
        nonlocal read
        for picture in pictures:
            read += 1
            yield picture

    seen = 0
    for shot in shots(stream()):
        for _ in shot:
            seen += 1
            assert read - seen <= 2
    assert seen == 60
