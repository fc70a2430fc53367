"""A take: one film made into one file. What the command line does, a script, a worker or a test does with this:

model = LongTake.from_pretrained()
film = FilmOptions(prompt="a red car", seconds=5).resolved(model.model.spec)
Take(film, "car.mp4").shoot(model)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.errors import NumberError
from longtake.frames import number
from longtake.options import FilmPlan
from longtake.start import origin, read_start
from longtake.video import VideoWriter, check_output, film_bytes

if TYPE_CHECKING:
    from longtake.pipeline import LongTake


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
        width, height, rate = film.settings.width, film.settings.height, film.rate
        self.film = film
        self.metadata, self._pictures = film.metadata, None
        if start is not None:
            self._pictures = read_start(start, film, fit)
            self.metadata |= origin(Path(start), self._pictures)
        check_output(path, overwrite=overwrite, num_bytes=film_bytes(width, height, film.length.num_frames))
        self._writer = VideoWriter(path, width, height, rate, self.metadata, overwrite=overwrite)

    @property
    def path(self) -> Path:
        return self._writer.path

    @property
    def num_frames(self) -> int:
        """The frames that are written."""
        return self._writer.num_frames

    @property
    def left(self) -> str:
        """What is on the disk of a film that was stopped, in words."""
        if self.num_frames == 0:
            return "nothing was written"
        place = self._writer.part if self._writer.part.exists() else self.path
        return f"{self.num_frames} frames ({number(self.num_frames / self.film.rate)} s) are in {place}"

    def shoot(self, model: LongTake, tell: Callable[[int], object] = lambda frames: None) -> Speed:
        """Film it. tell(frames) hears of every portion that is written.

        What was written stays, as `left` says, when it is interrupted or fails: OutputError when the disk gives out,
        NumberError for numbers that are not finite.
        """
        started, first_frame = time.perf_counter(), 0.0
        try:
            with closing(model.shoot(self.film, self._pictures)) as pictures, self._writer:
                for portion in pictures:
                    self._writer.write(portion)
                    first_frame = first_frame or time.perf_counter()
                    tell(len(portion))
        except NumberError as error:
            raise NumberError(f"{error}; {self.left}") from error
        return Speed(first_frame, self.num_frames / (time.perf_counter() - started))
