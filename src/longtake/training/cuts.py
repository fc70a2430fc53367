"""Film cut into unbroken shots, as it streams by.

A cut is where PySceneDetect's adaptive detector sees one, unless what was there before is there again one or two
pictures later: that is a flash, or a picture that dropped out, and belongs to the shot. A jump in time is a cut.
Blind spots: crossfades and fades, and cuts between pictures alike."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count, groupby
from operator import itemgetter

import cv2
import numpy as np
from scenedetect import AdaptiveDetector, FrameTimecode

from longtake.video import Pictures, TimedPicture

LOOK_AHEAD = 2  # pictures that the detector must see behind the one it judges
LONGEST_FLASH = 2  # pictures
CHANGE = 15.0  # the least that is another shot, as the detector measures it
DETECTOR_SIDE = 256  # pictures are thinned out to about so many pixels a row before it sees them
LONGEST_PICTURE = Fraction(1)  # seconds


def shots(pictures: Iterable[TimedPicture]) -> Iterator[Iterator[TimedPicture]]:
    """A film in unbroken shots, each to be read before the next.

    A gap in time ends a shot as a cut does; where a picture is shown for more than LONGEST_PICTURE, the rest is one."""
    for _, shot in groupby(_numbered(pictures), key=itemgetter(0)):
        yield (picture for _, picture in shot)


def _numbered(pictures: Iterable[TimedPicture]) -> Iterator[tuple[int, TimedPicture]]:
    """Each picture behind the number of its shot."""
    number, end = 0, None
    for starts, picture in _judged(pictures):
        number += starts or picture.start != end
        end = min(picture.end, picture.start + LONGEST_PICTURE)
        yield number, replace(picture, end=end)


def _judged(pictures: Iterable[TimedPicture]) -> Iterator[tuple[bool, TimedPicture]]:
    """Each picture behind whether another shot begins with it, LOOK_AHEAD pictures late."""
    waiting: deque[tuple[TimedPicture, Pictures]] = deque()
    before: deque[Pictures] = deque(maxlen=LONGEST_FLASH + 1)
    for picture, thinned, cut in _detected(pictures, waiting):
        yield cut and not _goes_on(before, [thinned, *(later for _, later in waiting)]), picture
        before.append(thinned)


def _detected(
    pictures: Iterable[TimedPicture], waiting: deque[tuple[TimedPicture, Pictures]]
) -> Iterator[tuple[TimedPicture, Pictures, bool]]:
    """Each picture, itself thinned out, and whether it differs from the one before as only another shot does; those
    behind it are `waiting`.

    The detector judges a picture when it has seen LOOK_AHEAD more; it is shown the first and the last one repeatedly,
    so that it judges them all.
    """
    detector = AdaptiveDetector(min_scene_len=1, window_width=LOOK_AHEAD, min_content_val=CHANGE)
    places = count()

    def judge(thinned: Pictures) -> bool:
        return bool(detector.process_frame(FrameTimecode(next(places), fps=24.0), thinned))

    for picture in pictures:
        thinned = _thinned(picture.pixels)
        if not waiting:
            for _ in range(LOOK_AHEAD):
                judge(thinned)
        waiting.append((picture, thinned))
        cut = judge(thinned)
        if len(waiting) > LOOK_AHEAD:
            yield *waiting.popleft(), cut
    while waiting:
        cut = judge(thinned)
        yield *waiting.popleft(), cut


def _goes_on(before: Sequence[Pictures], after: Sequence[Pictures]) -> bool:
    """Whether pictures at either side of a place are alike that have something else between them, for no longer than a
    flash."""
    return any(
        _change(before[-back], after[ahead]) < CHANGE
        for back in range(1, len(before) + 1)
        for ahead in range(len(after))
        if 1 < back + ahead <= LONGEST_FLASH + 1
    )


def _change(one: Pictures, other: Pictures) -> float:
    """By how much hue, saturation and brightness differ on average, 0 to 255, as the detector measures it."""
    was, now = (cv2.cvtColor(picture, cv2.COLOR_BGR2HSV).astype(np.int16) for picture in (one, other))
    return float(np.abs(now - was).mean())


def _thinned(pixels: Pictures) -> Pictures:
    """Some of a picture's pixels, blue first."""
    step = max(1, pixels.shape[1] // DETECTOR_SIDE)
    return np.ascontiguousarray(pixels[::step, ::step, ::-1])
