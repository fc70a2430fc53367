"""One film's numbers: measured while it streams by, kept as JSON, and read again for the report.

N frames, H W height and width in pixels
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

import longtake
from longtake.errors import LongTakeError, NumberError
from longtake.evaluation.drift import SLICE_SECONDS, slices_of
from longtake.evaluation.measures.base import About, Curve, Frames, Measure
from longtake.evaluation.measures.clips import Clips
from longtake.evaluation.measures.motion import MEMORY
from longtake.evaluation.record import Numbers, Record, Source, Values
from longtake.files import beside, write_text
from longtake.frames import apart, number
from longtake.runs import write_tensors
from longtake.video import VideoWriter

Key = tuple[str, int | None]

STRIP_SECONDS = 10  # between two pictures of a strip
STRIP_HEIGHT = 80
STRIP_QUALITY = 80
SMALL_WIDTH, SMALL_CRF = 160, 30  # of the films that the report shows
MIN_FPS = 1  # so that a slice holds frames that can differ
PORTION = 24  # frames that measures are shown at once
PACKAGES = ("torch", "diffusers", "numpy", "av", "scenedetect-headless")  # whose versions numbers depend on
FILES = (".json", ".safetensors", ".jpg")  # that are written of a film, besides an mp4 of some


@dataclass(frozen=True)
class MeasuredFilm:
    """A measured film, its numbers as arrays. `row`, `group`, `times`, `curves`, `totals`, `about`: as in its file,
    which is `record`."""

    path: Path
    row: str
    group: str
    times: Curve
    curves: Mapping[str, Curve]
    totals: Mapping[str, float]
    about: Mapping[str, About]
    record: Record

    @property
    def key(self) -> Key:
        """What it shares with the films it is compared with: prompt and seed."""
        return self.group, self.record.seed


class FilmError(LongTakeError):
    """A film that cannot be measured: its name, and why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason


def measure_film(
    portions: Iterable[Frames], fps: Fraction, measures: Sequence[Measure], strip: Strip | None = None
) -> Numbers:
    """The numbers of a film, and its length in frames. `portions` of it may be of any length; at most
    PORTION frames are held.

    LongTakeError for a film that is shorter than a slice, shows fewer than MIN_FPS frames a second, or changes its
    size."""
    if fps < MIN_FPS:
        its, least = apart(fps, MIN_FPS)
        raise LongTakeError(f"its {its} frames a second are too few to measure: at least {least}")
    num_frames = 0
    for frames in regrouped(portions):
        for measure in measures:
            measure.push(frames)
        if strip is not None:
            strip.push(frames)
        num_frames += len(frames)
    slices = slices_of(num_frames, fps)
    if not slices:
        raise LongTakeError(
            f"its {num_frames} frames at {number(fps)} a second are fewer than a slice of {SLICE_SECONDS:g} seconds"
        )
    curves = [measure.curves(slices).items() for measure in measures]
    totals = [measure.totals().items() for measure in measures]
    return Numbers(
        num_frames=num_frames,
        frames_left_over=num_frames - slices[-1].stop,
        fps=str(fps),
        times=[float((part.start + part.stop) / 2 / fps) for part in slices],
        curves={name: _or_null(curve) for found in curves for name, curve in found},
        totals={name: _or_null([total])[0] for found in totals for name, total in found},
        about={name: about for measure in measures for name, about in measure.about.items()},
    )


def recorded(source: Source, numbers: Numbers) -> Record:
    """A film's file: where it comes from, and what was measured."""
    return Record(**source.given(), **numbers.given())


def remarks(numbers: Numbers) -> list[str]:
    """What about a film's numbers is not quite as one would think, in words."""
    found, frames = [], numbers.frames_left_over
    if frames:
        found.append(f"its last {frames} frames, fewer than a slice, are in no curve")
    if numbers.num_frames > MEMORY * Fraction(numbers.fps or 1):
        found.append(f"likeness to earlier moments looks back {MEMORY / 60:g} minutes, not to its beginning")
    return found


