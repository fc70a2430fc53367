"""Measures of video files: any codec, size and frame rate, streamed in constant memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from longtake.errors import LongTakeError, OutputError
from longtake.evaluation.export import check_new, clip_name
from longtake.evaluation.films import (
    FILES,
    FilmError,
    MeasuredFilm,
    Strip,
    made_with,
    measure_film,
    read_film,
    recorded,
    remarks,
    write_film,
)
from longtake.evaluation.measures.base import Frames, Joints
from longtake.evaluation.measures.clips import Clips
from longtake.evaluation.options import EvaluateOptions
from longtake.evaluation.prompts import read_prompts
from longtake.evaluation.record import Record, Source
from longtake.evaluation.registry import clips_of, load_vbench, measures_for
from longtake.evaluation.report.page import Origin, write_report
from longtake.evaluation.report.summary import Summary, summarise
from longtake.evaluation.sets import Clip, check_sizes, find_clips
from longtake.evaluation.variants import REAL, joints_of
from longtake.evaluation.vbench.dimensions import VBench, unmeasured
from longtake.evaluation.world import Judge, Judged, World, check_judge, judge_of, sizes_of
from longtake.files import contents, file_sha256, printable
from longtake.models.load import read_spec
from longtake.models.places import EMBEDDED
from longtake.options import FilmOptions
from longtake.plan import OWN_SETTINGS
from longtake.runs import CONFIG, check_claim, claim
from longtake.video import VideoInfo, probe, read_frames, same_rate

CLAIM = {"evaluation": "of video files"}

Progress = Callable[[int, int, str], None]
Reader = tuple[World, Judge]


@dataclass(frozen=True)
class Evaluation:
    """What is measured, and by which networks of VBench. `world`: what the prompts describe, whose adherence is read;
    `judge`: the file of who reads it, as in check_judge. `notes`: what is passed over, in words."""

    clips: Sequence[Clip]
    vbench: VBench | None = None
    world: World | None = None
    judge: Path | None = None
    notes: Sequence[str] = ()

    def paths_of(self, summary: Summary) -> list[Path]:
        """The files that were measured, but for real film."""
        measured = {film.record.file for row in summary.made for film in row.films}
        return [clip.path for clip in self.clips if printable(clip.path) in measured]


def evaluation(
    files: Sequence[Path], options: EvaluateOptions, device: str, world: World | None = None
) -> Evaluation:
    """What the options ask for, with VBench's networks loaded, and the world that they name. LongTakeError as of
    read_prompts, check_new, find_clips and VBench."""
    assert (options.world is None) == (world is None)
    texts = read_prompts(options.prompts, unique=False)[0] if options.prompts else None
    if options.clips is not None:
        check_new(options.clips)
    clips, notes = find_clips(files, options.real, texts)
    asked = Evaluation(clips, None, world, options.judge, notes)
    if options.weights_dir is None:
        return asked
    vbench = load_vbench(options.weights_dir, device)
    return replace(asked, vbench=vbench, notes=[*notes, *unmeasured(options.weights_dir)])


def evaluate_files(
    asked: Evaluation, run: Path, progress: Progress, commands: Sequence[str]
) -> tuple[Summary | None, list[FilmError]]:
    """Measure files one after the other, and write the numbers of each and a report into `run`.

    Returns the summary, None if no file could be measured, and what was wrong with those that could not be.
    `progress(frames, of, name)` is called as a file is read. LongTakeError if films of a set, or film and real film,
    differ in size; OutputError if `run` holds anything but an earlier evaluation, whose numbers it loses once a film is
    measured, and not before."""
    clips, world = asked.clips, asked.world
    check_sizes(clips)
    _check_run(run)
    reader = None
    if world is not None and any(map(_is_film, clips)):
        check_judge(run, world, asked.judge)
        claim(run, CLAIM)
        reader = world, judge_of(run, world, asked.judge)
    films, errors = list[MeasuredFilm](), list[FilmError]()
    for number, clip in enumerate(clips, 1):
        if clip.row == REAL and not films:
            break  # it comes last, and nothing is there to compare with it
        try:
            measured = measure_file(clip, asked.vbench, progress, reader)
        except FilmError as error:
            errors.append(error)
            continue
        if not films:
            _begin(run)
        films.append(measured.written(run / "films" / f"{clip_name(number, clip.path.stem)}.json"))
    if not any(film.row != REAL for film in films):
        return None, errors
    summary = summarise(films, _reference(films))
    write_report(run, summary, Origin("longtake evaluate", commands, _notes(summary, errors, world), {}))
    return summary, errors


def _notes(summary: Summary, errors: Sequence[FilmError], world: World | None) -> list[str]:
    """What is to be said about a report."""
    notes = [f"{film.record.file}: {note}" for film in summary.films for note in film.record.notes]
    notes += [f"not measured: {error}" for error in errors]
    if summary.real is None:
        notes.append("no time to drift and no distances: give --real a folder of real film to compare with")
    if world is not None and any(film.record.shot is None for film in summary.films):
        notes.append("adherence is in no table, since it could not be read in every film")
    return notes


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
    clip: Clip, vbench: VBench | None, progress: Progress, reader: Reader | None = None
) -> Measured:
    """Measure one file. FilmError if that cannot be done."""
    try:
        return _measured(clip, vbench, progress, reader)
    except OSError as error:
        raise FilmError(printable(clip.path), f"cannot be read ({error.strerror})") from error
    except LongTakeError as error:
        raise FilmError(printable(clip.path), str(error)) from error


def _measured(clip: Clip, vbench: VBench | None, progress: Progress, reader: Reader | None) -> Measured:
    with clip.path.open("rb") as file:
        info = _printable(probe(file))
        prompt = clip.prompt or str(info.metadata.get("prompt", clip.name))
        joints, unknown = _joints(info)
        judged, unjudged = _judged(reader, prompt, info)
        measures, strip = measures_for(info.fps, joints, judged, vbench), Strip(info.fps)
        pictures = (picture[None] for picture in read_frames(file))
        told = _told_of(pictures, lambda frames: progress(frames, info.num_frames, clip.name))
        numbers = measure_film(told, info.fps, measures, strip)
    seed = info.metadata.get("seed")
    source = Source(
        row=clip.row,
        group=prompt,
        seed=seed if isinstance(seed, int) else None,
        file=printable(clip.path),
        sha256=file_sha256(clip.path),
        codec=info.codec,
        size=(info.width, info.height),
        options=info.metadata,
        notes=[*unknown, *info.notes, *unjudged, *remarks(numbers)],
        made=made_with(),
        **({} if judged is None else {"shot": asdict(judged.shot)}),
        **({} if vbench is None else {"vbench_weights": vbench.weights}),
    )
    return Measured(recorded(source, numbers), clips_of(measures), strip.jpeg())


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


def _judged(reader: Reader | None, prompt: str, info: VideoInfo) -> tuple[Judged | None, list[str]]:
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
