"""The clip or the photo that a film begins or ends with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from longtake.errors import LongTakeError, OptionError
from longtake.files import printable
from longtake.frames import apart, number
from longtake.options import FilmPlan
from longtake.video import Fit, Pictures, probe, read_photo, read_timed, resampled, same_rate

KINDS = "mp4, mov, mkv or webm"
VIDEOS = {".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm"}
PHOTOS = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".tif", ".tiff"),
    *(".heic", ".heif", ".avif", ".jxl", ".dng"),
}
UNREAD = {".heic", ".heif", ".dng"}  # photos in tiles, and raw ones
FITTED: dict[Fit, str] = {
    "crop": "scaled to cover that, and cropped to its middle",
    "pad": "scaled to fit into that, and padded with black",
    "scale": "stretched to that",
}


def is_photo(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name is that of a photo."""
    return Path(path).suffix.lower() in PHOTOS


def read_start(path: str | os.PathLike[str], film: FilmPlan, fit: Fit | None = None) -> Pictures:
    """The pictures (film.given_frames, height, width, 3) of the clip or the photo that a film begins with; as
    `read_given`."""
    return read_given(path, film, film.given_frames, fit)[0]


def read_given(
    path: str | os.PathLike[str],
    film: FilmPlan,
    num_frames: int,
    fit: Fit | None = None,
    side: str = "begin",
    asked: str = "--fit",
) -> tuple[Pictures, tuple[str, ...]]:
    """The first pictures (num_frames, height, width, 3) of a clip, or a photo as many times, and notes in words.

    fit: a clip of another size or rate is resampled, and fitted so; None: it is refused. A photo is fitted anyway,
    cropped unless `fit` says otherwise. What was fitted is noted. side: "begin" or "end", what the film does with it.
    asked: how a user asks for a fit. OptionError also for a clip that is too short; LongTakeError for a file that
    cannot be read.
    """
    if not os.path.isfile(path):  # which no name is too long for
        what = "that is a folder: name a file in it" if os.path.isdir(path) else "there is no such file"
        raise OptionError(f"no clip {printable(os.fspath(path))} to {side} with, {what}")
    if is_photo(path):
        return _photo(Path(path), film, num_frames, fit or "crop", side)
    return _clip(path, film, num_frames, fit, side, asked)


def _photo(
    path: Path, film: FilmPlan, num_frames: int, fit: Fit, side: str
) -> tuple[Pictures, tuple[str, ...]]:
    if path.suffix.lower() in UNREAD:
        raise OptionError(f"{printable(path)} is a photo of a kind that is not read: make a png of it")
    picture, size = read_photo(path, film.settings.width, film.settings.height, fit)
    notes = _fitting(path, size, film, fit)
    if num_frames > 1:
        seconds = number(num_frames / film.rate)
        notes.append(f"the film {side}s with the photo held still for {seconds} s, {num_frames} frames")
    return np.repeat(picture[None], num_frames, axis=0), tuple(notes)


def _fitting(path: str | os.PathLike[str], size: tuple[int, int], film: FilmPlan, fit: Fit) -> list[str]:
    """What becomes of a clip or photo of a width and height, in words, if that is not the film's."""
    width, height = film.settings.width, film.settings.height
    if size == (width, height):
        return []
    name = printable(os.fspath(path))
    return [f"{name} is {size[0]}x{size[1]}, the film {width}x{height}: it is {FITTED[fit]}"]


def _clip(
    path: str | os.PathLike[str], film: FilmPlan, num_frames: int, fit: Fit | None, side: str, asked: str
) -> tuple[Pictures, tuple[str, ...]]:
    width, height, rate = film.settings.width, film.settings.height, film.rate
    try:
        info = probe(path)
    except LongTakeError as error:
        raise LongTakeError(f"{error}{_instead(path)}") from error
    if info.missing or info.is_damaged:
        fit = fit or "crop"  # what is wrong with it comes before its size and rate
    at_rate = info.is_constant and same_rate(info.fps, rate)
    if fit is None and ((info.width, info.height) != (width, height) or not at_rate):
        its, wanted = apart(info.fps, rate)
        varying = "" if info.is_constant else "a varying rate, about "
        raise OptionError(
            f"{path} is {info.width}x{info.height} at {varying}{its} fps, the film {width}x{height} at {wanted} fps:"
            f" give {asked} crop, pad or scale to fit and resample it"
        )
    try:
        with open(path, "rb") as file:
            timed = read_timed(file, width, height, fit or "crop")
            pictures = list(islice(resampled(timed, info.fps if at_rate else rate), num_frames))
    except LongTakeError as error:
        raise LongTakeError(f"{path} {error}{_instead(path)}") from error
    if len(pictures) < num_frames:
        why = "as many as its context holds" if side == "begin" else "as many as its window sees"
        raise OptionError(
            f"{path} lasts {number(len(pictures) / rate)} s, {len(pictures)} frames at the film's {number(rate)} fps;"
            f" the film {side}s with the first {number(num_frames / rate)} s of a clip, {num_frames} such"
            f" frames, {why}: take a longer clip"
        )
    notes = _fitting(path, (info.width, info.height), film, fit or "crop")
    if not at_rate:
        notes.append(f"{printable(os.fspath(path))} is resampled to the film's {number(rate)} fps")
    if info.is_interlaced:
        notes.append(
            f"{printable(os.fspath(path))} is interlaced, and its pictures are taken as they are:"
            " ffmpeg -i FILE -vf bwdif NEW.mp4 makes whole ones of its fields"
        )
    return np.stack(pictures), tuple(notes)


def origin(path: os.PathLike[str], pictures: Pictures, side: str = "start") -> dict[str, Any]:
    """What a film's metadata say of the clip or photo at its start or end: its name, and what its pictures are."""
    told = {"name": printable(Path(path).name), "sha256": sha256(pictures.tobytes()).hexdigest()}
    return {side: told | ({"photo": True} if is_photo(path) else {})}


def given_in(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What FilmOptions.resolved is to be told of the start and the end of a film that says this of itself."""
    start, end = metadata.get("start"), metadata.get("end")
    return {
        "from_clip": start is not None,
        "photo": _was_photo(start),
        "end": None if end is None else "photo" if _was_photo(end) else "clip",
    }


def _was_photo(told: Any) -> bool:
    return isinstance(told, Mapping) and bool(told.get("photo"))


def _instead(path: str | os.PathLike[str]) -> str:
    """What to give in place of a file that cannot be read."""
    if Path(path).suffix.lower() in VIDEOS:
        return ": give a whole clip or a photo"
    return f"; films begin with {KINDS}: convert it to one of them"
