"""Weights in fewer bits, by the libraries' own ways: made as a model is loaded, of the weights of its folder."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from longtake.errors import OptionError

if TYPE_CHECKING:
    from longtake.models.card.placement import Quantize

PACKAGES = {"int8": "torchao", "nf4": "bitsandbytes"}
# Of a weight that is quantised with a scale a row, or a block of so many numbers.
NF4_BLOCK = 64
NO_GGUF = (
    "quantize gguf is not there: a GGUF file is one network by itself, whose tensors cannot be compared with a model's"
    " folder before they are loaded; take fp8, int8 or nf4, which are made of the folder's own weights"
)


def check_quantize(kind: Quantize | None, device: torch.device, with_lora: bool) -> None:
    """OptionError for a kind whose package is missing, that the device has not, or that takes no LoRA."""
    if kind is None:
        return
    if kind == "gguf":
        raise OptionError(NO_GGUF)
    if (package := PACKAGES.get(kind)) and find_spec(package) is None:
        raise OptionError(f"quantize {kind} needs {package}: pip install 'longtake[quantize]'")
    if kind == "nf4" and device.type != "cuda":
        raise OptionError(f"quantize nf4 needs a CUDA card, not {device}: take int8 or fp8")
    if kind != "fp8" and with_lora:
        raise OptionError(f"a LoRA is added to whole weights, and not to those of {kind}: take fp8 with it")
    if kind == "fp8":
        _check_fp8(device)


def _check_fp8(device: torch.device) -> None:
    """OptionError for a device that cannot hold float8, or turn it into what it computes in."""
    try:
        torch.ones(1, device=device).to(torch.float8_e4m3fn).to(torch.bfloat16)
    except (RuntimeError, TypeError) as error:
        raise OptionError(f"{device} has no float8 ({str(error).splitlines()[0]}): take int8") from error


def load_config(kind: Quantize | None, dtype: torch.dtype, of_diffusers: bool) -> dict[str, Any]:
    """What from_pretrained of diffusers or of transformers is told to make such weights; nothing for those in dtype."""
    if kind not in PACKAGES:
        return {}
    import diffusers
    import transformers

    library = diffusers if of_diffusers else transformers
    if kind == "int8":
        from torchao.quantization import Int8WeightOnlyConfig

        return {"quantization_config": library.TorchAoConfig(Int8WeightOnlyConfig())}
    config = library.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )
    return {"quantization_config": config}


def hold_in_fp8(network: Any, dtype: torch.dtype) -> None:
    """Have a network of diffusers hold the weights of its large layers in float8, and compute in dtype."""
    network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)


def quantised_bytes(module: nn.Module, kind: Quantize | None) -> int:
    """The bytes of a module once int8 or nf4 has been made of its linear layers; of any other as it is."""
    saved = 0
    for name, layer in module.named_modules():
        kept = set(name.split(".")) & set(getattr(module, "_keep_in_fp32_modules", None) or ())
        if kind in PACKAGES and isinstance(layer, nn.Linear) and not kept:
            rows, numbers = layer.weight.shape[0], layer.weight.numel()
            scales = 4 * numbers / NF4_BLOCK if kind == "nf4" else rows * layer.weight.element_size()
            saved += layer.weight.nbytes - int(numbers * (0.5 if kind == "nf4" else 1) + scales)
    from longtake.models.card.tally import nbytes

    return nbytes(module) - saved
