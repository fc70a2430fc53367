"""Which measures a film is measured with, and what they cannot see."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import torch

from longtake.evaluation.features import Features, ImageNetFeatures
from longtake.evaluation.measures import adherence, consistency, distribution, picture
from longtake.evaluation.measures.adherence import Adherence
from longtake.evaluation.measures.base import Joints, Measure
from longtake.evaluation.measures.beat import Beat
from longtake.evaluation.measures.clips import ClipFeatures, Clips
from longtake.evaluation.measures.consistency import Consistency
from longtake.evaluation.measures.grid import GridRatio
from longtake.evaluation.measures.motion import Freezing, Looping, OpticalFlow
from longtake.evaluation.measures.picture import PictureStatistics
from longtake.evaluation.measures.scenery import CarriedScenery
from longtake.evaluation.measures.seams import SceneCuts, SeamScore
from longtake.evaluation.summary import with_likeness
from longtake.evaluation.vbench.dimensions import VBench
from longtake.evaluation.world import Judged

UNKNOWN = Joints()

# Where each measure says what it cannot see.
SAYING: dict[str, Any] = {
    "frame statistics": picture,
    "motion, smoothness": OpticalFlow,
    "frozen transitions": Freezing,
    "likeness to earlier moments": Looping,
    "change at shifts": SeamScore,
    "scene cuts": SceneCuts,
    "grid": GridRatio,
    "beat": Beat,
    "carried scenery": CarriedScenery,
    "consistency, similarity": consistency,
    "distance from real film": distribution,
    "likeness to real film": with_likeness,
    "attributes read right": adherence,
}


def measures_for(
    fps: Fraction, joints: Joints = UNKNOWN, judged: Judged | None = None, vbench: VBench | None = None
) -> list[Measure]:
    """New measures for one film. joints: where its pieces meet. judged: who reads
    it, and what it should show. vbench: networks whose weights the user has."""
    measures: list[Measure] = [
        PictureStatistics(),
        OpticalFlow(fps),
        Freezing(fps),
        Looping(fps),
        SeamScore(joints.shifts),
        SceneCuts(),
        GridRatio(joints.patch),
        Beat(fps, joints),
        CarriedScenery(fps),
        Consistency(_features(), fps),
    ]
    if judged is not None:
        measures.append(Adherence(judged))
    return measures + (vbench.measures(fps) if vbench else [])


def clips_of(measures: Sequence[Measure]) -> Clips:
    """The clips of the film that these measures have seen, for distances between sets of films."""
    return next(measure.clips() for measure in measures if isinstance(measure, ClipFeatures))


def blind_spots() -> dict[str, str]:
    """What the measures cannot see, in the words of their own files."""
    found = {}
    for name, place in SAYING.items():
        words = re.search(r"Blind spots?: (.+?)(?:\n\n|$)", inspect.getdoc(place) or "", re.DOTALL)
        assert words, f"{place} does not say what it cannot see"
        found[name] = " ".join(words[1].split())
    return found


@cache
def load_vbench(weights_dir: Path, device: str) -> VBench:
    """Loaded once a process."""
    return VBench(weights_dir, torch.device(device))


@cache
def _features() -> Features:
    return ImageNetFeatures()
