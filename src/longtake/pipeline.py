"""From a prompt to pictures, as a stream; all arithmetic is elsewhere.

Knows nothing of files: pictures leave as uint8 arrays while the film is made, and memory does not grow with
its length.
"""

from collections.abc import Generator
from typing import Any, Self

import numpy as np
import torch

from longtake.models.base import Loras, VideoModel
from longtake.models.card.placement import Placement
from longtake.models.folder import ModelFolder
from longtake.models.load import load_model
from longtake.models.lora import references
from longtake.models.places import EMBEDDED, Model, open_model, with_weights
from longtake.options import FilmOptions, FilmPlan
from longtake.pictures import Pictures
from longtake.shot import Shot


class LongTake:
    """A model, ready to film. The same model, options, prompt and seed give the same film, whole or in
    part."""

    def __init__(
        self,
        model: VideoModel,
        folder: ModelFolder | None = None,
        lora: Loras = None,
        placement: Placement | None = None,
    ) -> None:
        """folder, lora, placement: what it was loaded from and how, if films are to say so."""
        self.model, self.folder, self.placement = model, folder, placement or Placement()
        self.loras = references(lora)

    @property
    def reference(self) -> str | None:
        """What opens the model again: a folder, a name on the hub, or None for the embedded one."""
        if self.folder is None or self.folder.path == EMBEDDED:
            return None
        return self.folder.hub or str(self.folder.path.resolve())

    @property
    def weights(self) -> str:
        """The sha256 of the model's weights, and of the JSON that says how to use them; nothing if it has no folder."""
        return "" if self.folder is None else self.folder.sha256

    @property
    def known_weights(self) -> str | None:
        """The same, None as long as it is computed, which begins when this is first asked for."""
        if self.folder is None:
            return ""
        return self.folder.hashing.result() if self.folder.hashing.done() else None

    @classmethod
    def from_pretrained(
        cls,
        model: Model = None,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype | None = None,
        lora: Loras = None,
        **placement: Any,
    ) -> Self:
        """Loads a model folder, a model of the hub, or (None) the embedded default, and adds LoRAs to it;
        see `models.load.load_model`. placement: the fields of `Placement`, such as offload="model"."""
        folder, placed = with_weights(open_model(model)), Placement(**placement)
        return cls(load_model(folder, device, dtype, lora, placed), folder, lora, placed)

    def stream(
        self,
        prompt: str,
        seconds: float | None = None,
        start: Pictures | None = None,
        end: Pictures | None = None,
        **options: Any,
    ) -> Generator[Pictures, None, None]:
        """Films `prompt`, yielding pictures (F, height, width, 3) uint8 as soon as they are clean.

        `seconds` become the nearest whole number of frames.
        start, end: pictures of the film's own size and rate that it begins and ends with; `FilmOptions.resolved` says
        how many. One alone is a photo, and held still.
        `options` are the fields of `FilmOptions`. OptionError, at once, if they do not fit the model or the
        prompt is longer than it takes. NumberError, at the pass or the picture that it comes with, when numbers are
        not finite. Call `close()` on the result to end early."""
        wanted = FilmOptions(prompt=prompt, seconds=seconds, **options)
        film = wanted.resolved(
            self.model.spec,
            from_clip=start is not None,
            photo=start is not None and len(start) == 1,
            end=None if end is None else "photo" if len(end) == 1 else "clip",
        )
        return self.shoot(film, _held(start, film.given_frames), _held(end, film.end_frames))

    def generate(
        self,
        prompt: str,
        seconds: float | None = None,
        start: Pictures | None = None,
        end: Pictures | None = None,
        **options: Any,
    ) -> Pictures:
        """The whole film of `stream`, (num_frames, height, width, 3) uint8, held in memory."""
        return np.concatenate(list(self.stream(prompt, seconds, start, end, **options)))

    def shoot(
        self, film: FilmPlan, start: Pictures | None = None, end: Pictures | None = None
    ) -> Generator[Pictures, None, None]:
        """`stream` for options that are resolved already."""
        shot = Shot(self.model, film)
        shot.check_given(start, end)
        return shot.pictures(start, end)


def _held(pictures: Pictures | None, count: int) -> Pictures | None:
    """Pictures, or one alone so many times."""
    return pictures.repeat(count, axis=0) if pictures is not None and len(pictures) == 1 else pictures
