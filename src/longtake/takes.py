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
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from longtake.drafts import draft_origin
from longtake.errors import NumberError, OutputError
from longtake.files import file_sha256, printable
from longtake.frames import number
from longtake.joins import Beginning, Head, Tail, shot_of
from longtake.options import FilmPlan
from longtake.provenance import MADE, Made, made_by
from longtake.seams import Seam, seam_at
from longtake.start import origin, read_given
from longtake.states import About, TakeState, state_path, states_folder, write_state
from longtake.video import Fit, Pictures, VideoWriter, check_output, film_bytes, part_path

if TYPE_CHECKING:
    from longtake.models.base import ModelSpec
    from longtake.pipeline import LongTake
    from longtake.shot import Look, Shot, ShotState

STATE_EVERY = 3.0  # seconds between two states that are kept: what a kill costs, and the pass that it meets


@dataclass(frozen=True)
class Speed:
    """When the first pictures were written (`time.perf_counter()`), and the frames a second over all of them."""

    first_frame: float
    frames_per_second: float


class Take:
    """A film that is to be in a file: checked before any model is loaded.

    start, end: the clip or the photo that it begins and ends with, if film.given_frames and film.end_frames say that it
    does. fit: how they are made to fit; `notes` tells it. beginning: what it goes on from. keep_every: the seconds of
    film after which its state is kept, in `states_folder`, to branch from; and so is the last one that a longer film
    has too, to extend it. draft: the film file that it is finished from, if film.strength says that it is. head, tail:
    what comes before and behind it; it has no states then, and is not resumed. `metadata` is what the film follows
    from, and `made` what it was made with, known while it is made: its file says both. OptionError and LongTakeError
    for a clip, as read_given raises them; OutputError for a path that is no good.
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
        draft: str | os.PathLike[str] | None = None,
        head: Head | None = None,
        tail: Tail | None = None,
    ) -> None:
        self.film, self.metadata = film, film.metadata
        self._start: Pictures | None = None
        self._end: Pictures | None = None
        self.notes: tuple[str, ...] = ()
        self._beginning, self._keep_every, self._tail = beginning, keep_every, tail
        self._head = head
        self.made = Made()
        self._open: TakeState | None = None  # the last state that a longer film has too
        self._done: TakeState | None = None  # the state after the last pass
        self._opened: TakeState | None = None  # the state that it goes on from, once it is open
        if start is not None:
            self._start, self.notes = read_given(start, film, film.given_frames, fit)
            self.metadata |= origin(Path(start), self._start)
        if end is not None:
            self._end, notes = read_given(end, film, film.end_frames, fit, "end")
            self.notes = (*self.notes, *notes)
            self.metadata |= origin(Path(end), self._end, "end")
        if head is not None:
            self._start, total = head.seen, head.num_frames + film.length.num_frames - film.given_frames
            told = {"name": printable(head.file.name), "sha256": file_sha256(head.file)}
            self.metadata |= {"num_frames": total, "continues": told}
        self._draft = None if draft is None else str(Path(draft).resolve())
        if draft is not None and beginning is None:
            self.metadata |= draft_origin(draft)
        self._goes_on = beginning is not None and beginning.file == part_path(path)
        before = None
        if beginning is not None:
            before = beginning.file, beginning.num_written
            self.metadata = beginning.about.film if self._goes_on else self.metadata | beginning.origin
        num_frames = film.length.num_frames
        if beginning is not None and tail is not None:
            section = {"from": beginning.until, "to": num_frames}
            num_frames = tail.end
            self.metadata |= {"num_frames": num_frames, "retake": section}
        width, height = film.settings.width, film.settings.height
        if not self._goes_on:
            num_bytes = film_bytes(width, height, num_frames)
            check_output(path, overwrite=overwrite, num_bytes=num_bytes)
        told = self.metadata | {MADE: self.made.model_dump()}
        self._writer = VideoWriter(
            path, width, height, film.rate, told, late=MADE, overwrite=overwrite, before=before
        )

    @classmethod
    def resumed(cls, path: str | os.PathLike[str], spec: ModelSpec) -> Take:
        """The film for `path` that was stopped, or killed, while a Take made it: it goes on to the same pictures.

        Arguments and errors as for Beginning.read.
        """
        begun = Beginning.read(state_path(path), part_path(path), spec)
        about = begun.about
        return cls(begun.film, path, beginning=begun, keep_every=about.keep_every, draft=about.draft)

    @property
    def path(self) -> Path:
        return self._writer.path

    @property
    def num_frames(self) -> int:
        """The frames that are written."""
        return self._writer.num_frames

    @property
    def is_begun(self) -> bool:
        """Whether it goes on from pictures that are there."""
        return self._beginning is not None

    @property
    def is_resumable(self) -> bool:
        """Whether the film has a state from which it can go on."""
        return state_path(self.path).is_file()

    @cached_property
    def seam(self) -> Seam | None:
        """How much a film that is whole changes where it meets what it was given, next to its own range. None for one
        that was given nothing to meet. Its file is read for that."""
        return None if self._met is None else seam_at(self.path, self._met[0])

    @property
    def met(self) -> str | None:
        """What the film meets, in words, if it was given anything to meet."""
        return None if self._met is None else self._met[1]

    @property
    def _met(self) -> tuple[int, str] | None:
        """The frame of the file at which it meets what it was given, 0 if it does behind its last one, and what."""
        film, length = self.film, self.film.length
        if self._head is not None:
            return self._head.num_frames, "the film before it"
        if self._tail is not None:
            return length.num_frames, "the film behind the section"
        if film.loop:
            return 0, "its beginning"
        if film.end_frames:
            return length.num_frames + length.surplus_frames - film.end_frames, "its end"
        return None

    @property
    def left(self) -> str:
        """What is on the disk of a film that was stopped, in words."""
        if self.num_frames == 0:
            return "nothing was written"
        place = self._writer.part if self._writer.part.exists() else self.path
        return f"{self.num_frames} frames ({number(self.num_frames / self.film.rate)} s) are in {place}"

    def check(self, model: LongTake) -> None:
        """StateError if it goes on from a film of other weights, in another precision or on another kind of device."""
        if self._beginning is not None:
            self._beginning.check(model)

    def open(self, model: LongTake) -> None:
        """Read the state that the film goes on from, and make again what its file left out: all that comes before its
        next pass, which `shoot` does too. Errors as for Beginning.opened."""
        if self._beginning is not None:
            self._opened = self._beginning.opened(model)

    def shoot(
        self,
        model: LongTake,
        tell: Callable[[int], object] = lambda frames: None,
        stop: Callable[[], bool] = lambda: False,
        state_every: float = STATE_EVERY,
        look: Look | None = None,
    ) -> Speed:
        """Film it. tell(frames) hears of every portion that is written. stop() is asked at first and after every pass.
        look: as for Shot; a `Preview` shows what the window holds.

        The state of the film is written beside it every `state_every` seconds, once the hash of the model's weights is
        known, which no picture waits for, and when it is to stop, which ends in KeyboardInterrupt. What was written
        stays, as `left` says, when it is interrupted or fails: OutputError when the disk gives out, NumberError for
        numbers that are not finite. StateError for a state that is damaged, and as `check` raises it.
        """
        shot, begun = self._begun(model, look)
        first_frame, saved = 0.0, time.perf_counter()
        there = 0 if self._head is None else shot.given_pictures
        started = saved
        try:
            with self._writer:
                self._tell(model, 0.0)
                self._put_head()
                if copied := self.num_frames:
                    tell(copied)
                for state, pictures in chain([begun], shot.passes(begun[0])):
                    pictures = pictures[max(0, there - state.num_frames + len(pictures)) :]
                    done = self._put(state, pictures)
                    if len(pictures):
                        first_frame = first_frame or time.perf_counter()
                        tell(len(pictures))
                    self._keep(shot, done, model)
                    stopped, now = stop() and not shot.is_whole(state), time.perf_counter()
                    is_known = model.known_weights is not None
                    if stopped or (is_known and now - saved >= state_every):
                        self._tell(model, now - started, model.weights)
                        if not self._is_joined:
                            self._save(state_path(self.path), done, model)
                        saved = now
                    if stopped:
                        raise KeyboardInterrupt
                if self._tail is not None:
                    self._tail.written(self._writer)
                self._tell(model, time.perf_counter() - started, model.weights)
        except NumberError as error:
            raise NumberError(f"{error}; {self.left}") from error
        except OutputError:
            if self._done is not None and not self._is_joined:
                with suppress(OutputError):  # what was to be written may have had no room, and this has
                    self._save(state_path(self.path), self._done, model)
            raise
        state_path(self.path).unlink(missing_ok=True)
        return Speed(first_frame, (self.num_frames - copied) / (time.perf_counter() - started))

    def _begun(self, model: LongTake, look: Look | None) -> tuple[Shot, tuple[ShotState, Pictures]]:
        """The shot of the film, the state that it starts from, and the pictures that are there by then."""
        shot = shot_of(model, self.film, self._draft, look)
        self._done = None
        if self._beginning is None:
            state, pictures = shot.begin(self._start, self._end)
        else:
            found, self._opened = self._opened or self._beginning.opened(model), None
            state, pictures = found.shot, found.pending
        if self._tail is not None:
            state = shot.toward(state, self._tail.seen)
        return shot, (state, pictures)

    def _put_head(self) -> None:
        """Write what comes before the film, and take away the state of a film that this one takes the place of."""
        if not self._goes_on:
            state_path(self.path).unlink(missing_ok=True)
        if self._head is not None:
            self.notes = (*self.notes, self._head.written(self._writer))

    def _put(self, state: ShotState, pictures: Pictures) -> TakeState:
        """Write the pictures of a pass, and say what is known of the film behind it."""
        self._writer.write(pictures)
        pending = pictures[:0]
        if not self._is_joined:
            before = pending if self._done is None else self._done.pending
            pending = self._unsafe(state, np.concatenate([before, pictures]))
        self._done = TakeState(state, pending)
        return self._done

    @property
    def _is_joined(self) -> bool:
        """Whether parts of the file are not of this film: its states would not tell of them."""
        return self._head is not None or self._tail is not None

    def _tell(self, model: LongTake, seconds: float, weights: str | None = None) -> None:
        """Have the file say what the film was made with in so many seconds. weights: as for made_by, None: if known."""
        made = made_by(model, model.known_weights if weights is None else weights, seconds)
        begun = self._beginning.about.made if self._beginning and self._goes_on else None
        self.made = made if begun is None else begun.then(made)
        self._writer.tell(self.made.model_dump())

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
            lora=model.loras or None,
            made=self.made.model_copy(update={"model_sha256": model.weights or None}),
            passes=state.shot.window.t,
            num_frames=state.shot.num_frames,
            num_written=state.num_written,
            keep_every=self._keep_every,
            draft=self._draft,
        )
        write_state(path, state, about)
