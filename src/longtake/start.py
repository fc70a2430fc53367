"""The clip that a film begins with."""

from __future__ import annotations

import os
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from longtake.errors import LongTakeError, OptionError
from longtake.files import printable
from longtake.frames import apart, number
from longtake.options import FilmPlan
from longtake.video import Pictures, probe, read_timed, resampled, same_rate

KINDS = "mp4, mov, mkv or webm"
VIDEOS = {".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm"}
PHOTOS = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".tif", ".tiff"),
    *(".heic", ".heif", ".avif", ".jxl", ".dng"),
}


def read_start(path: str | os.PathLike[str], film: FilmPlan, fit: bool = False) -> Pictures:
    """The first pictures (F, height, width, 3) of a clip, as many as the film begins with.

    fit: a clip of another size is scaled to cover the film's and cropped to its centre, one of another rate is
    resampled. Raises OptionError for such a clip otherwise, and for one that is too short; LongTakeError for one that
    cannot be read.
    """
    width, height, rate = film.settings.width, film.settings.height, film.rate
    if not Path(path).is_file():
        raise OptionError(f"no clip {path} to begin with")
    if Path(path).suffix.lower() in PHOTOS:
        raise OptionError(
            f"{path} is a photo, and films begin with video ({KINDS}): make a clip of it, such as with ffmpeg -loop 1"
            f" -framerate {rate} -i PHOTO -frames:v {film.given_frames} -pix_fmt yuv420p CLIP.mp4"
        )
    try:
        info = probe(path)
    except LongTakeError as error:
        raise LongTakeError(f"{error}{_other_kind(path)}") from error
    at_rate = info.is_constant and same_rate(info.fps, rate)
    if not fit and ((info.width, info.height) != (width, height) or not at_rate):
        its, wanted = apart(info.fps, rate)
        varying = "" if info.is_constant else "a varying rate, about "
        raise OptionError(
            f"{path} is {info.width}x{info.height} at {varying}{its} fps, the film {width}x{height} at {wanted} fps:"
            " give --fit-start to scale, crop and resample it"
        )
    try:
        with open(path, "rb") as file:
            frames = resampled(read_timed(file, width, height), info.fps if at_rate else rate)
            pictures = list(islice(frames, film.given_frames))
    except LongTakeError as error:
        raise LongTakeError(f"{path} {error}{_other_kind(path)}") from error
    if len(pictures) < film.given_frames:
        raise OptionError(
            f"{path} lasts {number(len(pictures) / rate)} s, {len(pictures)} frames at the film's {number(rate)} fps;"
            f" the film begins with the first {number(film.given_frames / rate)} s of a clip, {film.given_frames} such"
            " frames, as many as its context holds: take a longer clip"
        )
    return np.stack(pictures)


def origin(path: os.PathLike[str], pictures: Pictures) -> dict[str, Any]:
    """What a film's metadata say of the clip that it begins with: its name, and what its pictures are."""
    return {"start": {"name": printable(Path(path).name), "sha256": sha256(pictures.tobytes()).hexdigest()}}


def _other_kind(path: str | os.PathLike[str]) -> str:
    """What to say of a file that cannot be read and has no name of a kind that is taken."""
    return (
        ""
        if Path(path).suffix.lower() in VIDEOS
        else f"; films begin with {KINDS}: convert it to one of them"
    )
