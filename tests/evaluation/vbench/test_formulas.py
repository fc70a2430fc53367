"""VBench's formulas and preprocessing, by hand, with networks whose answers are known."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from longtake.errors import DataError
from longtake.evaluation.measures.base import About, Frames, Measure
from longtake.evaluation.vbench.consistency import FrameConsistency
from longtake.evaluation.vbench.dynamic_degree import DynamicDegree, fastest, moves
from longtake.evaluation.vbench.pictures import (
    CLIP_MEAN,
    CLIP_STD,
    Viewer,
    for_clip,
    for_dino,
    for_musiq,
    padded,
)
from longtake.evaluation.vbench.quality import Aesthetic, FrameQuality
from longtake.evaluation.vbench.smoothness import MotionSmoothness, smoothness
from longtake.evaluation.vbench.vit import ClipImage
from portable import rounding

CPU = torch.device("cpu")
ABOUT = About("a test", "none", "higher")


class Red(nn.Module):
    """Pictures to the red of their first pixel (B,)."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures[:, 0, 0, 0]


class Shift(nn.Module):
    """Two pictures to a flow along x that is the change of their brightness, everywhere."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return (second - first)[:, :2] * torch.tensor([1.0, 0.0])[:, None, None]


class Mean(nn.Module):
    """Two pictures to their mean."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return (first + second) / 2


def film(levels: list[int], height: int = 64, width: int = 64) -> Frames:
    """A uniform grey frame of each level."""
    return np.array(levels, np.uint8)[:, None, None, None].repeat(height, 1).repeat(width, 2).repeat(3, 3)


def in_portions(measure: Measure, frames: Frames, size: int) -> Measure:
    for i in range(0, len(frames), size):
        measure.push(frames[i : i + size])
    return measure


def test_consistency_by_hand() -> None:
    """Red, red, green: 1 and 1, then 0 and 0, so a half; the second slice has a first frame of its own."""
    colours = np.array([[200, 100, 100], [200, 100, 100], [100, 200, 100], [100, 200, 100]], np.uint8)
    frames = colours[:, None, None].repeat(2, 1).repeat(2, 2)
    measure = FrameConsistency("x", ABOUT, lambda frames: frames[:, 0, 0].astype(np.float32) - 100)
    in_portions(measure, frames, 3)
    curve = measure.curves([slice(0, 3), slice(2, 4), slice(3, 4)])["x"]
    np.testing.assert_allclose(curve, [0.5, 1, np.nan], atol=1e-6)
    assert measure.totals() == {"x": pytest.approx((1 + 0 + 0.5) / 3)}


def test_quality_is_a_mean_over_frames() -> None:
    """Guards the bookkeeping of scores over batches of 16 and slices."""
    measure = FrameQuality("x", ABOUT, Viewer(Red(), lambda pictures: pictures, CPU))
    in_portions(measure, film(list(range(40)), 2, 2), 17)
    np.testing.assert_allclose(measure.curves([slice(0, 4), slice(20, 40)])["x"], [1.5, 29.5])
    assert measure.totals() == {"x": 19.5}


def test_aesthetic_is_linear_in_the_direction() -> None:
    """The head sees features of length 1, and ratings are divided by 10."""
    network = Aesthetic(ClipImage(8, 1, 2, 4, 2, 6)).requires_grad_(False)
    seen = torch.randn(1, 3, 8, 8)
    direction = network.clip(seen)[0] / network.clip(seen).norm()
    expected = (network.head.weight[0] @ direction + network.head.bias[0]) / 10
    torch.testing.assert_close(
        network(seen)[0], expected, rtol=0, atol=rounding(lambda: network(seen), network, seen)
    )


def test_a_clip_moves_if_a_quarter_of_it_does() -> None:
    """16 frames: 4 of 15 speeds above 6 pixels at 256, in proportion at other sizes; equal to is not above."""
    assert moves(np.array([7.0] * 4 + [0.0] * 11), 256) == 1
    assert moves(np.array([7.0] * 3 + [6.0] * 12), 256) == 0
    assert moves(np.array([7.0] * 15), 320) == 0
    assert moves(np.array([7.0] * 15), 64) == 1
    assert moves(np.array([0.0]), 256) == 1, "VBench asks none of two frames, round(0.5), to move"
    assert np.isnan(moves(np.array([]), 256))


def test_fastest_twentieth() -> None:
    """Of 400 vectors the 20 longest: half of them of length 5, half of 3."""
    flow = torch.zeros(1, 2, 20, 20)
    flow[0, :, 0, :10] = torch.tensor([3.0, -4.0])[:, None]
    flow[0, 1, 1, :10] = -3
    assert fastest(flow) == 4


