"""The films that a film is joined to: what it goes on from, what stands before it and what stands behind it.

F pixel frames
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from longtake.drafts import EncodedDraft, check_draft
from longtake.errors import OutputError, StateError
from longtake.files import file_sha256, printable
from longtake.options import FilmPlan, options_of
from longtake.progress import track
from longtake.provenance import loras_in, made_by
from longtake.start import given_in
from longtake.states import About, TakeState, read_about, read_state
from longtake.video import Pictures, VideoWriter, read_frames

if TYPE_CHECKING:
    from longtake.models.base import ModelSpec
    from longtake.pipeline import LongTake
    from longtake.shot import Look, Shot


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
        """spec: of the model that `read_about(state)` names. StateError if it cannot be read, is another model's, or
        its draft is not what it was."""
        about = read_about(state)
        options, strength = options_of(about.film), about.film.get("strength")
        if not isinstance(strength, float | int | None):
            raise StateError(f"{printable(state)} is damaged: its film has no number for a strength")
        film = options.resolved(spec, **given_in(about.film), strength=strength)
        begun = about.film | {"loras": loras_in(about.film)}
        for name, value in film.metadata.items():
            if (told := begun.get(name)) != value:
                raise StateError(
                    f"{printable(file)} was begun with {name} {told}, and would go on with {value}"
                )
        if about.draft is not None:
            check_draft(about.draft, about.film)
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
        """The state with its tensors, those too that its file left out. StateError if it is damaged, and as `check`
        raises it."""
        self.check(model)
        found, shot = read_state(self.state, model.model.device), shot_of(model, self.film, self.about.draft)
        shot.check_state(found.shot)
        state, pictures = shot.remembering(found.shot), [found.pending]
        if state.num_frames < self.until:
            passes = shot.passes(state, self.until)
            for later, portion in track(passes, "filming on to where it branches off"):
                state = later
                pictures.append(portion)
        return TakeState(state, np.concatenate(pictures)[self.num_written - found.num_written :])

    def check(self, model: LongTake) -> None:
        """StateError for a model whose weights, precision or kind of device are others by now: it would go on to other
        pictures."""
        was, now = self.about.made, made_by(model, model.weights)
        if was.model_sha256 != now.model_sha256:
            raise StateError(
                f"{printable(self.file)} was begun with other weights than {self.film.model} has now"
            )
        for how, begun, goes_on in (("in", was.dtype, now.dtype), ("on", was.device, now.device)):
            if begun != goes_on:
                raise StateError(
                    f"{printable(self.file)} was begun {how} {begun}, and would go on {how} {goes_on}"
                )


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
        with closing(read_frames(self.file, self.first)) as frames:  # type: ignore[type-var]
            for picture in islice(frames, whole - self.first):
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
        with closing(read_frames(self.file, writer.num_frames)) as frames:  # type: ignore[type-var]
            for picture in frames:
                writer.write(picture[None])
        return how


def shot_of(model: LongTake, film: FilmPlan, draft: str | None, look: Look | None = None) -> Shot:
    """The shot of a film, from its draft if it has one. look: as for Shot."""
    from longtake.shot import Shot

    latents = None if draft is None else EncodedDraft(draft, model.model, film)
    return Shot(model.model, film, draft=latents, look=look)
