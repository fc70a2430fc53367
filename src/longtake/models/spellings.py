"""How LoRAs of other programs spell the layers of a network, and the parts that they bring for each.

A network's layers are its modules in diffusers' names. Every spelling of every layer is made from these; a tensor of a
LoRA is one of them, or it is named. So nothing is guessed, and nothing passed over. For Wan the authors' names stand
here, and not in diffusers' converter (`_convert_non_diffusers_wan_lora_to_diffusers`), from which they are: that drops
differences of norms and whole matrices, and cannot read a LoRA of some layers in kohya's names. Where the authors of a
network cut its layers otherwise too, diffusers' converter of the family is asked, and held to account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

Converter = Callable[[dict[str, "Tensor"]], Mapping[str, "Tensor"]]

PREFIX = "base_model.model."  # peft's
DIFFUSERS_PREFIXES = (PREFIX, "transformer.", "")
# ComfyUI's and diffusion-pipe's; those of whole checkpoints; DiffSynth's.
AUTHORS_PREFIXES = ("diffusion_model.", "model.diffusion_model.", "pipe.dit.")
KOHYA = "lora_unet_"  # kohya's and musubi's; the name that follows has underscores for dots
# Parts of the names that layers of a Wan or SkyReels-V2 have with their authors and in diffusers; ComfyUI, kohya,
# musubi and diffusion-pipe call them as the authors do.
AUTHORS_OF_WAN = {
    "self_attn.": "attn1.",
    "cross_attn.": "attn2.",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "o": "to_out.0",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "norm2": "norm3",
    "norm3": "norm2",
    "head.head": "proj_out",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
}
# The same of LTX-Video and LTX-2, whose blocks are called alike.
MODULATIONS_OF_LTX = {
    "adaln_single": "time_embed",
    "audio_adaln_single": "audio_time_embed",
    "prompt_adaln_single": "prompt_adaln",
    "audio_prompt_adaln_single": "audio_prompt_adaln",
    "av_ca_video_scale_shift_adaln_single": "av_cross_attn_video_scale_shift",
    "av_ca_audio_scale_shift_adaln_single": "av_cross_attn_audio_scale_shift",
    "av_ca_a2v_gate_adaln_single": "av_cross_attn_video_a2v_gate",
    "av_ca_v2a_gate_adaln_single": "av_cross_attn_audio_v2a_gate",
}
AUTHORS_OF_LTX = {
    "patchify_proj": "proj_in",
    "audio_patchify_proj": "audio_proj_in",
    "q_norm": "norm_q",
    "k_norm": "norm_k",
} | {
    f"{theirs}.{layer}": f"{ours}.{layer}"
    for theirs, ours in MODULATIONS_OF_LTX.items()
    for layer in ("linear", "emb.timestep_embedder.linear_1", "emb.timestep_embedder.linear_2")
}
# How the parts of a layer's change end, and what they are.
PARTS = {
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".alpha": "alpha",
    ".diff": "weight",
    ".diff_b": "bias",
}
# How the matrices of one pair end.
PAIRS = {
    ".lora_A.weight": ".lora_B.weight",
    ".lora_down.weight": ".lora_up.weight",
    ".lora.down.weight": ".lora.up.weight",
}
WHOLE = ("weight", "bias")  # parts that are the whole difference of a parameter
OTHER_KINDS = {
    "dora_scale": "a DoRA",
    "lora_magnitude_vector": "a DoRA",
    "lokr_": "a LoKr",
    "hada_": "a LoHa",
    "oft_": "an OFT",
    "lora_mid": "a LoCon of three matrices",
    "lora_B.bias": "a LoRA with biases",
    "ia3_": "an (IA)3",
    "on_input": "an (IA)3",
    "lora_embedding_": "a LoRA of embeddings",
}
TEXT_ENCODERS = ("text_encoder", "lora_te", "te.", "text_model", "conditioner.", "cond_stage_model.")


@dataclass
class Change:
    """What a LoRA does to one parameter of a network: a pair of matrices with its alpha, or a whole difference."""

    parameter: str
    down: Tensor | None = None
    up: Tensor | None = None
    alpha: Tensor | None = None
    whole: Tensor | None = None


def changes(
    tensors: Mapping[str, Tensor], network: nn.Module, authors: Mapping[str, str]
) -> tuple[list[Change], list[str]]:
    """What the tensors of a LoRA change; and, in words that follow its name, what of it has no place in the network.

    authors: parts of layers' names with the authors of the network, and in diffusers."""
    layers, linear = spellings(network, authors), _linear_layers(network)
    parameters = dict(network.named_parameters()).keys()
    found, misfits = dict[str, Change](), list[str]()
    for name, tensor in tensors.items():
        spelt, part = _split(name)
        layer = layers.get(spelt)
        parameter = f"{layer}.{part if part in WHOLE else 'weight'}"
        if reason := _other_kind(name):
            misfits.append(f"holds {name}, {reason}")
        elif part is None:
            misfits.append(f"holds {name}, which is no part of a LoRA that is known here")
        elif layer is None:
            misfits.append(f"does not fit this model, which has no layer {_plain(spelt)}: take its own model")
        elif parameter not in parameters:
            misfits.append(
                f"does not fit this model, whose {layer} has no {part} ({name}): take its own model"
            )
        elif part not in WHOLE and layer not in linear:
            misfits.append(f"changes {layer}, which is no matrix: this is not done here")
        else:
            change = found.setdefault(f"{parameter}, {part in WHOLE}", Change(parameter))
            field = "whole" if part in WHOLE else part
            if getattr(change, field) is not None:
                misfits.append(f"holds {name} in another spelling too")
            setattr(change, field, tensor)
    return list(found.values()), misfits


