"""VBench's aesthetic and imaging quality: a network's score of each frame, and the mean of them over a clip.

B pictures
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from longtake.evaluation.measures.base import About, Curve, Frames
from longtake.evaluation.measures.series import mean, means
from longtake.evaluation.vbench.vit import ClipImage


class Aesthetic(nn.Module):
    """LAION's linear head on the features of CLIP ViT-L/14: (B, 3, 224, 224) to ratings (B,), divided by 10.

    Source: LAION-AI/aesthetic-predictor, version 1. Range about 0 … 1, from ratings of 1 to 10.
    """

    def __init__(self, clip: ClipImage) -> None:
        super().__init__()
        self.clip = clip
        self.head = nn.Linear(clip.projection.out_features, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(functional.normalize(self.clip(pictures), dim=-1))[:, 0] / 10


class FrameQuality:
    """The mean of a network's scores of one film's frames, every one on its own.

    Higher is better. Blind spot: nothing is known of time. Aesthetic quality sees the middle square alone, with the
    taste of those who rated photographs; imaging quality knows the faults of telephone cameras, not of generators.
    (aesthetic_quality.py, imaging_quality.py)
    """

    def __init__(self, name: str, about: About, view: Callable[[Frames], NDArray[np.float32]]) -> None:
        """view: frames (N, H, W, 3) to scores (N,)."""
        self.about = {name: about}
        self._name, self._view = name, view
        self._scores: list[float] = []

    def push(self, frames: Frames) -> None:
        self._scores.extend(self._view(frames).tolist())

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        return {self._name: means(self._scores, slices)}

    def totals(self) -> dict[str, float]:
        return {self._name: mean(self._scores)}
