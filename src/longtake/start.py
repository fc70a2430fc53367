"""The clip that a film begins with."""

from __future__ import annotations

import os
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from longtake.errors import LongTakeError, OptionError
from longtake.options import Film
from longtake.video import Pictures, probe, read_timed, resampled, same_rate


def read_start(path: str | os.PathLike[str], film: Film, fit: bool = False) -> Pictures:
    """The first pictures (F, height, width, 3) of a clip, as many as the film begins with.

    fit: a clip of another size is scaled to cover the film's and cropped to its centre, one of another rate is
    resampled. Raises OptionError for such a clip otherwise, and for one that is too short; LongTakeError for one that
    cannot be read.
    """
    width, height, rate = film.settings.width, film.settings.height, film.rate
    if not Path(path).is_file():
        raise OptionError(f"no clip {path} to begin with")
    info = probe(path)
    at_rate = info.is_constant and same_rate(info.fps, rate)
    if not fit and ((info.width, info.height) != (width, height) or not at_rate):
        raise OptionError(
            f"{path} is {info.width}x{info.height} at {'' if info.is_constant else 'a varying rate, about '}"
            f"{float(info.fps):.6g} fps, the film {width}x{height} at"
            f" {float(rate):.6g}: give --fit-start to scale, crop and resample it"
        )
    try:
        with open(path, "rb") as file:
            frames = resampled(read_timed(file, width, height), info.fps if at_rate else rate)
            pictures = list(islice(frames, film.given_frames))
    except LongTakeError as error:
        raise LongTakeError(f"{path} {error}") from error
    if len(pictures) < film.given_frames:
        raise OptionError(
            f"{path} has {len(pictures)} frames at {float(rate):.6g} fps, the film begins with"
            f" {film.given_frames}: take a longer clip"
        )
    return np.stack(pictures)


def origin(path: os.PathLike[str], pictures: Pictures) -> dict[str, Any]:
    """What a film's metadata say of the clip that it begins with: its name, and what its pictures are."""
    return {"start": {"name": Path(path).name, "sha256": sha256(pictures.tobytes()).hexdigest()}}