def converted_changes(
    tensors: Mapping[str, Tensor], network: nn.Module, convert: Converter, misfits: list[str]
) -> tuple[list[Change], list[str]]:
    """The same of tensors in names that a converter, as diffusers has them, knows. misfits: what has no place without
    it, and is told where it cannot read them either. Whatever of them leaves no trace in what it makes is a misfit."""
    import torch

    try:
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in _paired(tensors).items()}
        with torch.enable_grad():
            made = convert({name: leaf * 1 for name, leaf in leaves.items()})
            total = torch.stack([tensor.sum(dtype=torch.float32) for tensor in made.values()]).sum()
            traces = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError):
        return [], misfits
    found, left = changes({name: tensor.detach() for name, tensor in made.items()}, network, {})
    dropped = [name for name, trace in zip(leaves, traces, strict=True) if trace is None]
    return found, left + [f"holds {name}, which has no place in this model" for name in dropped]


def _paired(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same, with kohya's pairs in peft's names and the alpha of each pair as part of its second matrix."""
    made = dict(tensors)
    for name, down in tensors.items():
        for first, second in PAIRS.items():
            layer = name.removesuffix(first)
            if layer != name and layer + second in tensors:
                alpha = made.pop(f"{layer}.alpha", None)
                up = made.pop(layer + second) * (1 if alpha is None else alpha.item() / len(down))
                made |= {f"{layer}.lora_A.weight": made.pop(name), f"{layer}.lora_B.weight": up}
    return made


def spellings(network: nn.Module, authors: Mapping[str, str]) -> dict[str, str]:
    """The layer of a network that each spelling means: diffusers' name behind its prefixes and the authors' behind
    theirs, or else the other way round."""
    layers = [name for name, _ in network.named_modules()]
    theirs = {authors_name(name, authors): name for name in layers}
    own = {name: name for name in layers}
    found: dict[str, str] = {}
    for prefixes, names in ((DIFFUSERS_PREFIXES, theirs | own), (AUTHORS_PREFIXES, own | theirs)):
        found |= {f"{prefix}{name}": layer for prefix in prefixes for name, layer in names.items()}
    return found | {KOHYA + name.replace(".", "_"): layer for name, layer in (own | theirs).items()}


def authors_name(layer: str, authors: Mapping[str, str]) -> str:
    """A layer in the names of its authors."""
    for theirs, ours in authors.items():
        if theirs.endswith("."):
            layer = layer.replace(f".{ours}", f".{theirs}")
        elif layer == ours or layer.endswith(f".{ours}"):
            return layer.removesuffix(ours) + theirs
    return layer


def _linear_layers(network: nn.Module) -> set[str]:
    from torch import nn

    return {name for name, module in network.named_modules() if isinstance(module, nn.Linear)}


def _split(name: str) -> tuple[str, str | None]:
    """A tensor's name as the spelling of its layer and which part of a change it is."""
    for ending, part in PARTS.items():
        if name.endswith(ending):
            return name.removesuffix(ending), part
    return name, None


def _other_kind(name: str) -> str | None:
    """What a tensor is of that is not read, if that can be told from its name."""
    if name.startswith(TEXT_ENCODERS):
        return "which changes a text encoder: take a LoRA of the network alone"
    kind = next((kind for mark, kind in OTHER_KINDS.items() if mark in name), None)
    return kind and f"part of {kind}, which is not read here: take a plain LoRA"


def _plain(spelt: str) -> str:
    prefixes = (*DIFFUSERS_PREFIXES, *AUTHORS_PREFIXES, KOHYA)
    return spelt.removeprefix(max((p for p in prefixes if spelt.startswith(p)), key=len))
