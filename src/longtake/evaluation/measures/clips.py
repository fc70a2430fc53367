"""The frames of a film as vectors, and its 2-second clips, which are the slices of its curves.

N frames or clips, D numbers a frame
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from longtake.evaluation.drift import slices_of
from longtake.evaluation.features import Features
from longtake.evaluation.measures.base import About, Curve, Frames

Clips = NDArray[np.floating]  # (N, 2 D)

LOOKS = 4  # frames a second


class ClipFeatures:
    """A Measure without numbers of its own: it gathers the clips of a film, for `distribution.distances`.

    Looks at every k-th frame, from the first, so that there are about LOOKS a second. Keeps a vector for each."""

    def __init__(self, features: Features, fps: Fraction | float) -> None:
        self.about: Mapping[str, About] = {}
        self.features = features
        self.fps = fps
        self.step = max(1, round(fps / LOOKS))
        self.num_frames = 0
        self.vectors: dict[int, NDArray[np.float32]] = {}

    def looks_at(self, frame: int) -> bool:
        return frame % self.step == 0

    def push(self, frames: Frames) -> None:
        chosen = [i for i in range(len(frames)) if self.looks_at(self.num_frames + i)]
        if chosen:
            vectors = self.features(frames[chosen])
            self.vectors.update(zip((self.num_frames + i for i in chosen), vectors, strict=True))
        self.num_frames += len(frames)

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        return {}

    def totals(self) -> dict[str, float]:
        return {}

    def clips(self) -> Clips:
        """The film's whole clips in turn; what is left at its end is not among them.

        A clip is two vectors behind one another: the mean of its frames, what it shows, and the mean size of their
        change from one looked-at frame to the next, how it moves."""
        clips = []
        for part in slices_of(self.num_frames, self.fps):
            frames = range(part.start, part.stop)
            vectors = np.array([self.vectors[frame] for frame in frames if frame % self.step == 0])
            clips.append(np.concatenate([vectors.mean(0), np.abs(np.diff(vectors, axis=0)).mean(0)]))
        return np.array(clips)
