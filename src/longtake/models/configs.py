"""What the JSON files of a model folder may say: each key that is read, with its type and its bounds; without torch.

Other keys are the libraries' business. A value that does not fit is a ModelError of one line, which names file and key.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from longtake.errors import ModelError
from longtake.models.base import Count, Ends, ModelDefaults

Positive = Annotated[float, Field(gt=0)]
Row = list[float]
Off = Literal[False] | None
STARTS_FROM_IMAGE = (
    "it starts from an image, or from a film: its network takes that in more channels, at places of a clip that a"
    " window leaves behind; take the text-to-video model"
)


class Config(BaseModel):
    """The part of a JSON file that is read here; strict: no text for a number, no number for a truth."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class NetworkConfig(Config):
    """Of any network. A family's own gives a field that is called otherwise there an alias.

    text_width: of the text states that it reads; pooled_width: of the vector of a whole prompt, where it reads one.
    prompt_tokens: the most of a prompt, where it says so itself.
    """

    in_channels: Count
    text_width: Count
    pooled_width: Count | None = Field(None, alias="pooled_projection_dim")
    prompt_tokens: Count | None = Field(None, alias="max_caption_tokens")

    @property
    def latent_channels(self) -> int:
        """Of the latents that it takes; in_channels may count others too."""
        return self.in_channels

    @property
    def states_width(self) -> int:
        """Of the text states as it is called with; a part of the text encoder may have widened them."""
        return self.text_width

    @property
    def patch(self) -> int:
        """Both sides of a latent must be multiples of this."""
        return 1

    @property
    def token_side(self) -> int:
        """So many points of a latent, each way, are a token."""
        return self.patch

    @property
    def joined_latents(self) -> int:
        """How many latents that follow one another share a token."""
        return 1

    @property
    def variant(self) -> str:
        """Which of its family's defaults hold, where its autoencoder does not say it."""
        return ""

    @property
    def refusal(self) -> str | None:
        """Why it cannot be filmed with, if so."""
        return None

    def unfit(self, scheduler: SchedulerConfig) -> str | None:
        """Why it does not go with this scheduler, if so."""
        return None


class IndexConfig(Config):
    """Of a folder's model_index.json. boundary_ratio: the noise level between its two networks, if it has two."""

    boundary_ratio: Annotated[float, Field(gt=0, lt=1)] | None = None


class WanConfig(NetworkConfig):
    """Of a Wan or SkyReels-V2 transformer."""

    text_width: Count = Field(4096, alias="text_dim")
    out_channels: Count | None = None
    patch_size: Annotated[list[Count], Field(min_length=3, max_length=3)]
    image_dim: Count | None = None

    @property
    def patch(self) -> int:
        return math.lcm(*self.patch_size[1:])

    @property
    def refusal(self) -> str | None:
        if self.image_dim or self.in_channels != (self.out_channels or self.in_channels):
            return STARTS_FROM_IMAGE
        if self.patch_size[0] != 1:
            return "its network joins latent frames into one token, so they share a noise level"
        return None


class OpenSoraConfig(NetworkConfig):
    """Of an OpenSoraTransformer3DModel."""

    text_width: Count = Field(alias="caption_channels")
    prompt_tokens: Count = Field(alias="max_caption_tokens")

    @property
    def token_side(self) -> int:
        return 2  # a side that is odd is padded


@dataclass(frozen=True)
class Latents:
    """What an autoencoder's latents are: their channels, and how many pixels, on either side, and frames each is."""

    channels: int
    spatial_factor: int
    temporal_factor: int


class VaeConfig(Config, ABC):
    """Of any autoencoder: a kind's own reads its keys, and says what they make of its latents."""

    @property
    @abstractmethod
    def latents(self) -> Latents: ...

    @property
    def delay_latents(self) -> int:
        """How many latents must follow one until it is decoded."""
        return 0

    @property
    def refusal(self) -> str | None:
        """Why it cannot be filmed with, if so."""
        return None


class WanVaeConfig(VaeConfig):
    """Of Wan's autoencoder, and of all with its keys."""

    z_dim: Count
    latents_mean: Row | None = None
    latents_std: list[Positive] | None = None
    scale_factor_spatial: Count = 8
    scale_factor_temporal: Literal[4] = 4

    @property
    def latents(self) -> Latents:
        return Latents(self.z_dim, self.scale_factor_spatial, self.scale_factor_temporal)

    @property
    def refusal(self) -> str | None:
        if not len(self.latents_mean or ()) == len(self.latents_std or ()) == self.z_dim:
            return "its vae/config.json gives no latents_mean and latents_std for each latent channel"
        return None


class TextEncoderConfig(Config, ABC):
    """Of any text encoder: a kind's own gives its keys an alias.

    width: of the states that the network reads. vocab_size: the words that it knows.
    """

    width: Count
    vocab_size: Count


class T5EncoderConfig(TextEncoderConfig):
    """Of a T5 or UMT5."""

    width: Count = Field(alias="d_model")


class TokenizerConfig(Config):
    """Of any tokenizer. Those without a limit give one of thirty digits."""

    model_max_length: Annotated[int, Field(ge=1)] | None = None


