"""What a film takes of a card's memory, by the JSON files of its model alone: nothing is fetched, loaded or computed.

The network is walked through once over a full window, and the decoder over some chunks, on tensors without numbers.
Counted are tensors: weights, what a pass and the decoder hold at most, and what the decoder remembers; of text encoders
their weights. Beside them a card holds what its libraries take for themselves, for which OVERHEAD is left free.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width, P of a pooled vector
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from longtake.errors import LongTakeError
from longtake.guidance import guided_velocity
from longtake.models.adapter import Adapter
from longtake.models.card.empty import bare_decoder, empty_encoders, empty_model, one_network
from longtake.models.card.placement import Offload, Quantize
from longtake.models.card.quantize import hold_in_fp8, quantised_bytes
from longtake.models.card.tally import Tally
from longtake.models.folder import ModelFolder
from longtake.models.text import Text
from longtake.options import FilmPlan

GIB = 2**30
OVERHEAD = GIB  # of CUDA itself, of its libraries, and of an allocator that cannot use every gap
PUSHES = 3  # of a decoder, until it holds what it always will


@dataclass(frozen=True)
class PartBytes:
    """A part's weights: all, the largest of its blocks, what is in none of these, and its largest layer."""

    all: int
    block: int
    rest: int
    layer: int


@dataclass(frozen=True)
class Footprint:
    """Bytes that a film takes: weights by part, what a pass holds beside them at most, what decoding does with what it
    remembers, and what the decoder remembers between two chunks."""

    text: tuple[PartBytes, ...]
    networks: tuple[PartBytes, ...]
    autoencoder: PartBytes
    a_pass: int
    decoding: int
    remembered: int

    @property
    def weights(self) -> int:
        return sum(part.all for part in (*self.text, *self.networks, self.autoencoder))

    def on_card(self, offload: Offload) -> int:
        """The most that a card holds at once: while prompts are read, or while it films."""
        texts, networks = [part.all for part in self.text], [part.all for part in self.networks]
        autoencoder = self.autoencoder.all
        film = max(self.a_pass + self.remembered, self.decoding)
        match offload:
            case "none":
                return self.weights + film
            case "text":
                return sum(networks) + autoencoder + max([*texts, film])
            case "model":  # of two networks, one leaves for the other
                return autoencoder + max([*texts, max(networks) + film])
            case "group":  # a block is there before the one ahead of it has gone
                read = max((2 * part.layer for part in self.text), default=0)
                blocks = 2 * max(part.block for part in self.networks)
                return autoencoder + max(read, sum(part.rest for part in self.networks) + blocks + film)
            case "sequential":
                read = max((part.layer for part in self.text), default=0)
                return autoencoder + max(read, max(part.layer for part in self.networks) + film)


def footprint(
    folder: ModelFolder, film: FilmPlan, dtype: torch.dtype = torch.bfloat16, quantize: Quantize | None = None
) -> Footprint:
    """What a film of a model takes, in a precision. LongTakeError if its network cannot be walked through so."""
    return next(footprints(folder, film, dtype, (quantize,)))


def footprints(
    folder: ModelFolder, film: FilmPlan, dtype: torch.dtype, quantizes: Sequence[Quantize | None]
) -> Iterator[Footprint]:
    """The same for weights held in several ways. A pass computes in dtype in all of them."""
    model, encoders, network = empty_model(folder, dtype), empty_encoders(folder, dtype), folder.network
    if film.tile:
        model.vae.enable_tiling()
    try:
        a_pass = pass_bytes(one_network(folder, model), film, network.states_width, network.pooled_width)
        decoding, remembered = decode_bytes(model, film)
    except (RuntimeError, NotImplementedError) as error:
        raise LongTakeError(
            f"what {film.model} takes is not known: it cannot be walked through without numbers"
            f" ({str(error).splitlines()[0][:100]})"
        ) from error
    for quantize in quantizes:
        networks = model.networks
        if quantize == "fp8":
            networks = empty_model(folder, dtype).networks
            for each in networks:
                hold_in_fp8(each, dtype)
        yield Footprint(
            tuple(part_bytes(encoder, quantize) for encoder in encoders),
            tuple(part_bytes(each, quantize) for each in networks),
            part_bytes(model.vae, None),
            a_pass,
            decoding,
            remembered,
        )


def part_bytes(module: nn.Module, quantize: Quantize | None) -> PartBytes:
    """Of a part on any device; blocks are what its largest list of modules holds."""
    whole = quantised_bytes(module, quantize)
    lists = [each for each in module.children() if isinstance(each, nn.ModuleList)]
    blocks = [quantised_bytes(block, quantize) for each in lists for block in each]
    leaves = (each for each in module.modules() if not any(each.children()))
    layers = [quantised_bytes(leaf, quantize) for leaf in leaves]
    return PartBytes(whole, max(blocks, default=0), whole - sum(blocks), max(layers, default=0))


@torch.inference_mode()
def pass_bytes(model: Adapter, film: FilmPlan, text_width: int, pooled_width: int | None = None) -> int:
    """What a pass over the full window holds at most, its latents and its velocity with it; weights not."""
    device, told = model.device, [_text(model, text_width, pooled_width)]
    network = partial(model.velocity, fps=float(film.rate))
    velocity = guided_velocity(network, told, told, film.settings.guidance_scale)
    channels, height, width = film.latent_shape
    frames = film.cost.peak_window
    with Tally() as tally:
        weights = tally.count(model.transformer)  # one that is held in float8 makes its weights anew
        latents = torch.zeros(1, channels, frames, height, width, device=device)
        sigma = torch.linspace(0, 1, frames, device=device)
        velocity(latents, sigma, 0)
    return tally.peak - weights


@torch.inference_mode()
def decode_bytes(model: Adapter, film: FilmPlan) -> tuple[int, int]:
    """What decoding a chunk holds at most, and what the decoder remembers then."""
    channels, height, width = film.latent_shape
    size = film.cost.sampling.chunk_size
    ahead = (model.spec.group_latents or 0) + model.spec.lookahead_latents
    decoder = bare_decoder(model)
    with Tally() as tally:
        for _ in range(PUSHES + 2 * -(-ahead // size)):
            decoder.push(torch.zeros(1, channels, size, height, width, device=model.device))
        storages = {
            t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in decoder.state().values()
        }
    return tally.peak, sum(storages.values())


def _text(model: Adapter, width: int, pooled_width: int | None) -> Text:
    """A prompt of as many tokens as there may be."""
    tokens, device = model.spec.max_prompt_tokens, model.device
    states = torch.zeros(1, tokens, width, device=device)
    mask = torch.ones(1, tokens, dtype=torch.bool, device="cpu" if model.asks_mask else device)
    pooled = None if pooled_width is None else torch.zeros(1, pooled_width, device=device)
    return Text(states, mask, pooled)
