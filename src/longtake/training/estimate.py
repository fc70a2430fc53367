"""What a training run will take, before any weights are loaded: windows, tokens, parameters, memory, work."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import partial
from statistics import mean
from typing import Any

import torch
from torch import nn

from longtake.errors import OptionError
from longtake.models.adapter import TIMESTEPS
from longtake.models.base import ModelDefaults, ModelSpec
from longtake.models.folder import ModelFolder
from longtake.models.load import adapter, empty_transformer
from longtake.models.lora import add_lora
from longtake.models.places import Model, open_model
from longtake.models.text import Text
from longtake.training.batches import window_of
from longtake.training.options import KINDS, DistilOptions, RunOptions, TrainOptions
from longtake.training.trace import Trace, trace

DRAWS = 1000
FULL, LORA = (
    3,
    2,
)  # passes' worth of work in a step: its gradients cost two more, or one where weights have none


@dataclass(frozen=True)
class Estimate:
    """The cost of a run with given options.

    kinds: for every kind of window the share of steps, and the fewest and the most latent frames it has.
    latents_per_step, tokens_per_step: means, over all processes. memory: bytes a process, by what they hold.
    flops_per_step: the products of matrices of a step, over all processes.
    """

    kinds: dict[str, tuple[float, int, int]]
    latents_per_step: float
    tokens_per_step: float
    parameters: int
    trained: int
    memory: dict[str, int]
    flops_per_step: float


def estimate(model: Model, options: RunOptions, sampling: ModelDefaults, processes: int = 1) -> Estimate:
    """The cost of training `model`, named as for read_spec; reads JSON alone. Windows are those of 1000 steps.

    Memory, in bytes: 4 a weight, 4 a trained one's gradient, 8 its AdamW moments, 4 its average; 2 a weight that LoRA
    leaves alone, with bf16. Sharded, a process has its part of these. A teacher, 4 a weight or those 2, is whole in
    each. Activations: what the network keeps of the longest windows, in the largest piece, by a pass of it on torch's
    meta device, in bfloat16 with bf16; where weights are trained so, a copy of them in bfloat16 besides. What a
    gradient takes on its way, and the libraries for themselves, comes on top. Work grows a little faster than windows;
    each latent is counted as in the longest.
    """
    folder = open_model(model)
    spec, network = folder.spec, _network(folder, options)
    windows = [window_of(torch.Generator().manual_seed(i), options, sampling) for i in range(DRAWS)]
    lengths = {kind: [w.num_latents for w in windows if w.kind == kind] for kind in KINDS}
    token = spec.spatial_factor * folder.network.token_side
    longest = max(window.num_latents for window in windows)
    parameters, trained = _parameters(network)
    rows = -(-options.batch_size // (processes * options.accumulation))
    latents = options.batch_size * mean(window.num_latents for window in windows)
    one = _pass(network, folder, options, sampling, longest)
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
    copies = 2 * trained if options.bf16 and not options.gradient_checkpointing else 0
    return Estimate(
        kinds={kind: (len(n) / DRAWS, min(n), max(n)) for kind, n in lengths.items() if n},
        latents_per_step=latents,
        tokens_per_step=latents * math.prod(-(-side // token) for side in _sides(sampling)),
        parameters=parameters,
        trained=trained,
        memory=held | {"activations": rows * one.kept + copies},
        flops_per_step=latents / longest * one.flops * _passes(options, spec),
    )


def _network(folder: ModelFolder, options: RunOptions) -> Any:
    """The network as it is trained, without its numbers."""
    network = adapter(folder.classes["transformer"]).prepared(empty_transformer(folder))
    if options.lora_rank:
        with torch.device("meta"):
            add_lora(network, options.lora_rank, options.alpha)
    return network


def _pass(
    network: Any, folder: ModelFolder, options: RunOptions, sampling: ModelDefaults, latents: int
) -> Trace:
    """A pass over one window of so many latents."""
    spec, dtype = folder.spec, torch.bfloat16 if options.bf16 else torch.float32
    nn.Module.to(network, dtype)
    height, width = (
        -(-side // spec.alignment) * spec.alignment // spec.spatial_factor for side in _sides(sampling)
    )
    with torch.device("meta"):
        x = torch.empty(1, spec.latent_channels, latents, height, width, dtype=dtype)
        states = torch.empty(1, spec.max_prompt_tokens, folder.network.states_width, dtype=dtype)
        told = (
            network.config
        )  # of those that read a vector of the prompt too, and what Kandinsky calls its width
        pooled = told.get("pooled_projection_dim", told.get("in_text_dim2"))
        vector = None if pooled is None else torch.empty(1, pooled, dtype=dtype)
        text = Text(states, torch.ones(states.shape[:2], dtype=torch.bool), vector)
        timestep = torch.full((1, latents), TIMESTEPS, dtype=torch.float32)
    velocity = adapter(folder.classes["transformer"]).network_velocity
    call = partial(velocity, network, x, timestep, text, sampling.fps)
    try:
        return trace(network, call, options.gradient_checkpointing)
    except (NotImplementedError, RuntimeError) as error:
        raise OptionError(
            f"{spec.name} asks for numbers on the way: what it takes cannot be counted"
        ) from error


def _sides(sampling: ModelDefaults) -> tuple[int, int]:
    return sampling.height, sampling.width


def _passes(options: RunOptions, spec: ModelSpec) -> float:
    """How many passes' worth of work a step is, over the same latents: with its gradients, what is computed a second
    time, guidance, a teacher's steps, and a student's own film at the end of the ramp."""
    passes = float(LORA if options.lora_rank else FULL) + options.gradient_checkpointing
    if isinstance(options, TrainOptions):
        return passes + (options.guidance > 1)
    assert isinstance(options, DistilOptions)
    guided = 1 + (spec.defaults.guidance_scale != 1)
    return passes + guided * options.micro_steps(spec) + options.own_film * (1 + options.own_passes) / 2


def _parameters(network: Any) -> tuple[int, int]:
    """How many numbers the network has, and how many of them are trained."""
    counts = Counter[bool]()
    for parameter in network.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    return counts.total(), counts[True]
