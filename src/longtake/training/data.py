"""Prepared film: the folder that `longtake prepare` writes, and the batches that are drawn from it.

Knows nothing of video files, models or optimizers. The folder holds manifest.json, the latents of all clips in
shards/ and the states of their captions in captions/. All tensors are read from disk by slices, so memory does not
grow with the film.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import safe_open
from torch import Tensor

from longtake.errors import DataError
from longtake.files import is_text
from longtake.frames import lasting
from longtake.given import encoded_frames
from longtake.models.base import ModelDefaults, ModelSpec
from longtake.models.places import open_model
from longtake.models.text import Text
from longtake.models.weights import weights_hash
from longtake.training.loss import Window
from longtake.training.sources import Skipped

MANIFEST = "manifest.json"
LATENTS, TEXT, POOLED = "latents", "text", "pooled"
# Windows that hold a film's first latent where they are met: as a film starts; as it goes on from a clip, which is
# encoded by itself; and as a model that makes clips makes them.
AT_THE_START = ("start", "extend", "level")


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PreparedClip(_Stored):
    """One unbroken shot: `num_latents` latents of a shard from its latent `first` on, and what they show.

    It begins `start` seconds into the video file `name`. `shard` is a path inside the folder, `sha256` that of the
    latents.
    """

    name: str
    start: float
    caption: str
    shard: str
    first: int
    num_latents: int
    sha256: str = ""


class Record(_Stored):
    """What became of one video file or, in a manifest, of all."""

    clips: list[PreparedClip] = []
    skipped: list[Skipped] = []


class FileRecord(Record):
    """What became of one video file, which was last written at `modified`, in nanoseconds; `sha256` is that of its
    bytes, empty where it was prepared before that was noted."""

    modified: int = 0
    sha256: str = ""


class Manifest(Record):
    """What a folder of prepared film is made of and for; manifest.json.

    vae, text_encoder and source are hashes. `fps` is exact, such as 24 or 24000/1001. `complete` is false until every
    video file was looked at. `dtype` is what film and captions were encoded in.
    """

    format: Literal[1] = 1
    complete: bool = False
    model: str
    vae: str
    text_encoder: str
    source: str
    dtype: str
    width: int
    height: int
    fps: str
    min_latents: int
    layout: Literal["F C H W float16"] = "F C H W float16"


Stored = TypeVar("Stored", bound=_Stored)


def read_stored(path: Path, kind: type[Stored]) -> Stored:
    """A JSON file of a prepared folder. DataError if it is missing or something else."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} is missing: make it with longtake prepare") from None
    except (OSError, ValidationError) as error:
        raise DataError(f"{path} is damaged or of another version: prepare the film anew") from error


def record_path(folder: Path, number: int) -> Path:
    """Where a prepared folder says what became of a video file."""
    return folder / "shards" / f"{number:05d}.json"


def caption_path(folder: Path, caption: str) -> Path:
    """Where a prepared folder keeps the states of a caption."""
    return folder / "captions" / f"{hashlib.sha256(caption.encode()).hexdigest()[:32]}.safetensors"


def hashes(model_folder: Path) -> dict[str, str]:
    """SHA-256 of what latents and text depend on in a model folder: its "vae", and the parts of its
    "text_encoder"."""
    return {
        "vae": weights_hash(model_folder, "vae"),
        "text_encoder": weights_hash(model_folder, *reversed([*open_model(model_folder).family.text.parts])),
    }


