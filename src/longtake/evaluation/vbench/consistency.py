"""VBench's subject and background consistency: does each frame look like the one before and like the clip's first?

N frames, D width of the features
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from longtake.evaluation.measures.base import About, Curve, Frames
from longtake.evaluation.measures.consistency import consistency, units


class FrameConsistency:
    """The consistency of one film in a network's features of every frame; of the whole film as if it were one clip.

    The formula is `consistency`'s. Subject: DINO ViT-B/16. Background: CLIP ViT-B/32. Blind spot: a still picture
    scores 1, and slow drift hides in a clip of two seconds. (subject_consistency.py, background_consistency.py)
    """

    def __init__(self, name: str, about: About, view: Callable[[Frames], NDArray[np.float32]]) -> None:
        """view: frames (N, H, W, 3) to features (N, D)."""
        self.about = {name: about}
        self._name, self._view = name, view
        self._features: list[NDArray[np.float32]] = []

    def push(self, frames: Frames) -> None:
        self._features.extend(self._view(frames))

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        return {self._name: np.array([self._consistency(clip) for clip in slices])}

    def totals(self) -> dict[str, float]:
        return {self._name: self._consistency(slice(None))}

    def _consistency(self, clip: slice) -> float:
        return consistency(units(np.array(self._features[clip])))
