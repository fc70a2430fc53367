"""VBench's dynamic degree: does a clip move, by the optical flow of its fastest twentieth?"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtake.errors import DataError
from longtake.evaluation.measures.base import About, Curve, Frames
from longtake.evaluation.vbench.pictures import padded, to_tensor
from longtake.evaluation.vbench.raft import STRIDE, Raft
from longtake.finite import SEEN, require_finite

NAME = "vbench_dynamic_degree"
SMALLEST_SIDE = 57  # padded to 64, where the coarsest correlations are of one place


def fastest(flow: Tensor) -> float:
    """The mean length of the longest 5 % of the vectors of a flow (1, 2, H, W), in pixels."""
    lengths = flow.square().sum(1).sqrt().flatten()
    return float(lengths.topk(int(0.05 * len(lengths))).values.mean())


def moves(speeds: NDArray[np.float64], shorter_side: int) -> float:
    """VBench's rule over the speeds between n frames, some eight a second: 1 for a clip that moves, 0 for one that does
    not, NaN for less than two frames.

    It moves if round(n / 4) of the speeds are above 6 pixels at a shorter side of 256. Blind spot: jitter and cuts are
    motion too, and it is not told how much. (dynamic_degree.py)
    """
    if not len(speeds):
        return np.nan
    return float((speeds > 6 * shorter_side / 256).sum() >= round((len(speeds) + 1) / 4))


class DynamicDegree:
    """The dynamic degree of one film, at every round(fps / 8)th of its frames, counted from the film's first."""

    def __init__(self, network: Raft, fps: Fraction, device: torch.device) -> None:
        self.about = {NAME: About("dynamic degree (VBench, RAFT)", "share of clips that move", "higher")}
        self._network, self._device = network, device
        self._interval = max(1, round(fps / 8))
        # For each frame, since the one an interval before; NaN for the first and for those that are passed over.
        self._speeds: list[float] = []
        self._shorter_side = 0
        self._last: Tensor | None = None

    @torch.no_grad()
    def push(self, frames: Frames) -> None:
        self._shorter_side = min(frames.shape[1:3])
        if self._shorter_side < SMALLEST_SIDE:
            raise DataError(
                f"dynamic degree needs pictures of {SMALLEST_SIDE} pixels a side, not {self._shorter_side}"
            )
        for i in range(len(frames)):
            speed = np.nan
            if len(self._speeds) % self._interval == 0:
                picture, _ = padded(to_tensor(frames[i : i + 1], self._device), STRIDE)
                if self._last is not None:
                    speed = fastest(require_finite(self._network(self._last, picture), *SEEN))
                self._last = picture
            self._speeds.append(speed)

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        return {NAME: np.array([self._moves(clip.start, clip.stop) for clip in slices])}

    def totals(self) -> dict[str, float]:
        return {NAME: self._moves(0, len(self._speeds))}

    def _moves(self, start: int, stop: int) -> float:
        speeds = np.array(self._speeds[start + self._interval : stop])
        return moves(speeds[~np.isnan(speeds)], self._shorter_side)
