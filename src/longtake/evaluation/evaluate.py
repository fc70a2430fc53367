"""Measures of video files: any codec, size and frame rate, streamed in constant memory.

A file is a row of its own, a folder of files a row together: a set, which has intervals.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from longtake.errors import LongTakeError, OutputError
from longtake.evaluation.export import clip_name
from longtake.evaluation.films import (
    FILES,
    MeasuredFilm,
    Record,
    Strip,
    left_over,
    made_with,
    measure_film,
    read_film,
    write_film,
)
from longtake.evaluation.measures.base import Frames, Joints
from longtake.evaluation.measures.clips import Clips
from longtake.evaluation.registry import clips_of, measures_for
from longtake.evaluation.report import Origin, write_report
from longtake.evaluation.summary import Summary, summarise
from longtake.evaluation.variants import REAL, joints_of
from longtake.evaluation.vbench.dimensions import VBench
from longtake.evaluation.world import Judge, Judged, World, check_judge, judge_of, sizes_of
from longtake.files import contents, printable
from longtake.models.load import read_spec
from longtake.models.places import EMBEDDED
from longtake.names import grouped, is_hidden
from longtake.options import FilmOptions
from longtake.plan import OWN_SETTINGS
from longtake.runs import CONFIG, check_claim, claim
from longtake.video import VideoInfo, probe, read_frames, same_rate

# What is taken for film in a folder; a file that is named is opened whatever it is called.
SUFFIXES = {
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".ts",
    ".m2ts",
    ".flv",
    ".ogv",
    ".wmv",
}
SUFFIXES |= {".3gp", ".gif", ".y4m", ".part"}
CLAIM = {"evaluation": "of video files"}


@dataclass(frozen=True)
class Clip:
    """A file to measure: what it is compared as, its prompt if known, and its name, unlike any other's."""

    path: Path
    row: str
    name: str
    prompt: str | None = None


def find_clips(
    paths: Sequence[Path], real: Path | None = None, prompts: Sequence[str] | None = None
) -> tuple[list[Clip], list[str]]:
    """The films of files and of folders, and those of a folder of `real` ones; and, in words, what is passed over.

    prompts: of the films other than real ones, in their order. LongTakeError for no films, the same one twice, or
    another number of prompts."""
    notes = list[str]()
    sets = [(path, _videos(path, notes) if os.path.isdir(path) else [_file(path)]) for path in paths]
    found = [path for _, videos in sets for path in videos]
    if prompts is not None and len(prompts) != len(found):
        raise LongTakeError(
            f"{len(prompts)} prompts for {len(found)} films: write one a line, in the films' order"
        )
    if real is not None:
        sets.append((real, _videos(real, notes)))
        found += sets[-1][1]
    seen = set[str]()
    for path in found:
        place = os.path.realpath(path)
        if place in seen:
            raise LongTakeError(f"{path} is given twice")
        seen.add(place)
    names, rows = _told_apart(found), _told_apart([path for path, _ in sets])
    waiting = iter(prompts or [])
    clips = [
        Clip(path, REAL if folder is real else rows[folder], names[path], next(waiting, None))
        for folder, videos in sets
        for path in videos
    ]
    return clips, notes


def evaluate_files(
    clips: Sequence[Clip],
    run: Path,
    vbench: VBench | None,
    progress: Callable[[int, int, str], None],
    commands: Sequence[str],
    world: World | None = None,
    judge: Path | None = None,
) -> tuple[Summary | None, list[str]]:
    """Measure files one after the other, and write the numbers of each and a report into `run`.

    world: what the prompts describe, and adherence is read of. judge: the file of who reads it, as in check_judge.
    Returns the summary, None if no file could be measured, and what was wrong with those that could not be.
    `progress(frames, of, name)` is called as a file is read. LongTakeError if films of a set, or film and real film,
    differ in size; OutputError if `run` holds anything but an earlier evaluation, whose numbers it loses once a film is
    measured, and not before."""
    _check_sizes(clips)
    _check_run(run)
    reader = None
    if world is not None and any(map(_is_film, clips)):
        check_judge(run, world, judge)
        claim(run, CLAIM)
        reader = world, judge_of(run, world, judge)
    films, errors = list[MeasuredFilm](), list[str]()
    for number, clip in enumerate(clips, 1):
        if clip.row == REAL and not films:
            break  # it comes last, and nothing is there to compare with it
        try:
            measured = measure_file(clip, vbench, progress, reader)
        except LongTakeError as error:
            errors.append(str(error))
            continue
        if not films:
            _begin(run)
        films.append(measured.written(run / "films" / f"{clip_name(number, clip.path.stem)}.json"))
    if not any(film.row != REAL for film in films):
        return None, errors
    summary = summarise(films, _reference(films))
    notes = [f"{film.record['file']}: {note}" for film in films for note in film.record["notes"]]
    notes += [f"not measured: {error}" for error in errors]
    if summary.row(REAL) is None:
        notes.append("no time to drift and no distances: give --real a folder of real film to compare with")
    if world is not None and not all("shot" in film.record for film in films):
        notes.append("adherence is in no table, since it could not be read in every film")
    write_report(run, summary, Origin("longtake evaluate", commands, notes, {}))
    return summary, errors


