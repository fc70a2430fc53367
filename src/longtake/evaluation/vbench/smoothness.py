"""VBench's motion smoothness: can every second frame be told from its neighbours?"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from longtake.errors import DataError
from longtake.evaluation.measures.base import About, Curve, Frames
from longtake.evaluation.measures.series import mean, means
from longtake.evaluation.vbench.amt import MULTIPLE, AmtS
from longtake.evaluation.vbench.pictures import padded, to_tensor
from longtake.finite import SEEN, require_finite

NAME = "vbench_motion_smoothness"
SMALLEST_SIDE = 49  # padded to 64, where the coarsest correlations are of one place


def smoothness(between: Tensor, frame: Tensor) -> float:
    """How close a picture of 0 … 1 comes to a frame of 0 … 255, both (1, 3, H, W): 1 - mean |difference| / 255.

    The picture is cut to whole grey levels first. Range 0 … 1, higher is better. Blind spot: a still film scores 1, a
    dark or dull one nearly. (motion_smoothness.py)
    """
    return float(1 - ((255 * between).floor() - frame).abs().mean() / 255)


class MotionSmoothness:
    """How close AMT-S comes to one film's odd frames from the two beside each, at full size."""

    def __init__(self, network: AmtS, device: torch.device) -> None:
        self.about = {NAME: About("motion smoothness (VBench, AMT-S)", "1 - mean difference / 255", "higher")}
        self._network, self._device = network, device
        self._scores: list[float] = []  # a frame, NaN for even ones
        self._waiting: list[Frames] = []

    @torch.no_grad()
    def push(self, frames: Frames) -> None:
        if (side := min(frames.shape[1:3])) < SMALLEST_SIDE:
            raise DataError(f"motion smoothness needs pictures of {SMALLEST_SIDE} pixels a side, not {side}")
        frames = np.concatenate([*self._waiting, frames])
        for i in range(0, len(frames) - 2, 2):
            before, frame, after = to_tensor(frames[i : i + 3], self._device).split(1)
            (first, place), (second, _) = padded(before / 255, MULTIPLE), padded(after / 255, MULTIPLE)
            between = require_finite(self._network(first, second), *SEEN)[(..., *place)]
            self._scores += [np.nan, smoothness(between, frame)]
        self._waiting = [frames[(len(frames) - 1) // 2 * 2 :].copy()]

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        return {NAME: means(self._scores, slices, lead=1, trail=1)}

    def totals(self) -> dict[str, float]:
        return {NAME: mean(self._scores)}
