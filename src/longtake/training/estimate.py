"""What a training run will take, before any weights are loaded: windows, tokens, parameters, memory."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch
from torch import nn

from longtake.models.base import ModelDefaults
from longtake.models.load import empty_transformer, read_spec
from longtake.models.lora import add_lora
from longtake.models.places import Model
from longtake.training.batches import window_of
from longtake.training.options import KINDS, DistilOptions, RunOptions

DRAWS = 1000


@dataclass(frozen=True)
class Estimate:
    """The cost of a run with given options.

    kinds: for every kind of window the share of steps, and the fewest and the most latent frames it has.
    latents_per_step, tokens_per_step: means, over all processes. memory: bytes a process, by what they hold.
    """

    kinds: dict[str, tuple[float, int, int]]
    latents_per_step: float
    tokens_per_step: float
    parameters: int
    trained: int
    memory: dict[str, int]


def estimate(model: Model, options: RunOptions, sampling: ModelDefaults, processes: int = 1) -> Estimate:
    """The cost of training `model`, named as for read_spec; reads JSON alone. Windows are those of 1000 steps.

    Memory, in bytes: 4 a weight, 4 a trained one's gradient, 8 its AdamW moments, 4 its average; 2 a weight that LoRA
    leaves alone, with bf16. Sharded, a process has its part of these. A teacher, 4 a weight or those 2, is whole in
    each. Activations, of the longest window in the largest piece: (90 D + 8 E) a token and block, D the network's
    width and E its feed-forward's, as measured in float32, and little less in bfloat16; with gradient checkpointing 4 D
    a token and block, and one block in full. What the libraries take for themselves comes on top.
    """
    spec, network = read_spec(model), empty_transformer(model)
    blocks = [m for m in network.modules() if type(m).__name__ in network._no_split_modules]
    width = network.config.num_attention_heads * network.config.attention_head_dim
    wide = max(m.out_features for m in blocks[0].modules() if isinstance(m, nn.Linear))  # the feed-forward's
    windows = [window_of(torch.Generator().manual_seed(i), options, sampling) for i in range(DRAWS)]
    lengths = {kind: [w.num_latents for w in windows if w.kind == kind] for kind in KINDS}
    sides = (sampling.height // spec.spatial_factor, sampling.width // spec.spatial_factor)
    patches = network.patch_embedding.kernel_size[1:]
    tokens = math.prod(-(-side // patch) for side, patch in zip(sides, patches, strict=True))
    parameters, trained = _parameters(network, options)
    pieces = processes * options.accumulation
    longest = max(window.num_latents for window in windows) * tokens * -(-options.batch_size // pieces)
    block, layers = 90 * width + 8 * wide, len(blocks)
    checkpointed = options.gradient_checkpointing
    latents = options.batch_size * mean(window.num_latents for window in windows)
    frozen = 2 if options.dtype == "bfloat16" else 4
    held = {
        "weights": 4 * trained + frozen * (parameters - trained),
        "gradients": 4 * trained,
        "optimizer": 8 * trained,
        "average": 4 * trained,
    }
    if options.shard:
        held = {name: size // processes for name, size in held.items()}
    if isinstance(options, DistilOptions):
        held["teacher"] = frozen * parameters
    return Estimate(
        kinds={kind: (len(n) / DRAWS, min(n), max(n)) for kind, n in lengths.items() if n},
        latents_per_step=latents,
        tokens_per_step=latents * tokens,
        parameters=parameters,
        trained=trained,
        memory=held
        | {"activations": longest * (layers * 4 * width + block if checkpointed else layers * block)},
    )


def _parameters(network: Any, options: RunOptions) -> tuple[int, int]:
    """How many numbers the network has, and how many of them are trained."""
    if options.lora_rank:
        with torch.device("meta"):
            add_lora(network, options.lora_rank, options.alpha)
    counts = Counter[bool]()
    for parameter in network.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    return counts.total(), counts[True]
