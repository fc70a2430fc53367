"""A take: one film made into one file. What the command line does, a script, a worker or a test does with this:

model = LongTake.from_pretrained()
film = FilmOptions(prompt="a red car", seconds=5).resolved(model.model.spec)
Take(film, "car.mp4").shoot(model)

One that was stopped, or killed, goes on: Take.resumed("car.mp4", model.model.spec).shoot(model)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from longtake.errors import NumberError, OutputError, StateError
from longtake.files import file_sha256, printable
from longtake.frames import number
from longtake.options import FilmPlan, options_of
from longtake.start import given_in, origin, read_given
from longtake.states import (
    About,
    TakeState,
    read_about,
    read_state,
    state_path,
    states_folder,
    write_state,
)
from longtake.video import Fit, Pictures, VideoWriter, check_output, film_bytes, part_path, read_frames

if TYPE_CHECKING:
    from longtake.models.base import ModelSpec
    from longtake.pipeline import LongTake, Shot, ShotState

TINY = 0.1  # grey levels; pictures that differ by less are the same
STATE_EVERY = 3.0  # seconds between two states that are kept: what a kill costs, and the pass that it meets


@dataclass(frozen=True)
class Speed:
    """When the first pictures were written (`time.perf_counter()`), and the frames a second over all of them."""

    first_frame: float
    frames_per_second: float


@dataclass(frozen=True)
class Beginning:
    """What a film goes on from: the first pictures of a file, and the state of its own film behind them.

    film: what the state belongs to. until: pictures of it that are made before another one takes over.
    """

    file: Path
    state: Path
    about: About
    film: FilmPlan
    until: int = 0

    @classmethod
    def read(cls, state: Path, file: Path, spec: ModelSpec) -> Beginning:
        """spec: of the model that `read_about(state)` names. StateError if it cannot be read or is another model's."""
        about = read_about(state)
        film = options_of(about.film).resolved(spec, **given_in(about.film))
        for name, value in film.metadata.items():
            if (told := about.film.get(name)) != value:
                raise StateError(
                    f"{printable(file)} was begun with {name} {told}, and would go on with {value}"
                )
        return cls(file, state, about, film)

    @property
    def num_written(self) -> int:
        """The pictures that are taken from the file, in whole seconds."""
        return max(self.about.num_written, self.until - self.until % max(1, round(self.film.rate)))

    @property
    def origin(self) -> dict[str, Any]:
        """What a film that begins so says of it: the clip at its start, and the file."""
        start = {"start": self.about.film["start"]} if "start" in self.about.film else {}
        return start | {"parent": {"name": printable(self.file.name), "sha256": file_sha256(self.file)}}

    def opened(self, model: LongTake) -> TakeState:
        """The state with its tensors. StateError if it is damaged, or of a model whose weights are others by now."""
        from longtake.pipeline import Shot

        if self.about.weights != model.weights:
            raise StateError(
                f"{printable(self.file)} was begun with other weights than {self.film.model} has now"
            )
        found, shot = read_state(self.state, model.model.device), Shot(model.model, self.film)
        shot.check_state(found.shot)
        state, pictures = found.shot, [found.pending]
        while state.num_frames < self.until:
            state, portion = shot.advance(state)
            pictures.append(portion)
        return TakeState(state, np.concatenate(pictures)[self.num_written - found.num_written :])


