"""Does the grid of the model's patches show in the picture?

H W height and width in pixels
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from longtake.evaluation.measures.base import About, Curve, Frames
from longtake.evaluation.measures.picture import REC_709
from longtake.evaluation.measures.series import largest

USUAL_PATCHES = (8, 16)  # pixels: what most models code a picture in
SKY = 0.3  # the share of a picture's rows, from above, in which there is most often sky
ROUNDING = 0.1  # grey levels: steps that are smaller on average count as that

Steps = NDArray[np.floating]


class GridRatio:
    """How much more the picture steps from column to column where patches meet than elsewhere. 1 = no grid, 0 upwards.

    With s(x) the mean size of luma's step, in grey levels, from column x − 1 to column x over all rows and frames:
    grid is the mean of s at the multiples of the patch over the mean of s at the others, each at least 0.1 grey levels.
    grid_sky is the same over the upper 30 % of the rows: in a sky nothing hides a grid. Both in a slice and the film.
    NaN for pictures that are not wider than a patch. It is a block-edge ratio, as measures of coding's blockiness are.

    Rows are not compared: a horizon that lies on a multiple of the patch is no grid.

    patch: the side of the model's patch in pixels, of a film of unknown origin None: the larger ratio of 8 and 16."""

    blind_spots = (
        "what stands still at such a column is a grid; texture hides one; patches that a model overlaps or shifts; a"
        " codec has blocks of 8 and 16 pixels itself, so compare files with real film that is encoded alike."
    )
    about: Mapping[str, About] = {
        "grid_sky": About("grid in the sky", "ratio", "lower"),
        "grid": About("grid", "ratio", "lower"),
    }

    def __init__(self, patch: int | None = None) -> None:
        self._patches = USUAL_PATCHES if patch is None else (patch,)
        # Of each frame, of the sky and of all rows, of each patch: the mean step where patches meet, and elsewhere.
        self._steps: list[Steps] = []

    def push(self, frames: Frames) -> None:
        for picture in frames:
            steps = np.abs(np.diff(picture @ REC_709, axis=1))
            rows = steps[: max(1, round(SKY * len(steps)))].mean(0), steps.mean(0)
            self._steps.append(np.array([[met(row, patch) for patch in self._patches] for row in rows]))

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        ratios = [self._ratios(part) for part in slices]
        return {name: np.array([ratio[name] for ratio in ratios]) for name in self.about}

    def totals(self) -> dict[str, float]:
        return self._ratios(slice(None))

    def _ratios(self, part: slice) -> dict[str, float]:
        at, elsewhere = np.moveaxis(np.maximum(ROUNDING, np.mean(self._steps[part], axis=0)), -1, 0)
        return {name: largest(ratios) for name, ratios in zip(self.about, at / elsewhere, strict=True)}


def met(steps: Steps, patch: int) -> tuple[float, float]:
    """The mean step to the columns that are multiples of the patch, and that to the others; NaN if either is none."""
    at = np.arange(1, len(steps) + 1) % patch == 0
    if at.all() or not at.any():
        return math.nan, math.nan
    return float(steps[at].mean(dtype=float)), float(steps[~at].mean(dtype=float))