def _check_run(run: Path) -> None:
    """OutputError for a folder that is no evaluation."""
    check_claim(run, CLAIM)
    if not os.path.exists(run / CONFIG) and contents(run):
        raise OutputError(f"{run} holds something else: give a new folder")


def _begin(run: Path) -> None:
    """Make a folder an evaluation without numbers."""
    claim(run, CLAIM)
    (run / "films").mkdir(exist_ok=True)
    for path in (run / "films").iterdir():
        if path.suffix in FILES:
            path.unlink()


@dataclass(frozen=True)
class Measured:
    """What was measured of a file: its numbers, the clips that sets are compared by, and its strip as a JPEG."""

    record: Record
    clips: Clips
    strip: bytes

    def written(self, path: Path) -> MeasuredFilm:
        write_film(path, self.record, self.clips, self.strip)
        return read_film(path)


def measure_file(
    clip: Clip,
    vbench: VBench | None,
    progress: Callable[[int, int, str], None],
    reader: tuple[World, Judge] | None = None,
) -> Measured:
    """Measure one file. LongTakeError, which names it, if that cannot be done."""
    try:
        with clip.path.open("rb") as file:
            info = _printable(probe(file))
            prompt = clip.prompt or str(info.metadata.get("prompt", clip.name))
            joints, notes = _joints(info)
            judged, unjudged = _judged(reader, prompt, info)
            measures, strip = measures_for(info.fps, joints, judged, vbench), Strip(info.fps)
            pictures = (picture[None] for picture in read_frames(file))
            told = _told_of(pictures, lambda frames: progress(frames, info.num_frames, clip.name))
            numbers = measure_film(told, info.fps, measures, strip)
    except OSError as error:
        raise LongTakeError(f"{printable(clip.path)}: cannot be read ({error.strerror})") from error
    except LongTakeError as error:
        raise LongTakeError(f"{printable(clip.path)}: {error}") from error
    seed = info.metadata.get("seed")
    record: Record = {
        "row": clip.row,
        "group": prompt,
        "seed": seed if isinstance(seed, int) else None,
        "file": printable(clip.path),
        "sha256": _sha256(clip.path),
        "codec": info.codec,
        "size": [info.width, info.height],
        "options": info.metadata,
        "notes": [*notes, *info.notes, *unjudged, *left_over(numbers)],
        "made": made_with(),
        **numbers,
    }
    if judged is not None:
        record["shot"] = asdict(judged.shot)
    if vbench is not None:
        record["vbench_weights"] = {path: asdict(receipt) for path, receipt in vbench.weights.items()}
    return Measured(record, clips_of(measures), strip.jpeg())


def _is_film(clip: Clip) -> bool:
    """Whether a file is a film that is judged, as far as can be told at once."""
    try:
        probe(clip.path)
    except LongTakeError:
        return False
    return clip.row != REAL


def _printable(info: VideoInfo) -> VideoInfo:
    """The same, with question marks for what in a file's metadata is no text."""
    text = json.dumps(info.metadata, ensure_ascii=False)
    return replace(info, metadata=json.loads(text.encode(errors="replace")))


