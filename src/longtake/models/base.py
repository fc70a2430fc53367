"""What the rest of the package knows about a video model: a description of it, and the five things it can do.

Importing this loads no torch, so that planning and `--help` stay quick.

B batch, C channels, F latent frames, H W latent height and width, N pixel frames
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import ConfigDict, Field

from longtake.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from torch import Tensor

    from longtake.models.text import Text


Count = Annotated[int, Field(strict=True, ge=1, le=2**31)]
Level = Annotated[float, Field(strict=True, gt=0, le=1)]
RECENT = "recent"  # the name, in a decoder's state, of latents of which it makes the rest of that state again
PICTURES = "pictures"  # the name, in an encoder's state, of how many last pictures make the rest of it again
ENCODER = "encoder."  # how the names of an encoder's state begin in the state of what has one


@dataclass(frozen=True)
class ModelDefaults:
    """What a model is filmed with where the user says nothing: the keys of longtake.json in its folder.

    The bounds are those of that file; options have their own. sigmas: noise levels by hand, as many as
    num_inference_steps and without the 0 that they fall to, in place of those that shift gives.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    width: Count
    height: Count
    fps: Annotated[float, Field(strict=True, gt=0, le=240)]
    num_inference_steps: Count
    steps_per_chunk: Count
    chunk_size: Count
    context_size: Annotated[int, Field(strict=True, ge=0, le=2**31)]
    shift: Annotated[float, Field(strict=True, gt=0)]
    guidance_scale: Annotated[float, Field(strict=True, ge=0)]
    sigmas: tuple[Level, ...] | None = None

    @property
    def ladder(self) -> tuple[int, int, int, int]:
        """S, M, C and the context, as Sampling takes them."""
        return self.num_inference_steps, self.steps_per_chunk, self.chunk_size, self.context_size

    @property
    def told(self) -> dict[str, Any]:
        """As JSON values, without sigmas where there are none."""
        values = asdict(self)
        sigmas = values.pop("sigmas")
        return values if sigmas is None else {**values, "sigmas": list(sigmas)}


# A LoRA or several, in order: a file, a folder or a run, with =0.8 behind it if it is to count so often.
Loras = str | Path | Sequence[str | Path] | None


Score = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Ends:
    """How well a model films toward what it is given, as benchmarks/ends.py measured it: `ends` in longtake.json.

    loop, clip, photo: how much its films change where they meet their own beginning, a clip or a photo, over their
    median change from frame to frame; the mean over so many films. largest: the same of the largest change in the films
    themselves, within which a seam is not seen.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    films: Count
    loop: Score
    clip: Score
    photo: Score
    largest: Score


@dataclass(frozen=True)
class TwoExperts:
    """Of a model of two networks: the noise level from which on latents ask the first, and below it the second; and how
    closely the second follows the prompt, as guidance_scale says of the first."""

    boundary: float
    guidance_scale_2: float


@dataclass(frozen=True)
class LoraName:
    """Which LoRA a model is filmed with: the name of its folder, the sha256 of its weights, and how often it counts."""

    name: str
    sha256: str
    weight: float = 1.0


@dataclass(frozen=True)
class ModelSpec:
    """A model in numbers, read from the JSON files of its folder alone.

    n latents decode to first_frames + (n - 1) * temporal_factor frames; with group_latents, every so many do, by
    themselves; with whole_groups, windows begin with such a group, too. To be encoded, n latents take the frames that n
    + lookahead_latents decode to: more where latents reach into one another. A latent's frames are decoded as soon as
    delay_latents have followed it, or none will. Both sides of a picture are spatial_factor times those of its latent,
    and multiples of `alignment` pixels. A prompt may take up to max_prompt_tokens tokens. prediction: a key of
    AS_VELOCITY in models/prediction.py. text_per_latent: whether each latent may have a text of its own. schedule: a
    key of SCHEDULES in schedules.py, the formula of its noise levels. left_out: what the model could make and its films
    lack, such as sound. joined_latents: so many that follow one another share a token of the network, and a noise
    level; a film begins with one copy less of its first latent then, which make no frames. extra_tokens: those of a
    text beyond a prompt's. ends: how well its films meet an end, if that was measured. experts: where it has two
    networks. quantize: how its weights are held, as in Placement, None for whole ones. tile: whether
    large pictures are decoded and encoded in tiles.
    """

    name: str
    latent_channels: int
    spatial_factor: int
    temporal_factor: int
    first_frames: int
    alignment: int
    max_prompt_tokens: int
    defaults: ModelDefaults
    loras: tuple[LoraName, ...] = ()
    group_latents: int | None = None
    lookahead_latents: int = 0
    delay_latents: int = 0
    prediction: str = "flow_prediction"
    text_per_latent: bool = False
    whole_groups: bool = False
    schedule: str = "flow"
    left_out: tuple[str, ...] = ()
    joined_latents: int = 1
    extra_tokens: int = 0
    ends: Ends | None = None
    quantize: str | None = None
    tile: bool = False
    experts: TwoExperts | None = None

    def experts_guided(self, guidance_scale_2: float | None) -> TwoExperts | None:
        """The two networks with this guidance of the second. OptionError where the model has one."""
        if guidance_scale_2 is None:
            return self.experts
        if self.experts is None:
            raise OptionError(f"{self.name} has one network: give guidance_scale alone, no guidance_scale_2")
        return replace(self.experts, guidance_scale_2=guidance_scale_2)


class Stateful(Protocol):
    """What a film has seen so far, in the open: saved and restored, it goes on to the same bits."""

    def state(self) -> dict[str, Tensor]:
        """All that the next push depends on besides what is pushed, by name; empty before the first. No push changes
        tensors that were given out."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Be as the codec of the same autoencoder was that gave this state."""
        ...


