"""From captioned film to prepared latents: cut, resampled, scaled, encoded, once and for all.

Every video file is read as a stream, and its latents leave for the disk as they are made, so memory does not grow
with its length. Whatever is finished is kept: a run that was stopped goes on with the next video file.

Shapes: C channels, F latent frames, H W latent height and width, L text tokens, D text width.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors.torch import save
from torch import Tensor

from longtake.errors import DataError, LongTakeError, OutputError
from longtake.files import folder_made, put
from longtake.frames import lasting, number
from longtake.given import decoded_frames
from longtake.models.base import ModelDefaults, VideoModel
from longtake.models.device import check_device, resolve_dtype
from longtake.models.load import load_encoders
from longtake.models.places import Model, model_folder, open_model
from longtake.options import FilmOptions, FilmPlan
from longtake.pictures import to_tensor
from longtake.training.changes import LISTING, check_target, digest, is_same, is_useless, listing
from longtake.training.cuts import shots
from longtake.training.data import (
    LATENTS,
    MANIFEST,
    POOLED,
    TEXT,
    FileRecord,
    Manifest,
    PreparedClip,
    Record,
    caption_path,
    frames_needed,
    hashes,
    latents_needed,
    read_stored,
    record_path,
    too_short,
)
from longtake.training.sources import Skipped, SourceClip, find_clips
from longtake.video import TimedPicture, read_timed, resampled

PORTION = 16  # frames that are encoded together
HEADER = 256  # bytes before the latents in a shard

Show = Callable[[TimedPicture], TimedPicture]  # tells how far a film is, and hands the picture on


@dataclass(frozen=True)
class Summary:
    """What a folder of prepared film holds: `shots` of `clips` video files, and what was left out of it.

    unknown_words: words of the captions that the model's text encoder cannot tell from one another.
    """

    folder: str
    clips: int
    shots: int
    latents: int
    seconds: float
    skipped: int
    unknown_words: list[str]


def prepare(
    source: Path,
    target: Path,
    model: Model = None,
    *,
    width: int | None = None,
    height: int | None = None,
    fps: float | None = None,
    min_latents: int | None = None,
    windows: ModelDefaults | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Summary:
    """Prepare the captioned film of a folder for training a model, into a new folder or one that was stopped.

    Size and rate are the model's own where they are None. min_latents is the shortest shot that is kept; where it is
    None, every window of the settings `windows`, the model's own if None, finds a place in it. `say` gets a line
    for whatever is skipped.
    DataError for a source without film, and where all of it is skipped; OutputError for a target that cannot be
    written or holds something else, a full disk included; OptionError and ModelError as for filming.
    """
    check_device(device)
    folder = open_model(model)
    spec = folder.spec
    film = FilmOptions(prompt="any", num_frames=1, width=width, height=height, fps=fps).resolved(spec)
    clips, skipped = find_clips(source)
    sampling = None if min_latents else windows or spec.defaults
    rows = listing(clips)
    plan = Manifest(
        model=spec.name,
        **hashes(model_folder(folder)),
        source=digest(rows),
        dtype=str(resolve_dtype(dtype, device)).removeprefix("torch."),
        width=film.settings.width,
        height=film.settings.height,
        fps=str(film.rate),
        min_latents=latents_needed(spec, sampling) if sampling else min_latents,
    )
    check_target(target, plan, clips, skipped)
    lab = _Lab(load_encoders(folder, device, dtype), film, target, plan.min_latents)
    _begin(target, plan, rows)
    for item in skipped:
        say(f"skipped {item.name}: {item.reason}")
    _write_stored(target / MANIFEST, plan)  # not complete until what has changed is made anew
    records = [Record(skipped=skipped), *lab.records(clips, say)]
    manifest = plan.model_copy(
        update={
            "complete": True,
            "clips": [clip for record in records for clip in record.clips],
            "skipped": [item for record in records for item in record.skipped],
        }
    )
    _write_stored(target / MANIFEST, manifest)
    longest = max((item.num_latents for item in manifest.skipped), default=0)
    limit = too_short(spec, sampling, plan.min_latents, longest, film.rate)
    if not manifest.clips:
        raise DataError(
            f"nothing in {source} can be trained on: all of it was skipped, {target / MANIFEST} says why"
            + (f"; {limit}" if longest else "")
        )
    if sampling and longest + sampling.context_size > plan.min_latents:  # with less context it would do
        say(f"note: {limit}")
    return _summary(target, manifest, lab.model, film.rate)


class _Lab:
    """Encodes video files and captions with one model, into one folder."""

    def __init__(self, model: VideoModel, film: FilmPlan, target: Path, min_latents: int) -> None:
        self.model = model
        self.film = film
        self.target = target
        self.min_latents = min_latents

    def records(self, clips: list[SourceClip], say: Callable[[str], None]) -> Iterator[FileRecord]:
        """What became of each clip; those that are finished are not made again, unless their file has changed."""
        self._embed("")
        console = Console(stderr=True)
        columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("", total=len(clips))
            for number, clip in enumerate(clips):

                def show(picture: TimedPicture, name: str = clip.name) -> TimedPicture:
                    bar.update(task, description=f"{name} {float(picture.start):.0f} s")
                    return picture

                record = self._record(number, clip, show, say)
                bar.advance(task)
                yield record

    def _record(self, number: int, clip: SourceClip, show: Show, say: Callable[[str], None]) -> FileRecord:
        path = record_path(self.target, number)
        record = self._stored(path, clip) or self._made(path, clip, show)
        for item in record.skipped:
            say(f"skipped {item.name}: {item.reason}")
        return record

    def _stored(self, path: Path, clip: SourceClip) -> FileRecord | None:
        """What became of a clip that was finished, if its file is the same and what was made of it is there."""
        record = read_stored(path, FileRecord) if path.exists() else None
        if record is None or not is_same(record, clip):
            return None
        needed = [
            (self.target / made.shard, caption_path(self.target, made.caption)) for made in record.clips
        ]
        if not all(file.is_file() for files in needed for file in files):
            return None
        if record.modified != clip.modified:  # touched, or copied
            record = record.model_copy(update={"modified": clip.modified})
            _write_stored(path, record)
        return record

    def _made(self, path: Path, clip: SourceClip, show: Show) -> FileRecord:
        """Look at a clip, and write what becomes of it."""
        modified, sha256, shard = clip.modified, "", path.with_suffix(".safetensors")
        clips: list[PreparedClip] = []
        try:
            sha256 = clip.sha256()
            self._embed(clip.caption)
            clips, skipped = self._encode(shard, clip, show)
        except OutputError:
            raise
        except LongTakeError as error:
            skipped = [Skipped(clip.name, str(error))]
        if not clips:
            shard.unlink(missing_ok=True)
        record = FileRecord(modified=modified, sha256=sha256, clips=clips, skipped=skipped)
        _write_stored(path, record)
        return record

    def _encode(self, shard: Path, clip: SourceClip, show: Show) -> tuple[list[PreparedClip], list[Skipped]]:
        """Write the latents of all shots of a clip that are long enough, one behind the other."""
        width, height = self.film.settings.width, self.film.settings.height
        clips, skipped, total = [], [], 0
        with clip.open() as video, _written(shard) as file:
            file.write(bytes(HEADER))
            for shot in shots(map(show, read_timed(video, width, height))):
                head = next(shot)
                start, begin = round(float(head.start), 3), file.tell()
                latents, frames, digest = self._encode_shot(chain([head], shot), file)
                if latents < self.min_latents:
                    file.seek(begin)
                    file.truncate()
                    needed = frames_needed(self.model.spec, self.min_latents)
                    reason = (
                        f"the shot has {lasting(frames, self.film.rate)}, a training window takes {needed:,}"
                    )
                    skipped.append(Skipped(f"{clip.name} at {number(start)} s", reason, latents))
                    continue
                clips.append(
                    PreparedClip(
                        name=clip.name,
                        start=start,
                        caption=clip.caption,
                        shard=shard.relative_to(self.target).as_posix(),
                        first=total,
                        num_latents=latents,
                        sha256=digest,
                    )
                )
                total += latents
            file.seek(0)
            file.write(_header((total, *self.film.latent_shape)))
        return clips, skipped

    def _encode_shot(self, pictures: Iterable[TimedPicture], file: BinaryIO) -> tuple[int, int, str]:
        """Append the latents of a shot to a file, frame by frame; returns their number, that of the frames, and the
        latents' sha256."""
        encoder, frames = self.model.encoder(), resampled(pictures, self.film.rate)
        num_latents, num_frames, digest = 0, 0, hashlib.sha256()

        def coded() -> Iterator[Tensor]:
            nonlocal num_frames
            while portion := list(islice(frames, PORTION)):
                num_frames += len(portion)
                yield encoder.push(to_tensor(np.stack(portion)[None]))
            yield from encoder.rest()

        for latents in coded():
            data = latents[0].transpose(0, 1).half().cpu().contiguous().numpy().tobytes()
            file.write(data)
            digest.update(data)
            num_latents += latents.shape[2]
        return num_latents, num_frames, digest.hexdigest()

    def _embed(self, caption: str) -> None:
        """Write a caption as PreparedFilm reads it, unless it is there."""
        path = caption_path(self.target, caption)
        if path.exists():
            return
        text = self.model.encode_prompt([caption]).to(torch.device("cpu"))
        states = text.zero_padded()[0]
        used = states.any(dim=1).nonzero().flatten().tolist()
        length = used[-1] + 1 if used else 0
        with _written(path) as file:
            pooled = {} if text.pooled is None else {POOLED: text.pooled[0].contiguous()}
            file.write(save({TEXT: states[:length].contiguous(), **pooled}))


