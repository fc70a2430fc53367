"""The draft of a film: a film file, read as a stream, scaled to another size and encoded, latent by latent.

C channels, F latent frames, H W latent height and width
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longtake.errors import OptionError, StateError
from longtake.files import file_sha256, printable
from longtake.models.base import ENCODER, PICTURES, VideoModel
from longtake.options import FilmOptions, FilmPlan
from longtake.pictures import to_tensor
from longtake.progress import track
from longtake.video import Pictures, VideoInfo, read_timed, resampled

# What a draft says of itself that its finished film follows too; all else is the model's.
TOLD = ("prompt", "negative_prompt", "seed", "guidance_scale", "cues")
PLACE, READY = "place", "ready"


def draft_options(info: VideoInfo, scale: float, **options: Any) -> FilmOptions:
    """The options of a film as long as its draft, `scale` times as large, that follows what the draft does.

    options: those that hold before these. OptionError for a draft that does not say what it shows, if they do not.
    """
    told = {name: info.metadata[name] for name in TOLD if name in info.metadata} | options
    if "prompt" not in told:
        raise OptionError("the draft does not say what it shows, as films of longtake do: give a prompt")
    size = {"width": round(info.width * scale), "height": round(info.height * scale)}
    return FilmOptions(**{**size, **told, "num_frames": info.num_frames, "fps": float(info.fps)})


def draft_origin(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a film says of its draft."""
    return {"draft": {"name": printable(Path(path).name), "sha256": file_sha256(Path(path))}}


def check_draft(path: str, told: Mapping[str, Any]) -> None:
    """StateError unless the file at `path` is still the draft of a film that says this of itself."""
    if not Path(path).is_file():
        raise StateError(f"the draft {printable(path)} is gone: a film goes on with it alone")
    if draft_origin(path)["draft"]["sha256"] != told["draft"]["sha256"]:
        raise StateError(f"the draft {printable(path)} is another film by now")


def enlarged(path: str | os.PathLike[str], film: FilmPlan) -> Iterator[Pictures]:
    """The pictures (height, width, 3) of a draft at the film's size and rate, bicubic, cropped to the middle where the
    shape is another; behind the last one, that one again and again. LongTakeError for a film that is damaged."""
    last = None
    for last in resampled(read_timed(path, film.settings.width, film.settings.height), film.rate):
        yield last
    assert last is not None, "read_timed gives a picture or raises"
    yield from repeat(last)


class EncodedDraft:
    """The latents of a draft at the size of a film, `DraftLatents` in shot.py: it holds those that were asked for
    last, and what the encoder gave beyond them, however long the draft is.

    Errors as for `enlarged`, when the pictures are read.
    """

    def __init__(self, path: str | os.PathLike[str], model: VideoModel, film: FilmPlan) -> None:
        self._path, self._film, self._device = path, film, model.device
        self._encoder = model.encoder()
        self._read, self._pictures = 0, enlarged(path, film)
        self._first, self._ready = 0, self._none

    def latents(self, first: int, count: int) -> Tensor:
        """Clean latents (1, C, count, H, W), float32, first, first + 1, …; `first` never falls, but by `restore`."""
        assert first >= self._first
        self._forget(first)
        while self._first + self._ready.shape[2] < first + count:
            self._ready = torch.cat([self._ready, self._encoded_next()], dim=2)
            self._forget(first)
        return self._ready[:, :, :count]

    def _encoded_next(self) -> Tensor:
        """The latents, 0 or more, that the next picture completes."""
        frame = to_tensor(next(self._pictures)[None, None]).to(self._device)
        self._read += 1
        return self._encoder.push(frame).to(self._device)

    def _forget(self, first: int) -> None:
        """Drop the latents before `first`, of those that are there."""
        gone = min(first - self._first, self._ready.shape[2])
        self._first, self._ready = self._first + gone, self._ready[:, :, gone:].clone()

    def state(self) -> dict[str, Tensor]:
        """How many pictures were read, the latents that wait and the first one's index, and the encoder's state."""
        encoder = {ENCODER + name: x for name, x in self._encoder.state().items()}
        return {PLACE: torch.tensor([self._read, self._first]), READY: self._ready, **encoder}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Be where a state was given; the pictures before it are read again, and the last of them are encoded again if
        the state, `stored`, has nothing else of its encoder. Nothing: at the beginning."""
        read, self._first = state[PLACE].tolist() if state else (0, 0)
        self._ready = state[READY] if state else self._none
        encoder = {name.removeprefix(ENCODER): x for name, x in state.items() if name.startswith(ENCODER)}
        again = int(encoder.pop(PICTURES)) if encoder.keys() == {PICTURES} else 0
        self._encoder.restore(encoder)
        if read - again != self._read:
            self._pictures = islice(enlarged(self._path, self._film), read - again, None)
            self._read = read - again
        if again:
            for _ in track(range(again), "encoding the draft's last pictures again"):
                self._encoded_next()

    @property
    def _none(self) -> Tensor:
        channels, height, width = self._film.latent_shape
        return torch.empty(1, channels, 0, height, width, device=self._device)
