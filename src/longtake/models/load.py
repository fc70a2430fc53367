"""From a model, by its name or its open folder, to its description, its parts, and the whole, ready to film."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from longtake.errors import ModelError, OptionError
from longtake.models.base import Loras, ModelSpec, VideoModel
from longtake.models.card.placement import Placement, Quantize
from longtake.models.device import check_device, resolve_dtype
from longtake.models.families import FAMILIES
from longtake.models.folder import SETTINGS, ModelFolder, read_settings
from longtake.models.lora import find_loras, fuse_loras, lora_name
from longtake.models.parts import (
    check_numbers,
    empty_part,
    load_part,
    network_of,
    prompt_encoder,
    reading,
    weightless_network,
)
from longtake.models.places import Model, open_model, with_weights
from longtake.models.records import imported

if TYPE_CHECKING:
    import torch

    from longtake.models.adapter import Adapter


def read_spec(model: Model = None, lora: Loras = None, placement: Placement | None = None) -> ModelSpec:
    """Describe a model. Raises ModelError as open_model does, and OptionError for one that is not filmed in tiles, if
    the placement asks for these.

    lora: one to add, or several: its file, its folder or that of the run that trained it, and behind it =0.8 if it is
    to count so often. The defaults of the first that has its own hold, and what was measured of the model alone does
    not.
    """
    folder, found, placement = open_model(model), find_loras(lora), placement or Placement()
    if placement.tile:
        _check_tiled(folder)
    spec = replace(folder.spec, quantize=placement.quantize, tile=placement.tile)
    if not found:
        return spec
    own = (read_settings(each.folder) for each in found if (each.folder / SETTINGS).exists())
    defaults = next(own, None) or spec.defaults
    return replace(spec, loras=tuple(map(lora_name, found)), defaults=defaults, ends=None)


def load_model(
    model: Model = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    lora: Loras = None,
    placement: Placement | None = None,
) -> VideoModel:
    """Load a model onto a device, and add LoRAs to its weights.

    lora: as for read_spec.
    dtype: float32, bfloat16 or float16; None means bfloat16 on CUDA and float32 elsewhere. placement: what of it leaves
    the device, how its weights are held, and how it computes.
    Raises ModelError as open_model does, and for weights that are missing, left over, damaged, quantised or pickled;
    NumberError for those that are not finite; OptionError for a device or a dtype that is not there, and for a
    placement that the device, the network or the installed packages do not know.
    """
    from longtake.models.card.placed import check_placement, put

    placement = placement or Placement()
    target, precision = check_device(device), resolve_dtype(dtype, device)
    check_placement(placement, target, bool(lora))
    folder, held = _of_one_network(model) if lora else _usable(model), placement.quantize
    spec, added = read_spec(folder, lora, placement), find_loras(lora)
    with reading(folder.path):
        transformer = network_of(folder, lambda part: load_part(folder, part, precision, held))
        if added:
            fuse_loras(transformer, folder.family, added)
            names = " and ".join(str(each.path) for each in added)
            check_numbers(transformer, f"with LoRA {names}, the network's", precision)
        transformer = imported(folder.family.adapter).trimmed(transformer)
        loaded = _assembled(spec, folder, transformer, precision, held)
    put(loaded, placement, target)
    return loaded


def load_encoders(
    model: Model = None, device: str | torch.device = "cpu", dtype: str | torch.dtype | None = None
) -> VideoModel:
    """A model to prepare film with: it encodes prompts and frames, and its network takes no memory and is no use.

    Arguments and errors as for load_model.
    """
    target, precision = check_device(device), resolve_dtype(dtype, device)
    folder = _of_one_network(model)
    with reading(folder.path):
        loaded = _assembled(folder.spec, folder, weightless_network(folder, precision), precision)
    for part in (*loaded.text_encoder.parts.values(), loaded.vae):
        if hasattr(part, "parameters") and part is not loaded.transformer:
            part.to(target)
    return loaded


def check_prompts(model: Model, prompts: Iterable[str]) -> None:
    """Raise OptionError for a prompt that is too long for a model; reads no weights."""
    folder = open_model(model)
    with reading(folder.path):
        encoder = prompt_encoder(folder)
    for prompt in prompts:
        encoder.check_length(prompt)


def load_transformer(model: Model = None, dtype: str = "float32") -> Any:
    """The network of a model alone, on the CPU, taking a timestep for each latent frame: for a trainer.

    Its `adapter` says how it is called. Raises as load_model does.
    """
    folder = _of_one_network(model)
    with reading(folder.path):
        network = load_part(folder, "transformer", resolve_dtype(dtype, "cpu"))
        return imported(folder.family.adapter).prepared(network)


def load_autoencoder(model: Model = None) -> Any:
    """The autoencoder of a model alone, float32, on the CPU. Raises as load_model does."""
    folder = _whole(model)
    with reading(folder.path):
        return load_part(folder, "vae", resolve_dtype("float32", "cpu"))


def empty_transformer(model: Model) -> Any:
    """The network of a model without its numbers; reads JSON alone."""
    folder = open_model(model)
    with reading(folder.path):
        return empty_part(folder, "transformer")


def adapter(transformer_class: str) -> type[Adapter]:
    """The kind of VideoModel that uses networks of this class."""
    return imported(FAMILIES[transformer_class].adapter)


def _whole(model: Model) -> ModelFolder:
    """The folder of a model, checked: known classes and whole weights."""
    folder = with_weights(open_model(model))
    folder.check()
    return folder


def _usable(model: Model) -> ModelFolder:
    """The same, of a model that can be filmed with as things stand here."""
    folder = _whole(model)
    if check := folder.family.check:
        imported(check)(folder.name)
    return folder


def _of_one_network(model: Model) -> ModelFolder:
    """The same of a model that LoRAs and training are for: ModelError for two experts, which have one each."""
    folder = _usable(model)
    if folder.spec.experts:
        raise ModelError(
            f"{folder.name} has two networks, each with weights of its own, and longtake adds LoRAs to models of one,"
            " and trains these: take another model, or no LoRA"
        )
    return folder


def _check_tiled(folder: ModelFolder) -> None:
    """OptionError for a model whose pictures are not made in tiles."""
    if why := folder.autoencoder.not_tiled:
        raise OptionError(f"{folder.name} is not filmed in tiles: its autoencoder {why}; leave tile out")


def _assembled(
    spec: ModelSpec,
    folder: ModelFolder,
    transformer: Any,
    dtype: torch.dtype,
    quantize: Quantize | None = None,
) -> Adapter:
    """A network with the other parts of its folder, in a precision, in main memory."""
    made: Adapter = imported(folder.adapter)(
        spec,
        prompt_encoder(folder, dtype, quantize),
        transformer,
        load_part(folder, "vae", dtype),
    )
    return made
