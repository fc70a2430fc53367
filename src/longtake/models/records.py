"""What is known of a network, an autoencoder or a text encoder before any of its code is imported; without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Literal

from longtake.models.base import ModelDefaults
from longtake.models.configs import (
    SHIFTS,
    FlowConfig,
    NetworkConfig,
    SchedulerConfig,
    T5EncoderConfig,
    TextEncoderConfig,
    TokenizerConfig,
    VaeConfig,
    WanVaeConfig,
)
from longtake.models.hub import HubModel
from longtake.models.weights import OF_TRANSFORMERS

PresetName = Literal["pa-o-base", "rn-o-base", "rn-o-base-as-released"]


def imported(place: str) -> Any:
    """What is at a place, 'module:name'."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def library(place: str) -> str:
    """The library that a place is in, as model_index.json calls it."""
    return re.split("[.:]", place)[0]


@dataclass(frozen=True)
class Part:
    """A part of a model's folder.

    classes: those that it may be of, in the words of model_index.json, each behind its library. config: the file of its
    configuration. weights: that of its weights, if it has any. files: others that must be there. instead: one that does
    in place of them. module: where its classes are, if not in the library that they are behind.
    """

    classes: tuple[str, ...]
    config: str = "config.json"
    weights: str | None = None
    files: tuple[str, ...] = ()
    instead: str | None = None
    module: str | None = None


def tokenizer(*classes: str) -> Part:
    """A tokenizer, of one of these classes of transformers or of its general ones."""
    general = ("PreTrainedTokenizerFast", "TokenizersBackend")
    names = tuple(f"transformers.{name}" for name in (*general, *classes))
    return Part(names, config="tokenizer_config.json", files=("tokenizer.json",))


def encoder(*classes: str) -> Part:
    """A text encoder, of one of these classes of transformers."""
    return Part(tuple(f"transformers.{name}" for name in classes), weights=OF_TRANSFORMERS)


@dataclass(frozen=True)
class TextEncoder:
    """A way from prompts to text.

    code: the place of its PromptEncoder. parts: what that is made of, by their names in the folder. reader, words: the
    parts that make its states and its tokens; the former may be the network. config, tokenizer: what is read of the
    configurations of these two. most_tokens: of a prompt, where neither the network nor the tokenizer says less.
    extra_tokens: of the text beyond a prompt's.
    """

    code: str
    parts: Mapping[str, Part]
    config: type[TextEncoderConfig]
    tokenizer: type[TokenizerConfig] = TokenizerConfig
    most_tokens: int = 512
    extra_tokens: int = 0
    reader: str = "text_encoder"
    words: str = "tokenizer"


@dataclass(frozen=True)
class Autoencoder:
    """An autoencoder in numbers, as in ModelSpec, and where its class is; so are CODEC + "Decoder" and "Encoder".

    config: what is read of its configuration. statistics: the place of a function of the autoencoder, which gives mean
    and standard deviation (1, C, 1, 1, 1), float32, of raw latents, all scaling included. check: a function of its
    configuration and where that lies; ModelError for one that contradicts itself. not_tiled: why its codec takes no
    pictures in tiles, after the words "its autoencoder"; None where it does.
    """

    code: str
    codec: str
    first_frames: int
    config: type[VaeConfig] = WanVaeConfig
    statistics: str = "longtake.models.codecs:of_rows"
    lookahead_latents: int = 0
    group_latents: int | None = None
    check: str | None = None
    not_tiled: str | None = "streams whole pictures, layer by layer"


@dataclass(frozen=True)
class Converted:
    """A model that is made of original weights: its name, what is told of it, the command that makes it, and the place
    of the ModelSpec by which it is known before it is made."""

    name: str
    told: HubModel
    command: str
    spec: str


@dataclass(frozen=True)
class Experts:
    """Of folders with a second network of the class, `transformer_2`, which takes over below the noise level that
    model_index.json calls boundary_ratio.

    adapter: the place of an Adapter of both, as one. defaults, guidance_scale_2: what they are filmed with.
    """

    adapter: str
    defaults: ModelDefaults
    guidance_scale_2: float


@dataclass(frozen=True)
class Family:
    """A kind of network, and what it is filmed with.

    code, adapter: the places of its class and of its Adapter. config: what is read of its configuration. text: its way
    from prompts to text. autoencoders, schedulers: the classes that it may come with, and what is read of a scheduler's
    configuration. left_out: parts of its folders that films do without, and what they lack for it, if anything,
    such as "sound".
    schedule, text_per_latent, whole_groups: as in ModelSpec. defaults: what a folder without longtake.json is filmed
    with, by its autoencoder, the spatial factor of that and, if it has one, the network's variant; with the shift of
    the folder's scheduler, if `scheduler_shift`. named: the same of models that are known by their names on the hub,
    such as those for few steps. experts: of its folders that have two networks; None if none may.
    check: the place of a function of a model's name; ModelError if it cannot be filmed with as things stand here.
    relatives: families of other models with a network of the same class, by the class of their text encoder.
    lora_names, lora_converter: the places of the names that its layers have with their authors, as AUTHORS_OF_WAN in
    spellings.py, and of a function that gives a LoRA's tensors in them diffusers' names, such as diffusers' own.
    hub: its models on the hub, what is told of each. converted: the one that `longtake convert` makes. presets: a line
    about each film with it that has a name.
    """

    code: str
    adapter: str
    config: type[NetworkConfig]
    autoencoders: tuple[str, ...]
    text: TextEncoder
    schedulers: Mapping[str, type[SchedulerConfig]] = field(
        default_factory=lambda: dict.fromkeys(SHIFTS, FlowConfig)
    )
    left_out: Mapping[str, str | None] = field(default_factory=dict)
    schedule: str = "flow"
    text_per_latent: bool = False
    whole_groups: bool = False
    defaults: Mapping[tuple[str, int] | tuple[str, int, str], ModelDefaults] = field(default_factory=dict)
    scheduler_shift: bool = False
    named: Mapping[str, ModelDefaults] = field(default_factory=dict)
    experts: Experts | None = None
    check: str | None = None
    relatives: Mapping[str, Family] = field(default_factory=dict)
    lora_names: str | None = None
    lora_converter: str | None = None
    hub: Mapping[str, HubModel] = field(default_factory=dict)
    converted: Converted | None = None
    presets: Mapping[PresetName, str] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, Part]:
        """What its folders hold besides network and autoencoder."""
        names = tuple(f"diffusers.{name}" for name in self.schedulers)
        return {**self.text.parts, "scheduler": Part(names, config="scheduler_config.json")}


T5 = TextEncoder(
    code="longtake.models.t5:T5PromptEncoder",
    parts={
        "text_encoder": encoder("T5EncoderModel", "UMT5EncoderModel"),
        "tokenizer": replace(tokenizer("T5TokenizerFast", "T5Tokenizer"), instead="spiece.model"),
    },
    config=T5EncoderConfig,
)
