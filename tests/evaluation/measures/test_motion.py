"""Flow, freezing and loops, on films whose motion is known."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from longtake.evaluation.measures.base import Frames
from longtake.evaluation.measures.motion import Freezing, Looping, OpticalFlow
from longtake.worlds.tracking_shot.shot import Shot

WHOLE = [slice(0, 48)]


def panning(places: list[float], height: int = 64, width: int = 96) -> Frames:
    """A camera at these places, in pixels, along a wall of soft spots."""
    noise = np.random.default_rng(0).integers(0, 256, (height, 900, 3)).astype(np.float32)
    spots = cv2.GaussianBlur(noise, (0, 0), 2)
    wall = np.interp(spots, (spots.min(), spots.max()), (0, 255)).astype(np.float32)
    at = [np.array([[1, 0, -place], [0, 1, 0]], np.float32) for place in places]
    return np.stack([cv2.warpAffine(wall, matrix, (width, height)).round().astype(np.uint8) for matrix in at])


@pytest.mark.parametrize(
    ("speed", "fps"), [(0.4, 24), (1.0, 24), (2.0, 24), (3.0, 8), (2.5, 4), (1.0, Fraction(30000, 1001))]
)
def test_motion_is_the_shift(speed: float, fps: Fraction | int) -> None:
    """In 256ths of the shorter side between looks, which are an eighth of a second apart if the film has so many."""
    measure = OpticalFlow(fps)
    measure.push(panning([speed * n for n in range(48)]))
    motion = speed * measure.step * 256 / 64 / max(1, 8 / float(fps))
    assert measure.totals()["motion"] == pytest.approx(motion, rel=0.1)
    assert measure.totals()["dynamic_degree"] == measure.curves(WHOLE)["dynamic_degree"] == (motion > 6)


def test_a_clip_is_dynamic_from_a_quarter_on() -> None:
    """VBench's count: of 16 looks, 4 transitions, not 3."""
    for moving, dynamic in ((4, 1.0), (3, 0.0)):
        measure = OpticalFlow(8)
        measure.push(panning([4.0 * min(n, moving) for n in range(16)]))
        assert measure.curves([slice(0, 16)])["dynamic_degree"] == dynamic


def test_even_motion_is_smooth() -> None:
    """Dropped frames of an even pan can be made from their neighbours; those of one that stutters cannot."""
    even, stuttering = OpticalFlow(24), OpticalFlow(24)
    even.push(panning([2.0 * n for n in range(24)]))
    stuttering.push(panning([2.0 * n + 3 * (n % 2) for n in range(24)]))
    assert even.totals()["smoothness"] > 0.98 > 0.95 > stuttering.totals()["smoothness"]


def test_large_pictures_are_shrunk() -> None:
    """Motion is relative to the picture, so its size does not matter."""
    small = panning([float(n) for n in range(13)], 256, 300)
    large = np.stack([cv2.resize(picture, None, fx=2, fy=2) for picture in small])
    a, b = OpticalFlow(24), OpticalFlow(24)
    a.push(small)
    b.push(large)
    assert a.totals()["motion"] == pytest.approx(b.totals()["motion"], rel=0.05)


def test_a_frozen_film() -> None:
    """No motion, nothing dropped that cannot be made, all transitions frozen; and no loop: time makes no difference."""
    film = np.repeat(panning([0.0]), 96, 0)
    flow, freezing, looping = OpticalFlow(24), Freezing(24), Looping(24)
    for measure in (flow, freezing, looping):
        measure.push(film)
    assert flow.totals() == {"dynamic_degree": 0, "motion": 0, "smoothness": 1}
    assert freezing.totals() == {"freeze_share": 1}
    assert looping.totals() == {"loop_score": 0.5}


def test_freezing_half_way() -> None:
    """The share is that of the standing half."""
    measure = Freezing(24)
    measure.push(panning([min(n, 48) * 0.5 for n in range(96)]))
    np.testing.assert_array_equal(measure.curves([slice(0, 48), slice(48, 96)])["freeze_share"], [0, 1])


def test_slow_night_film_is_not_frozen() -> None:
    """The threshold lies below the slowest and darkest that the renderer draws."""
    measure = Freezing(24)
    measure.push(Shot("sailboat", "white", "mountains", "night", "foggy", "slow").render(100, 96))
    assert measure.totals() == {"freeze_share": 0}


@pytest.mark.parametrize("period", [60, 61, 120])
def test_loops(period: int) -> None:
    """A film that repeats itself is told from one that goes on, whether looks fall on the same places or not."""
    for places, low, high in ((range(240), 0.0, 0.35), ([n % period for n in range(240)], 0.6, 1.0)):
        measure = Looping(24)
        measure.push(panning([0.5 * place for place in places]))
        curve = measure.curves([slice(0, 48), slice(144, 240)])["loop_score"]
        assert np.isnan(curve[0]) and low <= curve[1] <= high


def loop_scores(film: Frames, memory: int) -> list[float]:
    """The formula over a whole film of eight frames a second. memory: in frames."""
    small = [cv2.resize(f.astype(np.float32), (16, 9), interpolation=cv2.INTER_AREA).ravel() for f in film]
    scores = [np.nan] * 16
    for at in range(16, len(film)):
        beside, earlier = (
            [*small[at - 1 : at], *small[at + 1 : at + 2]],
            small[max(0, at - 15 - memory) : at - 15],
        )
        near, far = (min(np.abs(one - small[at]).mean() for one in some) + 0.1 for some in (beside, earlier))
        scores.append(near / (near + far))
    return scores


@pytest.mark.parametrize("memory", [600, 3])
def test_what_is_long_ago_is_forgotten(memory: int) -> None:
    """Guards hours of film against work that grows with its square: a moment is compared with a bounded number of
    earlier ones, exactly; films shorter than that are compared with all they have."""
    film = np.random.default_rng(0).integers(0, 256, (100, 18, 32, 3), dtype=np.uint8)
    film[70:80] = film[20:30]
    measure = Looping(8, memory)
    for part in (film[:1], film[1:50], film[50:]):
        measure.push(part)
    curve = measure.curves([slice(at, at + 1) for at in range(100)])["loop_score"]
    np.testing.assert_allclose(curve, loop_scores(film, 8 * memory), rtol=1e-6)
    assert (curve[70:80].min() > 0.99) == (memory == 600)
