"""Which measures a film is measured with, and what they cannot see."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import torch

from longtake.evaluation.features import Features, ImageNetFeatures
from longtake.evaluation.measures.adherence import Adherence
from longtake.evaluation.measures.base import Joints, Measure
from longtake.evaluation.measures.beat import Beat
from longtake.evaluation.measures.clips import ClipFeatures, Clips
from longtake.evaluation.measures.consistency import Consistency
from longtake.evaluation.measures.distribution import RealFilm
from longtake.evaluation.measures.grid import GridRatio
from longtake.evaluation.measures.motion import Freezing, Looping, OpticalFlow
from longtake.evaluation.measures.picture import PictureStatistics
from longtake.evaluation.measures.scenery import CarriedScenery
from longtake.evaluation.measures.seams import SceneCuts, SeamScore
from longtake.evaluation.vbench.dimensions import VBench
from longtake.evaluation.world import Judged

UNKNOWN = Joints()

# What the measures cannot see, as the page tells it.
BLIND_SPOTS = {
    "frame statistics": PictureStatistics.blind_spots,
    "motion, smoothness": OpticalFlow.blind_spots,
    "frozen transitions": Freezing.blind_spots,
    "likeness to earlier moments": Looping.blind_spots,
    "change at shifts": SeamScore.blind_spots,
    "scene cuts": SceneCuts.blind_spots,
    "grid": GridRatio.blind_spots,
    "beat": Beat.blind_spots,
    "carried scenery": CarriedScenery.blind_spots,
    "consistency, similarity": Consistency.blind_spots,
    "distance from real film": RealFilm.blind_spots,
    "likeness to real film": "it is low for what is rare in real film, and does not see motion.",
    "attributes read right": Adherence.blind_spots,
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


@cache
def load_vbench(weights_dir: Path, device: str) -> VBench:
    """Loaded once a process."""
    return VBench(weights_dir, torch.device(device))


@cache
def _features() -> Features:
    return ImageNetFeatures()