def _judged(
    reader: tuple[World, Judge] | None, prompt: str, info: VideoInfo
) -> tuple[Judged | None, list[str]]:
    """What reads the adherence of a film, if that is wanted and can be; and, in words, if it cannot."""
    if reader is None:
        return None, []
    world, judge = reader
    if (info.width, info.height) not in world.sizes or not same_rate(info.fps, world.fps):
        return None, [
            f"no adherence: it is read off films of {sizes_of(world)} at {world.fps} frames a second"
        ]
    try:
        return Judged(world, judge, world.described(prompt, 0)), []
    except ValueError as error:
        return None, [f"no adherence: {error}"]


def _reference(films: Sequence[MeasuredFilm]) -> str | None:
    """What the others are compared with: the first film or set given, if another has films of its prompts and seeds."""
    first = films[0].row
    keys = {film.key for film in films if film.row == first}
    return first if any(film.key in keys for film in films if film.row != first) else None


def _check_sizes(clips: Sequence[Clip]) -> None:
    """What is taken together must have one size; a file that cannot be read is told of when its turn comes."""
    seen: dict[str, tuple[Path, str]] = {}
    for clip in clips:
        try:
            info = probe(clip.path)
        except LongTakeError:
            continue
        size = f"{info.width}x{info.height}"
        first, other = seen.setdefault(clip.row, (clip.path, size))
        if size != other:
            raise LongTakeError(f"the films of a set have one size: {first} has {other}, {clip.path} {size}")
    if REAL in seen:
        for first, size in seen.values():
            if size != seen[REAL][1]:
                raise LongTakeError(
                    f"real film has the size of the others: {first} has {size}, {seen[REAL][0]} not"
                )


def _file(path: Path) -> Path:
    """LongTakeError for what is there and no file: a pipe would be waited for, and can be read only once."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise LongTakeError(f"{path} is a pipe, a socket or a device: give a file")
    return path


def _videos(folder: Path, notes: list[str]) -> list[Path]:
    """The films in a folder, by name."""
    try:
        there = sorted(folder.iterdir())
    except OSError as error:
        raise LongTakeError(f"cannot read the folder {folder}: {error.strerror}") from error
    inside = [path for path in there if not is_hidden(path.name)]
    videos = [path for path in inside if os.path.isfile(path) and path.suffix.lower() in SUFFIXES]
    if others := [path.name for path in inside if path not in videos]:
        notes.append(f"passed over in {folder}, not video files by their names: {', '.join(others)}")
    if hidden := len(there) - len(inside):
        notes.append(f"passed over in {folder}, hidden: {hidden} files or folders")
    for same in grouped(path.name for path in videos).values():
        if len(same) > 1:
            notes.append(f"{folder} holds {' and '.join(same)}, names that look the same: each is a film")
    if not videos:
        raise LongTakeError(f"{folder} holds no video files: give a folder that does")
    return videos


def _told_apart(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for each path: as many of its last parts as tell it from the others."""
    parts = {path: Path(printable(os.path.realpath(path))).parts for path in paths}
    taken = [*parts.values(), (REAL,)]
    names = {}
    for path, own in parts.items():
        count = next(
            n
            for n in range(1, len(own) + 1)
            if sum(other[-n:] == own[-n:] for other in taken) == 1 or n == len(own)
        )
        names[path] = "/".join(own[-count:])
    return names


def _told_of(pictures: Iterator[Frames], progress: Callable[[int], None]) -> Iterator[Frames]:
    for number, picture in enumerate(pictures, start=1):
        progress(number)
        yield picture


def _joints(info: VideoInfo) -> tuple[Joints, list[str]]:
    """Where the pieces of a film meet, if that is known; and, in words, if it is not.

    The model that a film's metadata names is not looked for: it may be any path, or a name on the hub."""
    told = info.metadata
    if "model" not in told:
        return Joints(), []
    if told["model"] != EMBEDDED.name:
        return Joints(), [
            "no seam score: only of the embedded model's films is it known where their pieces meet"
        ]
    own = next((own for method, own in OWN_SETTINGS.items() if method == told.get("method")), ())
    options = {name: told[name] for name in FilmOptions.model_fields if name in told and name not in own}
    spec = read_spec()
    try:
        return joints_of(FilmOptions(**options).resolved(spec, "start" in told), spec), []
    except LongTakeError as error:
        return Joints(), [f"no seam score: its metadata describe no film of {EMBEDDED.name} ({error})"]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