# By which name each scheduler knows its shift. Under another's name diffusers does not see it.
SHIFTS = {"FlowMatchEulerDiscreteScheduler": "shift", "UniPCMultistepScheduler": "flow_shift"}


class SchedulerConfig(Config):
    """Of any scheduler: what it says of noise levels and predictions, or that it says nothing of them here."""

    def given_shift(self, class_name: str) -> float | None:
        """The shift, if there is one."""
        return None

    @property
    def prediction(self) -> str:
        """What the adapter's `network_velocity` gives, a key of AS_VELOCITY."""
        return "flow_prediction"

    @property
    def schedule(self) -> str | None:
        """Whose noise levels it has, if not its family's."""
        return None


class FlowConfig(SchedulerConfig):
    """Of a scheduler of flow matching: its shift, and what else of it changes the noise levels or what the network is
    taken to predict.

    A film's levels are even ones, warped by the shift alone, and its network predicts noise - data or the data itself:
    whatever asks for something else is no option here. null and false ask for nothing.
    """

    shift: Positive = Field(None)  # type: ignore[assignment]  # may be left out, not null
    flow_shift: Positive = Field(None)  # type: ignore[assignment]
    num_train_timesteps: Literal[1000] = 1000
    prediction_type: Literal["flow_prediction", "sample"] | None = None
    use_flow_sigmas: Literal[True] | None = None
    final_sigmas_type: Literal["zero"] | None = None
    use_dynamic_shifting: Off = None
    use_karras_sigmas: Off = None
    use_exponential_sigmas: Off = None
    use_beta_sigmas: Off = None
    use_lu_lambdas: Off = None
    invert_sigmas: Off = None
    stochastic_sampling: Off = None
    thresholding: Off = None
    rescale_betas_zero_snr: Off = None
    shift_terminal: Off = None
    sigma_min: Off = None
    sigma_max: Off = None
    trained_betas: Off = None

    def given_shift(self, class_name: str) -> float | None:
        """The shift, if there is one: under the scheduler's own name for it, else under the other's."""
        name = SHIFTS[class_name]
        other = next(key for key in SHIFTS.values() if key != name)
        return next(
            (shift for shift in (getattr(self, name), getattr(self, other)) if shift is not None), None
        )

    @property
    def prediction(self) -> str:
        return self.prediction_type or "flow_prediction"


class LoraConfig(Config):
    """Of a LoRA, as peft writes it."""

    r: Count
    lora_alpha: float


def _passes(defaults: ModelDefaults) -> ModelDefaults:
    if defaults.steps_per_chunk > defaults.num_inference_steps:
        raise ValueError("steps_per_chunk is more than num_inference_steps")
    if defaults.sigmas is None:
        return defaults
    if len(defaults.sigmas) != defaults.num_inference_steps:
        raise ValueError("sigmas must be as many as num_inference_steps")
    if any(before <= after for before, after in pairwise(defaults.sigmas)):
        raise ValueError("sigmas must fall at every step")
    return defaults


SETTINGS = TypeAdapter(Annotated[ModelDefaults, AfterValidator(_passes)])
ENDS, MEASURED = "ends", TypeAdapter(Ends)
Kind = TypeVar("Kind", bound=Config)


def checked(kind: type[Kind], content: dict[str, Any], where: str) -> Kind:
    """The content of a JSON file, checked. ModelError, which begins with where that is, if a value does not fit."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ModelError(f"{where}: {_one_line(error)}") from None


def settings(content: dict[str, Any], folder: Path) -> ModelDefaults:
    """The defaults that a longtake.json gives: all fields of ModelDefaults, and nothing else but what was measured."""
    own = {name: value for name, value in content.items() if name != ENDS}
    try:
        SETTINGS.validate_python(own)
    except ValidationError as error:
        wrong = sorted({str(detail["loc"][0]) for detail in error.errors() if detail["loc"]})
        raise ModelError(
            f"model folder {folder}: longtake.json must hold a number for each default; mend"
            f" {wrong or 'them'} ({_one_line(error)})"
        ) from None
    if own.get("sigmas"):
        own["sigmas"] = tuple(own["sigmas"])
    return ModelDefaults(**own)  # numbers as they are written, 24 not 24.0


def measured_ends(content: dict[str, Any], folder: Path) -> Ends | None:
    """What a longtake.json says was measured of the ends of films, if it does."""
    if ENDS not in content:
        return None
    try:
        return MEASURED.validate_python(content[ENDS])
    except ValidationError as error:
        raise ModelError(f"model folder {folder}: longtake.json: ends: {_one_line(error)}") from None


def _one_line(error: ValidationError) -> str:
    """The first thing that is wrong: the key, what belongs there, and what is there."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{key} is missing"
    if first["type"] == "unexpected_keyword_argument":
        return f"there is no {key}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    requirement = (
        first["msg"].replace("Input should", "must").replace(" after validation", "").split(", not")[0]
    )
    return (
        f"{key} {requirement.replace('False', 'false').replace('True', 'true')}, not {_shown(first['input'])}"
    )


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