@pytest.mark.parametrize("portion", [1, 7, 100])
def test_dynamic_degree_looks_eight_times_a_second(portion: int) -> None:
    """At 24 frames a second every third counts, whatever the portions: here two seconds that move, two that stand, and
    flicker between the looks, which is not seen."""
    levels = [8 * (min(i, 48) // 3) + 50 * (i % 3) for i in range(96)]
    measure = DynamicDegree(Shift(), Fraction(24), CPU)  # type: ignore[arg-type]
    in_portions(measure, film(levels), portion)
    name = "vbench_dynamic_degree"
    np.testing.assert_array_equal(
        measure.curves([slice(0, 48), slice(48, 96), slice(0, 3)])[name], [1, 0, np.nan]
    )
    assert measure.totals() == {name: 1}


@pytest.mark.parametrize("portion", [1, 4, 100])
def test_smoothness_is_of_odd_frames(portion: int) -> None:
    """Frame 1 is half-way; frame 3 is 51 levels from half-way; frame 5 has no frame behind it."""
    measure = MotionSmoothness(Mean(), CPU)  # type: ignore[arg-type]
    in_portions(measure, film([0, 50, 100, 151, 100, 7], 50, 70), portion)
    curve = measure.curves([slice(0, 3), slice(2, 5), slice(1, 5), slice(0, 6), slice(4, 6)])
    np.testing.assert_allclose(curve["vbench_motion_smoothness"], [1, 0.8, 0.8, 0.9, np.nan], atol=5e-3)
    assert measure.totals()["vbench_motion_smoothness"] == pytest.approx(0.9, abs=5e-3)


def test_smoothness_cuts_to_grey_levels() -> None:
    """50.9 becomes 50, as it does in VBench, and is 1 from 51."""
    between, frame = torch.full((1, 3, 2, 2), 50.9 / 255), torch.full((1, 3, 2, 2), 51.0)
    assert smoothness(between, frame) == pytest.approx(1 - 1 / 255)


def test_small_film_is_refused() -> None:
    """Guards against pyramids that would end above one place."""
    for measure in (DynamicDegree(Shift(), Fraction(24), CPU), MotionSmoothness(Mean(), CPU)):  # type: ignore[arg-type]
        with pytest.raises(DataError, match="needs pictures of"):
            measure.push(film([0], 48, 64))


def test_pictures_for_dino_keep_their_shape() -> None:
    """128 x 80 becomes 358 x 224, uncropped; a uniform picture stays uniform and is normalised."""
    seen = for_dino(torch.full((1, 3, 80, 128), 255.0))
    assert seen.shape == (1, 3, 224, 358)
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(seen[0, :, 100, 100], torch.tensor(expected))


def test_pictures_for_clip_are_middle_squares() -> None:
    """A picture of 224 x 230 is only cropped, by three columns a side; one half as large is resized first, and not
    clipped where bicubic goes beyond the range."""
    ramp = torch.arange(230.0).expand(1, 3, 224, 230)
    mean, std = (torch.tensor(numbers)[:, None] for numbers in (CLIP_MEAN, CLIP_STD))
    torch.testing.assert_close(for_clip(ramp)[0, :, 7] * std + mean, ramp[0, :, 7, 3:-3] / 255)
    edge = torch.zeros(1, 3, 112, 112)
    edge[..., 56:] = 255
    seen = for_clip(edge)[0, :, 7] * std + mean
    assert seen.max() > 1.01 and seen.min() < -0.01


def test_pictures_for_musiq_shrink_alone() -> None:
    """Sides up to 512 stay; larger pictures are resized to whole pixels, cut off, and without antialiasing."""
    assert for_musiq(torch.zeros(1, 3, 80, 128)).shape == (1, 3, 80, 128)
    seen = for_musiq(torch.full((1, 3, 603, 1024), 255.0))
    assert seen.shape == (1, 3, 301, 512)
    torch.testing.assert_close(seen, torch.ones_like(seen))


def test_padding_repeats_edges_on_both_sides() -> None:
    """Guards the released padding: half of it, rounded down, goes before."""
    seen, (rows, columns) = padded(torch.arange(15.0).view(1, 1, 3, 5), 8)
    assert seen.shape == (1, 1, 8, 8)
    assert (rows, columns) == (slice(2, 5), slice(1, 6))
    assert seen[0, 0, 0].tolist() == [0, 0, 1, 2, 3, 4, 4, 4]
