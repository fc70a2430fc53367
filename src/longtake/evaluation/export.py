"""Films cut into 2-second clips, in a folder that other people's tools read.

    OUT/split_clip/0001-NAME/0001-NAME_0000.mp4

is where VBench-Long looks for the clips of `videos_path=OUT, mode="long_custom_input"`, and would itself put them,
were its cutting exact at rates like 23.976 and its names safe. cd-fvd reads all clips of `load_videos(OUT,
data_type="video_folder")`, whatever their folders: export real film into an OUT of its own. Names are letters and
digits with hyphens between them, since spaces, dots, underscores and "-Scene" mean something to these tools;
films.json says which film each was."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from longtake.errors import LongTakeError, OutputError
from longtake.evaluation.drift import SLICE_SECONDS, slices_of
from longtake.files import printable, write_text
from longtake.runs import new_folder
from longtake.video import Pictures, VideoWriter, probe, read_frames

INDEX = "films.json"
NAME_LENGTH = 50  # letters, which may take four bytes of the 255 that a file name has


@dataclass(frozen=True)
class Exported:
    """What films.json says of a film: its name there, its file, the number of its clips, and how many frames at its end
    are in none."""

    name: str
    file: str
    clips: int
    frames_left_over: int


def export_clips(films: Sequence[Path], folder: Path) -> list[Exported]:
    """Cut films into clips under a new folder, and return what its films.json says of each. Films of odd sides lose
    their last row or column of pixels.

    LongTakeError for a film that cannot be read or is shorter than a clip, OutputError for a folder that exists or
    cannot be written; no folder is left then."""
    check_new(folder)
    try:
        with new_folder(folder) as part:
            index = [_export(film, number, part) for number, film in enumerate(films, 1)]
            write_text(part / INDEX, json.dumps([asdict(film) for film in index], indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from error
    return index


def check_new(folder: Path) -> None:
    """OutputError for a folder that exists, or that no disk can hold by this name."""
    if os.path.lexists(folder):
        raise OutputError(f"{folder} exists: choose another name")
    try:
        os.lstat(folder.with_name(folder.name + ".part"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from error


def clip_name(number: int, stem: str) -> str:
    """A name that tells a film from all others, and that no tool splits."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFC", stem.lower()))
    return "-".join([f"{number:04d}", *words])[:NAME_LENGTH].rstrip("-")


def _export(film: Path, number: int, folder: Path) -> Exported:
    info = probe(film)
    width, height = info.width // 2 * 2, info.height // 2 * 2
    name = clip_name(number, film.stem)
    clips = folder / "split_clip" / name
    clips.mkdir(parents=True)
    frames, written, clip = read_frames(film), 0, list[Pictures]()
    for part in slices_of(info.num_frames, info.fps):
        clip = list(islice(frames, part.stop - part.start))
        if len(clip) < part.stop - part.start:
            break
        with VideoWriter(clips / f"{name}_{written:04d}.mp4", width, height, info.fps, {}) as writer:
            writer.write(np.stack(clip)[:, :height, :width])
        written, clip = written + 1, []
    left_over = len(clip) + sum(1 for _ in frames)
    if not written:
        raise LongTakeError(f"{film} has {left_over} frames, fewer than a clip of {SLICE_SECONDS:g} seconds")
    return Exported(name, printable(film), written, left_over)
