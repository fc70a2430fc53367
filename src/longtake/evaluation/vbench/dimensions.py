"""The dimensions that a folder of weights allows, each with its network, ready to measure film after film."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from longtake.errors import ModelError
from longtake.evaluation.measures.base import About, Measure
from longtake.evaluation.vbench import amt, musiq, pictures, raft, vit
from longtake.evaluation.vbench.consistency import FrameConsistency
from longtake.evaluation.vbench.dynamic_degree import DynamicDegree
from longtake.evaluation.vbench.pictures import Viewer
from longtake.evaluation.vbench.quality import Aesthetic, FrameQuality
from longtake.evaluation.vbench.smoothness import MotionSmoothness
from longtake.evaluation.vbench.weights import (
    AESTHETIC_HEAD,
    AMT,
    CLIP_B32,
    CLIP_L14,
    DINO,
    MUSIQ,
    RAFT,
    Receipt,
    WeightsFile,
    check,
    fill,
)

Maker = Callable[[Fraction], Measure]
Network = TypeVar("Network", bound=nn.Module)


class VBench:
    """VBench's dimensions with the networks whose weights are in a folder, loaded once.

    weights: what was used, by its path below the folder; it belongs in every result.
    missing: the files that the other dimensions look for, by dimension.
    Raises ModelError for a folder with none of the files, and for a file that is damaged or is not what it should be.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.weights: dict[str, Receipt] = {}
        self.missing = missing_weights(folder)
        self._makers: list[Maker] = []
        for name, (files, load) in DIMENSIONS.items():
            if name in self.missing:
                continue
            self.weights |= {file.path: check(folder, file) for file in files}
            self._makers.append(load(folder, device))
        if not self._makers:
            looked_for = next(iter(self.missing.values()))[0]
            raise ModelError(f"{folder} holds none of VBench's weights, the first would be {looked_for}")

    def measures(self, fps: Fraction) -> list[Measure]:
        """The measures of one film of `fps` frames a second. A slice is one clip, two seconds long in VBench-Long."""
        return [make(fps) for make in self._makers]


def missing_weights(folder: Path) -> dict[str, list[str]]:
    """The files that are not in a folder and where they come from, by the dimension that cannot be measured then."""
    absent = {
        name: [
            f"{folder / file.path}, from {file.origin}"
            for file in files
            if not (folder / file.path).is_file()
        ]
        for name, (files, _) in DIMENSIONS.items()
    }
    return {name: files for name, files in absent.items() if files}


def unmeasured(folder: Path) -> list[str]:
    """The dimensions that a folder does not allow, in words."""
    return [
        f"VBench's {name} is not measured: it needs {' and '.join(files)}"
        for name, files in missing_weights(folder).items()
    ]


def _subject_consistency(folder: Path, device: torch.device) -> Maker:
    network = _loaded(vit.Dino, folder, DINO, vit.DINO_NAMES, device)
    view = Viewer(network, pictures.for_dino, device)
    about = About("subject consistency (VBench, DINO)", "cosine", "higher")
    return lambda fps: FrameConsistency("vbench_subject_consistency", about, view)


def _background_consistency(folder: Path, device: torch.device) -> Maker:
    network = _loaded(vit.clip_b32, folder, CLIP_B32, vit.CLIP_NAMES, device)
    view = Viewer(network, pictures.for_clip, device)
    about = About("background consistency (VBench, CLIP)", "cosine", "higher")
    return lambda fps: FrameConsistency("vbench_background_consistency", about, view)


def _motion_smoothness(folder: Path, device: torch.device) -> Maker:
    network = _loaded(amt.AmtS, folder, AMT, amt.NAMES, device)
    return lambda fps: MotionSmoothness(network, device)


def _dynamic_degree(folder: Path, device: torch.device) -> Maker:
    network = _loaded(raft.Raft, folder, RAFT, raft.NAMES, device)
    return lambda fps: DynamicDegree(network, fps, device)


def _aesthetic_quality(folder: Path, device: torch.device) -> Maker:
    network = Aesthetic(_loaded(vit.clip_l14, folder, CLIP_L14, vit.CLIP_NAMES, device))
    fill(network.head, folder / AESTHETIC_HEAD.path, {}, device)
    view = Viewer(network, pictures.for_clip, device)
    about = About("aesthetic quality (VBench, LAION)", "rating / 10", "higher")
    return lambda fps: FrameQuality("vbench_aesthetic_quality", about, view)


def _imaging_quality(folder: Path, device: torch.device) -> Maker:
    network = _loaded(musiq.Musiq, folder, MUSIQ, musiq.NAMES, device)
    view = Viewer(network, pictures.for_musiq, device)
    about = About("imaging quality (VBench, MUSIQ)", "rating / 100", "higher")
    return lambda fps: FrameQuality("vbench_imaging_quality", about, view)


def _loaded(
    network: Callable[[], Network],
    folder: Path,
    file: WeightsFile,
    names: Mapping[str, str],
    device: torch.device,
) -> Network:
    with torch.device("meta"):
        made = network()
    fill(made, folder / file.path, names, device)
    return made


DIMENSIONS: dict[str, tuple[tuple[WeightsFile, ...], Callable[[Path, torch.device], Maker]]] = {
    "subject_consistency": ((DINO,), _subject_consistency),
    "background_consistency": ((CLIP_B32,), _background_consistency),
    "motion_smoothness": ((AMT,), _motion_smoothness),
    "dynamic_degree": ((RAFT,), _dynamic_degree),
    "aesthetic_quality": ((CLIP_L14, AESTHETIC_HEAD), _aesthetic_quality),
    "imaging_quality": ((MUSIQ,), _imaging_quality),
}
