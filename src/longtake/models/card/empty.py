"""A model without its numbers: every part as its configuration describes it, in the precision it would be loaded in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from longtake.models.codecs import new_decoder
from longtake.models.folder import ModelFolder
from longtake.models.parts import empty_part, is_of_diffusers, network_of
from longtake.models.records import imported

if TYPE_CHECKING:
    from longtake.models.adapter import Adapter
    from longtake.models.base import Decoder

META = torch.device("meta")


def in_precision(module: Any, dtype: torch.dtype, of_diffusers: bool = True) -> Any:
    """A module with the precisions that from_pretrained of its library gives it, for filming: what is in its files is
    cast, but for layers that are to stay in float32."""
    kept = set(getattr(module, "_keep_in_fp32_modules_strict", None) or ())
    if of_diffusers or dtype == torch.float16:
        kept |= set(getattr(module, "_keep_in_fp32_modules", None) or ())
    for name, tensor in nn.Module.state_dict(module, keep_vars=True).items():
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(torch.float32 if set(name.split(".")) & kept else dtype)
    return module.requires_grad_(False).eval()


def empty_model(folder: ModelFolder, dtype: torch.dtype) -> Adapter:
    """Network and autoencoder of a folder on the meta device, as films have them; its text encoder reads nothing."""
    vae = in_precision(empty_part(folder, "vae"), dtype)
    adapter: type[Adapter] = imported(folder.adapter)
    network = adapter.trimmed(network_of(folder, lambda part: in_precision(empty_part(folder, part), dtype)))
    return adapter(folder.spec, SimpleNamespace(), network, vae)  # type: ignore[arg-type]


def one_network(folder: ModelFolder, model: Adapter) -> Adapter:
    """A model without its numbers, or of two networks the first alone: both take as much, one after the other, and
    noise levels without numbers would choose neither."""
    if folder.boundary is None:
        return model
    adapter: type[Adapter] = imported(folder.family.adapter)
    return adapter(folder.spec, model.text_encoder, model.networks[0], model.vae)


def bare_decoder(model: Adapter) -> Decoder:
    """The decoder of a model without its numbers, without the guardrail that a Cosmos has behind it."""
    return new_decoder(model.vae)


def empty_encoders(folder: ModelFolder, dtype: torch.dtype) -> list[Any]:
    """The text encoders of a folder on the meta device."""
    return [
        in_precision(empty_part(folder, part), dtype, is_of_diffusers(folder, part))
        for part, record in folder.family.text.parts.items()
        if record.weights is not None
    ]
