"""Where the parts of a model lie while it films, in which form, and by which kernels. Without torch."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from longtake.values import Options

Offload = Literal["none", "text", "model", "group", "sequential"]
Quantize = Literal["fp8", "int8", "nf4", "gguf"]
OFFLOADS: tuple[Offload, ...] = get_args(Offload)
QUANTIZES: tuple[Quantize, ...] = get_args(Quantize)


class Placement(Options):
    """How a model is put on a card. All but `quantize` and `tile` leaves its pictures as they are, to rounding."""

    offload: Offload | None = Field(
        None,
        description="What leaves the card: nothing; the text encoder, once it has read the prompts; text encoder and"
        " network, the one while the other works; all but the blocks of network and text encoder that work; all but the"
        " layers that work. On CUDA it is text if not given.",
    )
    quantize: Quantize | None = Field(
        None,
        description="Hold weights in fewer bits, the network's and, but for fp8, the text encoder's; pictures differ."
        " gguf is refused.",
    )
    attention: str | None = Field(
        None, description="Who computes attention, by diffusers' name: native, flash, sage, xformers …"
    )
    tile: bool = Field(
        False,
        description="Decode and encode large pictures in tiles that fade into one another: decoding takes less"
        " memory; pictures differ a little.",
    )
    compile: bool = Field(False, description="Compile the network's blocks, which takes a minute or more.")