def _begin(target: Path, plan: Manifest, rows: bytes) -> None:
    """Make a target folder, unless it is there. One that holds nothing to train on is made anew."""
    try:
        with folder_made(target):
            if (target / MANIFEST).exists() and is_useless(read_stored(target / MANIFEST, Manifest)):
                for stale in (target / MANIFEST, target / LISTING, *(target / "shards").glob("*.json")):
                    stale.unlink(missing_ok=True)
            if not (target / MANIFEST).exists():
                _write_stored(target / MANIFEST, plan)
            if not (target / LISTING).exists():
                with _written(target / LISTING) as file:
                    file.write(rows)
            for folder in ("shards", "captions"):
                (target / folder).mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {target}: {error.strerror}") from error


def _summary(target: Path, manifest: Manifest, model: VideoModel, rate: Fraction) -> Summary:
    spec, clips = model.spec, manifest.clips
    frames = sum(decoded_frames(clip.num_latents, spec) for clip in clips)
    captions = dict.fromkeys(clip.caption for clip in clips)
    unknown = [word for caption in captions for word in model.unknown_words(caption)]
    return Summary(
        folder=str(target),
        clips=len({clip.name for clip in clips}),
        shots=len(clips),
        latents=sum(clip.num_latents for clip in clips),
        seconds=round(float(frames / rate), 3),
        skipped=len(manifest.skipped),
        unknown_words=list(dict.fromkeys(unknown)),
    )


def _header(shape: tuple[int, ...]) -> bytes:
    """The head of a safetensors file of float16 latents, HEADER bytes long."""
    latents = {"dtype": "F16", "shape": shape, "data_offsets": (0, 2 * math.prod(shape))}
    text = json.dumps({LATENTS: latents}).encode().ljust(HEADER - 8)
    return struct.pack("<Q", len(text)) + text


def _write_stored(path: Path, stored: Record) -> None:
    with _written(path) as file:
        file.write(stored.model_dump_json(indent=1).encode())


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A file that is at `path` when it is complete, and before that beside it. OutputError when the disk gives out."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        put(part, path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path} ({error.strerror}): make room and prepare again, what is finished is kept"
        ) from error
    finally:
        part.unlink(missing_ok=True)
