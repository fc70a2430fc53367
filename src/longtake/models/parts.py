"""The parts of a model folder, loaded: every tensor on disk accounted for first, every number finite afterwards."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.errors import LongTakeError, ModelError, NumberError
from longtake.models.folder import (
    OPEN_SORA,
    WAN_VAE,
    WEIGHTS,
    checked_classes,
    part_config,
    part_place,
    read_json,
)
from longtake.models.kinds import refuse_foreign
from longtake.models.weights import check_part, part_files

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# Where the classes lie that are neither diffusers' nor transformers'.
OWN_CLASSES = {
    "AutoencoderTubelet": "longtake.models.tubelet",
    "AutoencoderLapped": "longtake.models.lapped",
} | dict.fromkeys(OPEN_SORA, "longtake.models.open_sora")
LIBRARIES = {"transformer": "diffusers", "vae": "diffusers", "text_encoder": "transformers"}


def check_files(folder: Path) -> None:
    """Raise ModelError unless all weights are there as safetensors, and the tokenizer's words as JSON."""
    read_json(folder, "tokenizer/tokenizer.json")
    for path in sorted((folder / "tokenizer").iterdir()):
        if path.suffix in (".json", ".model", ".txt") and not path.name.startswith("."):
            refuse_foreign(path)
    for part in WEIGHTS:
        part_files(folder, part)


def part_class(folder: Path, part: str) -> Any:
    """The class of a part of a folder, which is checked."""
    name = checked_classes(folder)[part]
    return getattr(import_module(OWN_CLASSES.get(name, LIBRARIES.get(part, "transformers"))), name)


def empty_part(folder: Path, part: str) -> Any:
    """A part without its numbers, as its configuration describes it. ModelError if that describes none.

    A key that the class does not know would be passed over, whatever it is to change: unless it is off, it is refused.
    """
    cls, config, place = part_class(folder, part), part_config(folder, part), part_place(folder, part)
    told = config.get("_class_name", config.get("model_type"))
    own = cls.__name__ if LIBRARIES[part] == "diffusers" else cls.config_class.model_type
    if told not in (None, own):
        raise ModelError(f"{place} is of a {told}, model_index.json says {cls.__name__}: mend one")
    if config.get("quantization_config"):
        raise ModelError(
            f"{place} says that the weights are quantised: take them as bfloat16, float16 or float32"
        )
    with described_by(place, cls.__name__):
        if LIBRARIES[part] == "transformers":
            return cls(cls.config_class.from_dict(config))
        _refuse_unknown(cls, config, place)
        return cls.from_config(config)


@contextmanager
def described_by(place: str, class_name: str) -> Iterator[None]:
    """Modules made in it have no numbers. ModelError, which names the place of their configuration, if none can be."""
    import torch

    try:
        with torch.device("meta"):
            yield
    except LongTakeError:
        raise
    except Exception as error:  # classes fail in as many ways as a configuration can be wrong
        raise ModelError(f"{place} describes no {class_name} ({_line(error)})") from error


def load_part(folder: Path, part: str, dtype: torch.dtype) -> Any:
    """Load one part, weights and all, in the given precision.

    ModelError for weights that are missing, left over, of another shape, quantised or damaged; NumberError for
    numbers that are not finite, in the file or in this precision.
    """
    empty = empty_part(folder, part)
    if type(empty).__name__ == WAN_VAE:
        _check_factors(empty.config, part_place(folder, part))
    found = check_part(folder, part, empty)
    key = "torch_dtype" if LIBRARIES[part] == "diffusers" else "dtype"
    module = type(empty).from_pretrained(
        folder,
        subfolder=part,
        local_files_only=True,
        use_safetensors=True,
        variant=found.variant,
        **{key: dtype},
    )
    check_numbers(module, f"model folder {folder}: {part}'s", dtype)
    return module


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, which is checked."""
    tokenizer = part_class(folder, "tokenizer").from_pretrained(folder / "tokenizer", local_files_only=True)
    size = part_config(folder, "text_encoder")["vocab_size"]
    if len(tokenizer) > size:
        raise ModelError(
            f"model folder {folder} cannot be used: its tokenizer has {len(tokenizer)} words, its text encoder {size}"
        )
    if tokenizer.pad_token is None:
        raise ModelError(f"model folder {folder} cannot be used: its tokenizer has no pad_token")
    return tokenizer


def load_buffers(network: nn.Module, folder: Path) -> dict[str, Tensor]:
    """What a network's folder holds beside its parameters."""
    from safetensors import safe_open

    names = network.state_dict().keys() - dict(network.named_parameters()).keys()
    found: dict[str, Tensor] = {}
    for path in part_files(folder, "transformer").files if names else ():
        with safe_open(path, "pt") as file:
            found |= {name: file.get_tensor(name) for name in names & set(file.keys())}
    return found


def check_numbers(module: nn.Module, whose: str, dtype: torch.dtype) -> None:
    """NumberError, which names the tensor, unless all numbers of a module, which is in this precision, are finite."""
    import torch

    from longtake.finite import is_finite

    for name, tensor in module.state_dict().items():
        if not is_finite(tensor):
            half = " or try bfloat16, which holds larger ones than float16" if dtype == torch.float16 else ""
            raise NumberError(f"{whose} {name} holds numbers that are not finite: fetch it again{half}")


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Report damaged files as ModelError, and keep the libraries' own bars and warnings off the terminal."""
    import diffusers
    import transformers
    from safetensors import SafetensorError

    logs = transformers.utils.logging, diffusers.utils.logging
    before = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    except LongTakeError:
        raise
    except (
        OSError,
        ValueError,
        RuntimeError,
        TypeError,
        LookupError,
        AttributeError,
        SafetensorError,
    ) as error:
        raise ModelError(f"model folder {folder} cannot be read ({_line(error)})") from error
    finally:
        for log, level, bar in before:
            log.set_verbosity(level)
            if bar:
                log.enable_progress_bar()


def _check_factors(config: Any, place: str) -> None:
    """ModelError unless a Wan's autoencoder has the factors and the colours that its configuration says."""
    patch = config.patch_size or 1
    for said, made, what in (
        (config.scale_factor_spatial, patch * 2 ** (len(config.dim_mult) - 1), "pixels a latent"),
        (config.scale_factor_temporal, 2 ** sum(config.temperal_downsample), "frames a latent"),
        (config.in_channels, 3 * patch**2, "channels in"),
        (config.out_channels, 3 * patch**2, "channels out"),
    ):
        if said != made:
            raise ModelError(f"{place} says {said} {what}, its layers make {made}: mend it")


def _refuse_unknown(cls: Any, config: dict[str, Any], place: str) -> None:
    known = inspect.signature(cls.__init__).parameters
    for name, value in config.items():
        if name not in known and not name.startswith("_") and value not in (None, False):
            raise ModelError(
                f"{place} says {name} {json.dumps(value)}, which this version's {cls.__name__} does not know: update"
                " diffusers, or delete it if it changes nothing"
            )


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
