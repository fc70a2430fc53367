"""The parts of a model, loaded: every tensor on disk accounted for first, every number finite afterwards."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.errors import LongTakeError, ModelError, NumberError
from longtake.models.families import SECOND
from longtake.models.folder import ModelFolder
from longtake.models.records import imported, library
from longtake.models.spiece import SPIECE, read_spiece
from longtake.models.weights import OF_DIFFUSERS, check_part

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from longtake.models.card.placement import Quantize
    from longtake.models.text import PromptEncoder


def part_class(folder: ModelFolder, part: str) -> Any:
    """The class of a part."""
    own = {"transformer": folder.family.code, "vae": folder.autoencoder.code}
    record, name = folder.parts[part], folder.classes[part]
    return imported(own.get(part, f"{record.module or library(record.classes[0])}:{name}"))


def is_of_diffusers(folder: ModelFolder, part: str) -> bool:
    """Whether a part is loaded as models of diffusers are, and not as those of transformers."""
    return folder.parts[part].weights == OF_DIFFUSERS


def import_code(folder: ModelFolder) -> None:
    """Import all that loading and filming takes of libraries, which is most of the time until a film begins."""
    for part in folder.parts:
        part_class(folder, part)
    imported(folder.family.adapter)
    imported(folder.family.text.code)


def empty_part(folder: ModelFolder, part: str) -> Any:
    """A part without its numbers, as its configuration describes it. ModelError if that describes none.

    A key that the class does not know would be passed over, whatever it is to change: unless it is off, it is refused.
    """
    cls, config, place = part_class(folder, part), folder.config(part), folder.place(part)
    told = config.get("_class_name", config.get("model_type"))
    of_diffusers = is_of_diffusers(folder, part)
    own = cls.__name__ if of_diffusers else cls.config_class.model_type
    if told not in (None, own):
        raise ModelError(f"{place} is of a {told}, model_index.json says {cls.__name__}: mend one")
    if config.get("quantization_config"):
        raise ModelError(
            f"{place} says that the weights are quantised: take them as bfloat16, float16 or float32"
        )
    with described_by(place, cls.__name__):
        if not of_diffusers:
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


def network_of(folder: ModelFolder, made: Callable[[str], Any]) -> Any:
    """The network of a folder, or its two as one, by how a part of that name is made."""
    network = made("transformer")
    if folder.boundary is None:
        return network
    from longtake.models.wan.experts import Experts

    return Experts(network, made(SECOND), folder.boundary)


def load_part(folder: ModelFolder, part: str, dtype: torch.dtype, quantize: Quantize | None = None) -> Any:
    """Load one part, weights and all, in the given precision, or held in fewer bits.

    ModelError for weights that are missing, left over, of another shape, quantised or damaged; NumberError for
    numbers that are not finite, in the file or in this precision.
    """
    empty, whose = empty_part(folder, part), f"model folder {folder.path}: {part}"
    if part == "vae" and folder.autoencoder.check:
        imported(folder.autoencoder.check)(empty.config, folder.place(part))
    from longtake.models.card.quantize import load_config

    found = folder.weights[part]
    check_part(found.files, empty, whose)
    module = type(empty).from_pretrained(
        folder.path,
        subfolder=part,
        local_files_only=True,
        use_safetensors=True,
        variant=found.variant,
        **{"torch_dtype" if is_of_diffusers(folder, part) else "dtype": dtype},
        **load_config(quantize, dtype, is_of_diffusers(folder, part)),
    )
    check_numbers(module, f"{whose}'s", dtype)
    return module


def prompt_encoder(
    folder: ModelFolder, dtype: torch.dtype | None = None, quantize: Quantize | None = None
) -> PromptEncoder:
    """The text encoder of a folder, or, without a precision, its tokenizers alone."""
    parts: dict[str, Any] = {}
    for name, record in folder.family.text.parts.items():
        if record.weights is None:
            parts[name] = load_tokenizer(folder, name)
        elif dtype is not None:
            parts[name] = load_part(folder, name, dtype, quantize)
    encoder: PromptEncoder = imported(folder.family.text.code)(folder.spec, parts)
    return encoder


def load_tokenizer(folder: ModelFolder, part: str) -> Any:
    """A tokenizer of a folder."""
    place = folder.path / part
    if folder.files(part) == (SPIECE,):
        tokenizer = read_spiece(place / SPIECE)
    else:
        tokenizer = part_class(folder, part).from_pretrained(place, local_files_only=True)
    size, unusable = folder.encoder.vocab_size, f"model folder {folder.path} cannot be used"
    if part == folder.family.text.words and len(tokenizer) > size:
        raise ModelError(f"{unusable}: its tokenizer has {len(tokenizer)} words, its text encoder {size}")
    if tokenizer.pad_token is None:
        raise ModelError(f"{unusable}: its tokenizer has no pad_token")
    return tokenizer


def weightless_network(folder: ModelFolder, dtype: torch.dtype) -> nn.Module:
    """The network without its weights, which are checked all the same, but with what lies beside them."""
    from safetensors import safe_open

    network, files = empty_part(folder, "transformer").to(dtype), folder.weights["transformer"].files
    check_part(files, network, f"model folder {folder.path}: transformer")
    names = network.state_dict().keys() - dict(network.named_parameters()).keys()
    buffers: dict[str, Tensor] = {}
    for path in files if names else ():
        with safe_open(path, "pt") as file:
            buffers |= {name: file.get_tensor(name) for name in names & set(file.keys())}
    network.load_state_dict(buffers, strict=False, assign=True)
    return network


def check_numbers(module: nn.Module, whose: str, dtype: torch.dtype) -> None:
    """NumberError, which names the tensor, unless all numbers of a module, which is in this precision, are finite."""
    import torch

    from longtake.finite import is_finite

    for name, tensor in module.state_dict().items():
        if type(tensor) is torch.Tensor and not is_finite(tensor):  # those of torchao are of its own kinds
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


def _refuse_unknown(cls: Any, config: dict[str, Any], place: str) -> None:
    known = inspect.signature(cls.__init__).parameters
    for name, value in config.items():
        if name not in known and not name.startswith("_") and value not in (None, False):
            raise ModelError(
                f"{place} says {name} {json.dumps(value)}, which this version's {cls.__name__} does not know: update"
                " diffusers, or delete it if it changes nothing"
            )


def _line(error: Exception) -> str:
    """The first line of what an error says."""
    return str(error).strip().split("\n")[0]
