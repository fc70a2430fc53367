"""Which measures a film is measured with, and what they cannot see."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import torch

from longtake.evaluation.classifier import AttributeClassifier
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
from longtake.worlds.tracking_shot import Shot

Judge = tuple[AttributeClassifier, Shot]
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
    "carried scenery": "repeated texture, where a point may take its neighbour's place; water, haze and darkness, where"
    " there is little to follow, and textures finer than the way from frame to frame; a vehicle that is followed"
    " persists and is not carried; growth is the median of what comes near and what does not, told of those that"
    " persist alone.",
    "consistency, similarity": Consistency.blind_spots,
    "distance from real film": RealFilm.blind_spots,
    "likeness to real film": "it is low for what is rare in real film, and does not see motion.",
    "attributes read right": "everything but the five attributes. Speed is not read, and an ugly picture can be read"
    " right.",
}


def measures_for(
    fps: Fraction, joints: Joints = UNKNOWN, judge: Judge | None = None, vbench: VBench | None = None
) -> list[Measure]:
    """New measures for one film. joints: where its pieces meet. judge: a
    classifier, and the tracking shot that the film should show. vbench: networks whose weights the user has."""
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
    if judge is not None:
        measures.append(Adherence(*judge))
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