def latents_needed(spec: ModelSpec, sampling: ModelDefaults) -> int:
    """How long a clip must be, in latents, so that every training window finds a place in it."""
    chunks = -(-sampling.num_inference_steps // sampling.steps_per_chunk)
    return sampling.context_size + chunks * sampling.chunk_size + _first_is_a_picture(spec)


def longest_windows(spec: ModelSpec, windows: Sequence[ModelDefaults]) -> ModelDefaults:
    """Of the settings whose windows a run sees, those whose windows are longest."""
    return max(windows, key=lambda sampling: latents_needed(spec, sampling))


def frames_needed(spec: ModelSpec, num_latents: int) -> int:
    """The frames that a clip must have to be so many latents long."""
    group = spec.group_latents or 1
    return encoded_frames(-(-num_latents // group) * group, spec)


def smaller_windows(spec: ModelSpec, sampling: ModelDefaults, num_latents: int) -> ModelDefaults | None:
    """Settings whose training windows fit clips of so many latents, or None: with less context, or, if even one latent
    of it is too much, with more steps per chunk too, so that the ladder has fewer chunks, though two at least."""
    M, S = sampling.steps_per_chunk, sampling.num_inference_steps
    for steps in range(M, max(M + 1, S)):
        ladder = latents_needed(spec, replace(sampling, steps_per_chunk=steps, context_size=0))
        context = min(sampling.context_size, num_latents - ladder)
        if context >= min(1, sampling.context_size):
            return replace(sampling, steps_per_chunk=steps, context_size=context)
    return None


def too_short(
    spec: ModelSpec, sampling: ModelDefaults | None, needed: int, longest: int, rate: Fraction
) -> str:
    """For people: what a training window takes and what the longest clip has, in latents, and how the two could meet.

    sampling: the settings that the windows follow from, if they do.
    """
    way = smaller_windows(spec, sampling, longest) if sampling else None
    told = (
        f"a training window takes {lasting(frames_needed(spec, needed), rate)}, the longest shot that is too short for"
        f" it fills {frames_needed(spec, longest):,}"
    )
    if sampling is None or way is None:
        return f"{told}: take longer film"
    options = {"--steps-per-chunk": "steps_per_chunk", "--context": "context_size"}
    changed = [
        f"{option} {getattr(way, name)}"
        for option, name in options.items()
        if getattr(way, name) != getattr(sampling, name)
    ]
    fits = frames_needed(spec, latents_needed(spec, way))
    return f"{told}: take longer film, or windows of {fits:,} frames with {' '.join(changed)}"


def _first_is_a_picture(spec: ModelSpec) -> bool:
    """Whether a film's first latent holds one frame alone, and so looks like no other."""
    return spec.first_frames == 1 and spec.group_latents is None


class PreparedFilm:
    """Prepared film, opened for training a model. `clips` are long enough for every window, `left_out` others are not.
    `sampling` are the settings that a model which has learnt from it is to be filmed with.

    hashes: `hashes` of the model's folder. sampling: the settings of the result. windows: those whose windows will be
    asked for, if not these.
    DataError for film that is missing, not finished, damaged, prepared for another autoencoder or text encoder, or
    too short everywhere.
    """

    def __init__(
        self,
        folder: str | Path,
        spec: ModelSpec,
        hashes: Mapping[str, str],
        sampling: ModelDefaults,
        windows: Sequence[ModelDefaults] = (),
    ) -> None:
        self.folder = folder = Path(folder)
        if not is_text(folder):
            raise DataError(f"{folder} is no name in UTF-8: give the folder another")
        self.manifest = read_stored(folder / MANIFEST, Manifest)
        if not self.manifest.complete:
            raise DataError(f"{folder} is not finished: run longtake prepare again, it goes on where it was")
        for part, name in (("vae", "autoencoder"), ("text_encoder", "text encoder")):
            if getattr(self.manifest, part) != hashes[part]:
                raise DataError(
                    f"{folder} was prepared with the {name} of {self.manifest.model}, which is not that of"
                    f" {spec.name}: run longtake prepare with the model to be trained"
                )
        width, height, rate = self.manifest.width, self.manifest.height, float(Fraction(self.manifest.fps))
        self.sampling = replace(sampling, width=width, height=height, fps=rate)
        widest = longest_windows(spec, windows or (sampling,))
        self.needed = latents_needed(spec, widest)
        self.clips = [clip for clip in self.manifest.clips if clip.num_latents >= self.needed]
        self.left_out = len(self.manifest.clips) - len(self.clips)
        if not self.clips:
            lengths = [clip.num_latents for clip in self.manifest.clips]
            cure = sampling if widest == sampling else None  # it would not mend chunks of other sizes
            most = max(lengths + [item.num_latents for item in self.manifest.skipped], default=0)
            raise DataError(
                f"no shot in {folder} is long enough:"
                f" {too_short(spec, cure, self.needed, most, Fraction(self.manifest.fps))}"
            )
        needed = {folder / clip.shard for clip in self.clips}
        needed |= {caption_path(folder, caption) for caption in ("", *self.captions)}
        for path in sorted(needed):
            if not path.is_file():
                raise DataError(f"{path} is missing: run longtake prepare again")
        self._lengths = torch.tensor([clip.num_latents for clip in self.clips])
        self._first_is_a_picture = _first_is_a_picture(spec)
        self._step = spec.group_latents or 1
        self._max_tokens = spec.max_prompt_tokens + spec.extra_tokens

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def num_latents(self) -> int:
        return int(self._lengths.sum())

    @property
    def captions(self) -> list[str]:
        """What the clips show, in their order, each caption once."""
        return list(dict.fromkeys(clip.caption for clip in self.clips))

    @property
    def null_text(self) -> Text:
        """The empty caption, one row, float32."""
        return self._text("")

    def batch(
        self, window: Window, batch: int, generator: torch.Generator, caption_drop: float
    ) -> tuple[Tensor, Text]:
        """Latents (B, C, F, H, W) for a window and their captions, float32.

        They follow from the generator alone. All places that the window can take in any clip are equally likely.
        Where a film's first latent looks like no other, windows of the kinds AT_THE_START begin with it and no others
        hold it; where latents belong together in groups, a window begins with a group.
        caption_drop: how often the caption is empty.
        """
        at_the_start = self._first_is_a_picture and window.kind in AT_THE_START
        first = int(self._first_is_a_picture and not at_the_start)
        places = torch.div(self._lengths - first - window.num_latents, self._step, rounding_mode="floor") + 1
        assert places.min() > 0, "windows are no longer than the settings the film was opened with"
        if at_the_start:
            places = torch.ones_like(places)
        ends = places.cumsum(0)
        drawn = torch.randint(int(ends[-1]), (batch,), generator=generator)
        numbers = torch.searchsorted(ends, drawn, right=True)
        starts = first + (drawn - (ends - places)[numbers]) * self._step
        dropped = torch.rand(batch, generator=generator) < caption_drop
        clips = [self.clips[number] for number in numbers.tolist()]
        latents = [
            self._latents(clip, start, window.num_latents)
            for clip, start in zip(clips, starts.tolist(), strict=True)
        ]
        text = Text.cat([self._text(clip.caption) for clip in clips])
        return torch.stack(latents), Text.where(dropped, text.emptied(self.null_text), text)

    def _latents(self, clip: PreparedClip, start: int, count: int) -> Tensor:
        """Latents (C, F, H, W) of a clip from its latent `start` on."""
        with safe_open(self.folder / clip.shard, framework="pt") as file:
            begin = clip.first + start
            return file.get_slice(LATENTS)[begin : begin + count].float().transpose(0, 1)

    def _text(self, caption: str) -> Text:
        """A caption, one row. The file holds its states (L, D), zero where there is no token, and without those behind
        its last; and the pooled vector, if the model has one."""
        with safe_open(caption_path(self.folder, caption), framework="pt") as file:
            tensors = {name: file.get_tensor(name).float()[None] for name in file.keys()}  # noqa: SIM118
        missing = self._max_tokens - tensors[TEXT].shape[1]
        states = torch.nn.functional.pad(tensors[TEXT], (0, 0, 0, missing))
        return Text.of_zero_padded(states, tensors.get(POOLED))