def regrouped(portions: Iterable[Frames]) -> Iterator[Frames]:
    """The same frames in portions of PORTION. LongTakeError if their size changes."""
    waiting: list[Frames] = []
    size = None
    for portion in portions:
        size = size or portion.shape[1:]
        if portion.shape[1:] != size:
            was, now = (f"{width}x{height}" for height, width, _ in (size, portion.shape[1:]))
            raise LongTakeError(f"its pictures change from {was} to {now}: cut it there")
        waiting.extend(portion)
        while len(waiting) >= PORTION:
            yield np.stack(waiting[:PORTION])
            del waiting[:PORTION]
    if waiting:
        yield np.stack(waiting)


class Strip:
    """A picture every STRIP_SECONDS of a film and its last one, side by side."""

    def __init__(self, fps: Fraction) -> None:
        self.every = max(1, round(STRIP_SECONDS * fps))
        self.pictures: list[Frames] = []
        self.seen = 0

    def push(self, frames: Frames) -> None:
        self.pictures += [frames[i] for i in range(-self.seen % self.every, len(frames), self.every)]
        self.seen += len(frames)
        self.last = frames[-1]

    def jpeg(self) -> bytes:
        """The pictures in a row, STRIP_HEIGHT pixels high."""
        height, width = self.last.shape[:2]
        size = round(width * STRIP_HEIGHT / height), STRIP_HEIGHT
        row = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in [*self.pictures, self.last]]
        bgr = np.concatenate(row, axis=1)[:, :, ::-1]
        done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, STRIP_QUALITY])
        assert done
        return data.tobytes()


def also_written(portions: Iterable[Frames], path: Path, fps: Fraction) -> Iterator[Frames]:
    """The same portions; on their way, at most SMALL_WIDTH pixels wide, they become an mp4."""
    writer = None
    with ExitStack() as stack:
        for frames in portions:
            height, width = frames.shape[1:3]
            scale = min(1, SMALL_WIDTH / width)
            size = round(width * scale / 2) * 2, round(height * scale / 2) * 2
            if writer is None:
                writer = stack.enter_context(VideoWriter(path, *size, fps, {}, overwrite=True, crf=SMALL_CRF))
            writer.write(np.stack([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in frames]))
            yield frames


def write_film(path: Path, record: Record, clips: Clips, strip: bytes) -> None:
    """Write a film's JSON, and beside it the clips that sets of films are compared by, and its strip.

    The JSON comes last and at once: a film whose JSON is there is finished."""
    write_tensors(path.with_suffix(".safetensors"), {"clips": torch.from_numpy(clips).half()})
    with beside(path.with_suffix(".jpg")) as part:
        part.write_bytes(strip)
    text = json.dumps(record.json_values(), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_clips(film: MeasuredFilm) -> Clips:
    """The clips that were written beside a film's JSON."""
    clips: Clips = load_file(film.path.with_suffix(".safetensors"))["clips"].double().numpy()
    return clips


def read_film(path: Path) -> MeasuredFilm:
    """LongTakeError for a file that is not a measured film's."""
    try:
        record = Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else error.errors()[0]["msg"]
        raise LongTakeError(f"{path} is not the file of a measured film ({why}): delete it") from error
    return MeasuredFilm(
        path=path,
        row=record.row,
        group=record.group,
        times=np.array(record.times),
        curves={name: _array(curve) for name, curve in record.curves.items()},
        totals={name: float(_array([total])[0]) for name, total in record.totals.items()},
        about=record.about,
        record=record,
    )


@cache
def made_with() -> dict[str, str | None]:
    """The versions that numbers depend on, and the commit if longtake is run from a git checkout."""
    folder = Path(longtake.__file__).parent
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    tracked = ["git", "-C", str(folder), "ls-files", "--error-unmatch", "__init__.py"]
    commit = None
    with suppress(OSError):
        if subprocess.run(tracked, capture_output=True).returncode == 0:
            commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or None
    return {
        "longtake": longtake.__version__,
        "commit": commit,
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "opencv": cv2.__version__,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
    }


def _array(values: Values) -> Curve:
    return np.array([np.nan if value is None else value for value in values], float)


def _or_null(values: Iterable[float]) -> Values:
    """Seven digits are what is measured; JSON knows no NaN, which is where there is nothing to measure. NumberError for
    a number that is infinite: a measure has gone wrong."""
    values = list(values)
    if any(map(math.isinf, values)):
        raise NumberError(f"a measure makes infinite numbers: {values}")
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values]
