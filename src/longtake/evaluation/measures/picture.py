"""What the pictures are like, one by one, and how much they flicker.

Formulas, over pixels of sRGB values R, G, B from 0 to 1:

- luma Y = 0.2126 R + 0.7152 G + 0.0722 B (Rec. 709), its mean;
- contrast: the standard deviation of Y (RMS contrast, Peli 1990);
- saturation: the mean of max(R, G, B) − min(R, G, B), which unlike HSV's is no noise in the dark;
- sharpness: the mean of |Y's Laplacian| (four neighbours less four times the pixel; 0 to 4);
- clipped: the share of pixels with a channel at 0 or 255;
- flicker: 1 − the mean absolute difference of consecutive frames, VBench's temporal_flickering (Huang et al.,
  arXiv 2311.17982). 1 is a still picture.

All lie in 0 … 1 but for sharpness. None is good or bad in itself: what tells is that they change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from longtake.evaluation.measures.base import About, Curve, Frames
from longtake.evaluation.measures.series import mean, means

REC_709 = np.array([0.2126, 0.7152, 0.0722], np.float32)


class PictureStatistics:
    """Curves and totals: means over the slice and over the film. Flicker takes the transitions inside the slice."""

    blind_spots = (
        "noise is sharpness, a cut to a picture as bright is nothing, and flicker rewards blur and standing"
        " still."
    )
    about: Mapping[str, About] = {
        "luma": About("luma", "0 to 1", "neither"),
        "contrast": About("contrast", "0 to 1", "neither"),
        "saturation": About("saturation", "0 to 1", "neither"),
        "sharpness": About("sharpness", "0 to 4", "neither"),
        "clipped": About("clipped pixels", "share", "neither"),
        "flicker": About("flicker (VBench)", "0 to 1", "neither"),
    }

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {name: [] for name in self.about}
        self._last: Frames | None = None

    def push(self, frames: Frames) -> None:
        for picture in frames:
            for name, value in statistics(picture).items():
                self._values[name].append(value)
            self._values["flicker"].append(
                math.nan if self._last is None else 1 - change(self._last, picture)
            )
            self._last = picture

    def curves(self, slices: Sequence[slice]) -> dict[str, Curve]:
        return {name: means(values, slices, lead=name == "flicker") for name, values in self._values.items()}

    def totals(self) -> dict[str, float]:
        return {name: mean(values) for name, values in self._values.items()}


def statistics(picture: Frames) -> dict[str, float]:
    """The numbers of one picture (H, W, 3)."""
    luma = picture @ (REC_709 / 255)
    red, green, blue = cv2.split(picture)
    lightest, darkest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return {
        "luma": float(luma.mean()),
        "contrast": float(luma.std()),
        "saturation": float((lightest - darkest).mean() / 255),
        "sharpness": float(np.abs(cv2.Laplacian(luma, cv2.CV_32F)).mean()),
        "clipped": float(((lightest == 255) | (darkest == 0)).mean()),
    }


def change(a: Frames, b: Frames) -> float:
    """The mean absolute difference of two pictures, 0 to 1."""
    return cv2.norm(a, b, cv2.NORM_L1) / (255 * a.size)