def stored(state: Mapping[str, Tensor], within: str = "") -> Mapping[str, Tensor]:
    """What a file keeps of a codec's state: of a decoder's its recent latents alone, of an encoder's how many pictures
    to push again, if it has them and they are the smaller part, and single numbers.

    The codec goes on to the same bits: a decoder that is restored with the latents, a new encoder that is pushed the
    pictures. within: how the names of the codec's state begin; all others are kept.
    """
    codec = {name: x for name, x in state.items() if name.startswith(within)}
    recent = {name: x for name, x in codec.items() if name.removeprefix(within) in (RECENT, PICTURES)}
    if not recent or 2 * num_bytes(recent) >= num_bytes(codec):
        return state
    return {name: x for name, x in state.items() if name in recent or name not in codec or x.ndim == 0}


def num_bytes(state: Mapping[str, Tensor]) -> int:
    """The bytes of a state's tensors."""
    return sum(x.numel() * x.element_size() for x in state.values())


class Decoder(Stateful, Protocol):
    """Latents to frames for one film: pushed in order, in portions of any size, in constant memory."""

    def push(self, latents: Tensor) -> Tensor:
        """The frames (B, 3, N, height, width), float32 in [-1, 1], of the next latents (B, C, F ≥ 1, H, W).

        Latents are normalised (mean 0, standard deviation 1 a channel). Those that do not fill a group, where
        the autoencoder decodes in groups, wait for the next push, so N may be 0. Push by push equals one shot.
        A number that the autoencoder does not make finite is NaN.
        """
        ...

    def rest(self) -> Iterator[Tensor]:
        """The frames of latents that wait for others behind them, where none will come: portions (B, 3, N, height,
        width), most often none. No push may follow.
        """
        ...


class Encoder(Stateful, Protocol):
    """Frames to latents for one film: pushed in order, in portions of any size, in constant memory."""

    def push(self, frames: Tensor) -> Tensor:
        """The normalised latents (B, C, F, H, W), float32, of the next frames (B, 3, N ≥ 1, height, width).

        Frames lie in [-1, 1]. Those that do not fill a latent, or a group of them, wait for the next push, so F
        may be 0. The latents are the means of what the autoencoder predicts. Push by push equals one shot.
        NumberError if they are not finite.
        """
        ...

    def rest(self) -> Iterator[Tensor]:
        """The latents of frames that wait for others behind them, where none will come: portions (B, C, F, H, W), most
        often none. No push may follow."""
        ...


class VideoModel(Protocol):
    """A network that takes a noise level for each latent frame, with its text encoder and its autoencoder."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def encode_prompt(self, prompts: list[str], negative: bool = False) -> Text:
        """The prompts, or negative ones, one a row. Raises OptionError for a prompt of more tokens than the spec
        allows, NumberError for numbers that are not finite."""
        ...

    def clean(self, prompt: str) -> str:
        """The prompt as the text encoder is to see it."""
        ...

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that the text encoder cannot tell from one another, in order, each once."""
        ...

    def velocity(self, latents: Tensor, sigma: Tensor, text: Text, fps: float | None = None) -> Tensor:
        """noise - data, shaped like latents (B, C, F, H, W) and of their dtype.

        sigma: (F,) or (B, F), the noise level of each latent frame, 1 noise to 0 clean. text: B rows, and,
        only where spec.text_per_latent says so, a text a latent frame. fps: the film's frame rate, for networks that
        are told it; None is the model's own.
        """
        ...

    def decoder(self) -> Decoder:
        """A new decoder, for one film."""
        ...

    def encoder(self) -> Encoder:
        """A new encoder, for one film."""
        ...
