"""Where a model computes, and in which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longtake.errors import OptionError

if TYPE_CHECKING:
    import torch


def check_device(device: str | torch.device) -> torch.device:
    """The device of that name. OptionError for one that is not there."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(f"no device {device} here ({str(error).strip().splitlines()[0]})") from error
    return torch.device(device)


def resolve_dtype(dtype: str | torch.dtype | None, device: str | torch.device) -> torch.dtype:
    """The dtype of that name, or the one that load_model takes on a device. OptionError if there is none."""
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    name = dtype or ("bfloat16" if torch.device(device).type == "cuda" else "float32")
    name = str(name).removeprefix("torch.")
    if name not in known:
        raise OptionError(f"dtype must be one of {', '.join(known)}, got {dtype}")
    return known[name]