@dataclass(frozen=True)
class Tail:
    """What comes behind a film, of another file of such a writer: its pictures from `first` to `end`, those of whole
    seconds packet for packet. seen: the first of them (F, height, width, 3), which the film runs into."""

    file: Path
    first: int
    end: int
    seen: Pictures

    def written(self, writer: VideoWriter) -> None:
        """Write it behind a film."""
        second = writer.frames_per_second
        whole = min(self.end, -(-self.first // second) * second)
        with closing(read_frames(self.file)) as frames:  # type: ignore[type-var]
            for picture in islice(frames, self.first, whole):
                writer.write(picture[None])
        if whole < self.end:
            writer.copy(self.file, whole, self.end)


@dataclass(frozen=True)
class Head:
    """What comes before a film: `num_frames` pictures of another file. seen: the last of them, with which the film
    begins (film.given_frames, height, width, 3)."""

    file: Path
    num_frames: int
    seen: Pictures

    def written(self, writer: VideoWriter) -> str:
        """Write it before a film: the whole seconds of one of such a writer packet for packet. How, in words."""
        copied = self.num_frames - self.num_frames % writer.frames_per_second
        try:
            writer.copy(self.file, 0, copied)
        except OutputError:
            if writer.num_frames:
                raise
        how = f"{writer.num_frames} of its {self.num_frames} pictures were copied, the others encoded again"
        with closing(read_frames(self.file)) as frames:  # type: ignore[type-var]
            for picture in islice(frames, writer.num_frames, None):
                writer.write(picture[None])
        return how


class Take:
    """A film that is to be in a file: checked before any model is loaded.

    start, end: the clip or the photo that it begins and ends with, if film.given_frames and film.end_frames say that it
    does. fit: how they are made to fit; `notes` tells it. beginning: what it goes on from. keep_every: the seconds of
    film after which its state is kept, in `states_folder`, to branch from; and so is the last one that a longer film
    has too, to extend it. head, tail: what comes before and behind it; it has no states then, and is not resumed.
    `metadata` is what the file will say of itself. OptionError and LongTakeError for a clip, as read_given raises them;
    OutputError for a path that is no good.
    """

    def __init__(
        self,
        film: FilmPlan,
        path: str | os.PathLike[str],
        *,
        start: str | os.PathLike[str] | None = None,
        end: str | os.PathLike[str] | None = None,
        fit: Fit | None = None,
        overwrite: bool = False,
        beginning: Beginning | None = None,
        keep_every: float | None = None,
        head: Head | None = None,
        tail: Tail | None = None,
    ) -> None:
        self.film, self.metadata = film, film.metadata
        self._start: Pictures | None = None
        self._end: Pictures | None = None
        self.notes: tuple[str, ...] = ()
        self._beginning, self._keep_every, self._tail = beginning, keep_every, tail
        self._head = head
        self.seam: float | None = (
            None  # of a film with a tail: how much changes there, over its own median change
        )
        self._open: TakeState | None = None  # the last state that a longer film has too
        if start is not None:
            self._start, self.notes = read_given(start, film, film.given_frames, fit)
            self.metadata |= origin(Path(start), self._start)
        if end is not None:
            self._end, notes = read_given(end, film, film.end_frames, fit, "end")
            self.notes, self.metadata = (
                (*self.notes, *notes),
                self.metadata | origin(Path(end), self._end, "end"),
            )
        if head is not None:
            self._start, total = head.seen, head.num_frames + film.length.num_frames - film.given_frames
            told = {"name": printable(head.file.name), "sha256": file_sha256(head.file)}
            self.metadata |= {"num_frames": total, "continues": told}
        before, goes_on = None, False
        if beginning is not None:
            before, goes_on = (beginning.file, beginning.num_written), beginning.file == part_path(path)
            self.metadata = beginning.about.film if goes_on else self.metadata | beginning.origin
        num_frames = film.length.num_frames
        if beginning is not None and tail is not None:
            section = {"from": beginning.until, "to": num_frames}
            num_frames = tail.end
            self.metadata |= {"num_frames": num_frames, "retake": section}
        width, height = film.settings.width, film.settings.height
        if not goes_on:
            num_bytes = film_bytes(width, height, num_frames)
            check_output(path, overwrite=overwrite, num_bytes=num_bytes)
        self._writer = VideoWriter(
            path, width, height, film.rate, self.metadata, overwrite=overwrite, before=before
        )

    @classmethod
    def resumed(cls, path: str | os.PathLike[str], spec: ModelSpec) -> Take:
        """The film for `path` that was stopped, or killed, while a Take made it: it goes on to the same pictures.

        Arguments and errors as for Beginning.read.
        """
        begun = Beginning.read(state_path(path), part_path(path), spec)
        return cls(begun.film, path, beginning=begun, keep_every=begun.about.keep_every)

    @property
    def path(self) -> Path:
        return self._writer.path

    @property
    def num_frames(self) -> int:
        """The frames that are written."""
        return self._writer.num_frames

    @property
    def is_resumable(self) -> bool:
        """Whether the film has a state from which it can go on."""
        return state_path(self.path).is_file()

    @property
    def left(self) -> str:
        """What is on the disk of a film that was stopped, in words."""
        if self.num_frames == 0:
            return "nothing was written"
        place = self._writer.part if self._writer.part.exists() else self.path
        return f"{self.num_frames} frames ({number(self.num_frames / self.film.rate)} s) are in {place}"

    def shoot(
        self,
        model: LongTake,
        tell: Callable[[int], object] = lambda frames: None,
        stop: Callable[[], bool] = lambda: False,
        state_every: float = STATE_EVERY,
    ) -> Speed:
        """Film it. tell(frames) hears of every portion that is written. stop() is asked at first and after every pass.

        The state of the film is written beside it every `state_every` seconds, and when it is to stop, which ends in
        KeyboardInterrupt. What was written stays, as `left` says, when it is interrupted or fails: OutputError when
        the disk gives out, NumberError for numbers that are not finite. StateError for a state that is damaged, or of
        a model whose weights are others by now.
        """
        from longtake.pipeline import Shot

        shot, first_frame = Shot(model.model, self.film), 0.0
        if self._beginning is None:
            begun = shot.begin(self._start, self._end)
        else:
            found = self._beginning.opened(model)
            begun = found.shot, found.pending
        if self._tail is not None:
            begun = shot.toward(begun[0], self._tail.seen), begun[1]
        changes, last = [], begun[1][:0]
        saved = started = time.perf_counter()
        try:
            with self._writer:
                if self._head is not None:
                    self.notes = (*self.notes, self._head.written(self._writer))
                    begun = begun[0], begun[1][:0]
                copied, pending = self.num_frames, begun[1][:0]
                if copied:
                    tell(copied)
                for state, pictures in chain([begun], shot.passes(begun[0])):
                    self._writer.write(pictures)
                    if self._tail is not None:
                        last = np.concatenate([last[-1:], pictures])
                        changes += [_change(a, b) for a, b in pairwise(last)]
                    if not self._is_joined:
                        pending = self._unsafe(state, np.concatenate([pending, pictures]))
                    if len(pictures):
                        first_frame = first_frame or time.perf_counter()
                        tell(len(pictures))
                    self._keep(shot, TakeState(state, pending), model)
                    stopped, now = stop() and not shot.is_whole(state), time.perf_counter()
                    if not self._is_joined and (stopped or now - saved >= state_every):
                        self._save(state_path(self.path), TakeState(state, pending), model)
                        saved = now
                    if stopped:
                        raise KeyboardInterrupt
                if self._tail is not None:
                    self.seam = _change(last[-1], self._tail.seen[0]) / max(TINY, float(np.median(changes)))
                    self._tail.written(self._writer)
        except NumberError as error:
            raise NumberError(f"{error}; {self.left}") from error
        state_path(self.path).unlink(missing_ok=True)
        return Speed(first_frame, (self.num_frames - copied) / (time.perf_counter() - started))

    @property
    def _is_joined(self) -> bool:
        """Whether parts of the file are not of this film: its states would not tell of them."""
        return self._head is not None or self._tail is not None

    def _keep(self, shot: Shot, state: TakeState, model: LongTake) -> None:
        """Keep a state to branch from, if it is time, and the last one from which the film can be extended."""
        if self._keep_every is None:
            return
        every, before = self._keep_every * self.film.rate, self._open
        is_open = shot.is_open(state.shot)
        if before and not is_open:
            self._save(self._place(before), before, model)
        if is_open and before and state.shot.num_frames // every > before.shot.num_frames // every:
            self._save(self._place(state), state, model)
        if is_open and shot.is_whole(state.shot):
            self._save(self._place(state), state, model)
        self._open = state if is_open else None

    def _place(self, state: TakeState) -> Path:
        folder = states_folder(self.path)
        folder.mkdir(exist_ok=True)
        return folder / f"{state.shot.window.t:08d}.state"

    def _unsafe(self, state: ShotState, pictures: Pictures) -> Pictures:
        """The last of them, which a kill would lose."""
        return pictures[len(pictures) - (state.num_frames - self._writer.num_safe) :]

    def _save(self, path: Path, state: TakeState, model: LongTake) -> None:
        self._writer.sync()
        about = About(
            film=self.metadata,
            model=model.reference,
            lora=model.lora,
            dtype=str(model.model.dtype).removeprefix("torch."),
            weights=model.weights,
            passes=state.shot.window.t,
            num_frames=state.shot.num_frames,
            num_written=state.num_written,
            keep_every=self._keep_every,
        )
        write_state(path, state, about)


def _change(a: Pictures, b: Pictures) -> float:
    """How much two pictures differ, in grey levels."""
    return float(np.abs(a.astype(np.int16) - b).mean())
