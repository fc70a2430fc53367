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
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from longtake.errors import NumberError, StateError
from longtake.files import printable
from longtake.frames import number
from longtake.options import FilmPlan, options_of
from longtake.start import origin, read_start
from longtake.states import About, TakeState, read_about, read_state, state_path, write_state
from longtake.video import Pictures, VideoWriter, check_output, film_bytes, part_path

if TYPE_CHECKING:
    from longtake.models.base import ModelSpec
    from longtake.pipeline import LongTake, Shot, ShotState

STATE_EVERY = 3.0  # seconds between two states that are kept: what a kill costs, and the pass that it meets


@dataclass(frozen=True)
class Speed:
    """When the first pictures were written (`time.perf_counter()`), and the frames a second over all of them."""

    first_frame: float
    frames_per_second: float


class Take:
    """A film that is to be in a file: checked before any model is loaded.

    start: the clip that it begins with, if film.given_frames says that it does. fit: the clip is scaled, cropped and
    resampled to fit. `metadata` is what the file will say of itself. OptionError and LongTakeError for a clip, as
    read_start raises them; OutputError for a path that is no good.
    """

    def __init__(
        self,
        film: FilmPlan,
        path: str | os.PathLike[str],
        *,
        start: str | os.PathLike[str] | None = None,
        fit: bool = False,
        overwrite: bool = False,
    ) -> None:
        metadata, self._start = film.metadata, None
        if start is not None:
            self._start = read_start(start, film, fit)
            metadata |= origin(Path(start), self._start)
        width, height = film.settings.width, film.settings.height
        check_output(path, overwrite=overwrite, num_bytes=film_bytes(width, height, film.length.num_frames))
        self._begin(film, path, metadata, overwrite=overwrite)

    @classmethod
    def resumed(cls, path: str | os.PathLike[str], spec: ModelSpec) -> Take:
        """The film for `path` that was stopped, or killed, while a Take made it: it goes on to the same pictures.

        spec: of the model that its state names, as `read_about(state_path(path))` gives it. StateError for a film
        without a state, or of another model.
        """
        about = read_about(state_path(path))
        film = options_of(about.film).resolved(spec, from_clip="start" in about.film)
        for name, value in film.metadata.items():
            if about.film.get(name) != value:
                raise StateError(
                    f"{printable(str(path))} was begun with {name} {about.film.get(name)}, and would go on with {value}"
                )
        take = cls.__new__(cls)
        take._start = None
        take._begin(film, path, about.film, before=(part_path(path), about.num_written))
        return take

    def _begin(
        self, film: FilmPlan, path: str | os.PathLike[str], metadata: dict[str, Any], **how: Any
    ) -> None:
        self.film, self.metadata = film, metadata
        width, height = film.settings.width, film.settings.height
        self._writer = VideoWriter(path, width, height, film.rate, metadata, **how)

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
        begun = self._begun(shot, model) if self._writer.before else shot.begin(self._start)
        saved = started = time.perf_counter()
        try:
            with self._writer:
                copied, pending = self.num_frames, begun[1][:0]
                if copied:
                    tell(copied)
                for state, pictures in chain([begun], shot.passes(begun[0])):
                    self._writer.write(pictures)
                    pending = self._unsafe(state, np.concatenate([pending, pictures]))
                    if len(pictures):
                        first_frame = first_frame or time.perf_counter()
                        tell(len(pictures))
                    stopped, now = stop() and not shot.is_whole(state), time.perf_counter()
                    if stopped or now - saved >= state_every:
                        self._save(TakeState(state, pending), model)
                        saved = now
                    if stopped:
                        raise KeyboardInterrupt
        except NumberError as error:
            raise NumberError(f"{error}; {self.left}") from error
        state_path(self.path).unlink(missing_ok=True)
        return Speed(first_frame, (self.num_frames - copied) / (time.perf_counter() - started))

    def _begun(self, shot: Shot, model: LongTake) -> tuple[ShotState, Pictures]:
        """The state that the film goes on from, and its pictures that are in no whole second yet."""
        path = state_path(self.path)
        about, state = read_about(path), read_state(path, model.model.device)
        if about.weights != model.weights:
            raise StateError(
                f"{printable(self.path)} was begun with other weights than {self.film.model} has now"
            )
        if state.shot.window.noisy.shape[1:2] + state.shot.window.noisy.shape[3:] != self.film.latent_shape:
            raise StateError(f"{printable(path)} is a state of another size")
        return state.shot, state.pending

    def _unsafe(self, state: ShotState, pictures: Pictures) -> Pictures:
        """The last of them, which a kill would lose."""
        return pictures[len(pictures) - (state.num_frames - self._writer.num_safe) :]

    def _save(self, state: TakeState, model: LongTake) -> None:
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
        )
        write_state(state_path(self.path), state, about)
