"""LoRAs in the spelling of other programs: the same layers, whatever they are called, give the same weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_musubi_wan_lora_to_diffusers,
    _convert_non_diffusers_wan_lora_to_diffusers,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtake.errors import LongTakeError, ModelError
from longtake.models.families import FAMILIES
from longtake.models.load import load_model, load_transformer, read_spec
from longtake.models.lora import CONFIG, DIFFUSERS_METADATA, WEIGHTS, find_lora, fuse_loras
from longtake.models.spellings import AUTHORS_OF_WAN, authors_name

RANK, ALPHA = 2, 5.0
WAN = FAMILIES["WanTransformer3DModel"]
Tensors = dict[str, Tensor]
Spell = Callable[[Tensors, Path], Path]
# Layers of a Wan in its authors' names, by hand, and in diffusers'.
LAYERS = {
    f"blocks.{block}.{theirs}": f"blocks.{block}.{ours}"
    for block in range(2)
    for theirs, ours in {
        **{f"self_attn.{x}": f"attn1.to_{x}" for x in "qkv"},
        **{f"cross_attn.{x}": f"attn2.to_{x}" for x in "qkv"},
        "self_attn.o": "attn1.to_out.0",
        "cross_attn.o": "attn2.to_out.0",
        "ffn.0": "ffn.net.0.proj",
        "ffn.2": "ffn.net.2",
    }.items()
}
OUTSIDE_THE_BLOCKS = {
    "time_projection.1": "condition_embedder.time_proj",
    "head.head": "proj_out",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
}


@pytest.fixture(scope="module")
def network(wan_folder: Path) -> Any:
    """The tiny Wan's network. Shared: change nothing on it."""
    return load_transformer(wan_folder)


@pytest.fixture(scope="module")
def pairs(network: Any) -> Tensors:
    """The matrices of a LoRA for every layer of the blocks, in the authors' names: A, then B."""
    torch.manual_seed(8)
    found: Tensors = {}
    for theirs, ours in LAYERS.items():
        outputs, inputs = network.get_submodule(ours).weight.shape
        found |= {f"{theirs}.A": torch.randn(RANK, inputs), f"{theirs}.B": torch.randn(outputs, RANK)}
    return found


def renamed(pairs: Tensors, layer: Callable[[str], str], down: str, up: str) -> Tensors:
    return {
        layer(name[:-2]) + {".A": down, ".B": up}[name[-2:]]: tensor.clone() for name, tensor in pairs.items()
    }


def diffusers_file(pairs: Tensors, folder: Path) -> Path:
    tensors = renamed(pairs, lambda x: f"transformer.{LAYERS[x]}", ".lora_A.weight", ".lora_B.weight")
    metadata = {DIFFUSERS_METADATA: json.dumps({"transformer.r": RANK, "transformer.lora_alpha": ALPHA})}
    save_file(tensors, folder / "pytorch_lora_weights.safetensors", metadata)
    return folder


def with_alpha(tensors: Tensors, layer: Callable[[str], str], file: Path) -> Path:
    save_file(tensors | {f"{layer(name)}.alpha": torch.tensor(ALPHA) for name in LAYERS}, file)
    return file


def comfyui(pairs: Tensors, folder: Path) -> Path:
    def layer(name: str) -> str:
        return f"diffusion_model.{name}"

    tensors = renamed(pairs, layer, ".lora_down.weight", ".lora_up.weight")
    return with_alpha(tensors, layer, folder / "style.safetensors")


def kohya(pairs: Tensors, folder: Path) -> Path:
    def layer(name: str) -> str:
        return "lora_unet_" + name.replace(".", "_")

    tensors = renamed(pairs, layer, ".lora_down.weight", ".lora_up.weight")
    return with_alpha(tensors, layer, folder / "style.safetensors")


def peft_folder(prefix: str, name: Callable[[str], str]) -> Spell:
    def spell(pairs: Tensors, folder: Path) -> Path:
        tensors = renamed(pairs, lambda x: prefix + name(x), ".lora_A.weight", ".lora_B.weight")
        save_file(tensors, folder / WEIGHTS)
        config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA}
        (folder / CONFIG).write_text(json.dumps(config))
        return folder

    return spell


peft = peft_folder("base_model.model.", LAYERS.__getitem__)
diffusion_pipe = peft_folder("diffusion_model.", str)


def diffsynth(pairs: Tensors, folder: Path) -> Path:
    scaled = {name: t * ALPHA / RANK if name.endswith("B") else t for name, t in pairs.items()}
    file = folder / "step-100.safetensors"
    save_file(renamed(scaled, str, ".lora_A.default.weight", ".lora_B.default.weight"), file)
    return folder


SPELLINGS = {
    "peft": peft,
    "diffusers": diffusers_file,
    "comfyui": comfyui,
    "kohya": kohya,
    "diffusion-pipe": diffusion_pipe,
    "diffsynth": diffsynth,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_gives_the_same_weights(
    wan_folder: Path, network: Any, pairs: Tensors, tmp_path: Path, spelling: str
) -> None:
    """Guards each name, and alpha / rank, against W + alpha / rank * B A by hand; and that nothing else moves."""
    fused = load_transformer(wan_folder)
    fuse_loras(fused, WAN, [find_lora(SPELLINGS[spelling](pairs, tmp_path))])
    products = {LAYERS[x]: ALPHA / RANK * pairs[f"{x}.B"] @ pairs[f"{x}.A"] for x in LAYERS}
    for name, before in network.state_dict().items():
        difference = products.get(name.removesuffix(".weight"))
        after = fused.state_dict()[name]
        if difference is None or name.endswith(".bias"):
            assert torch.equal(after, before), name
        else:
            torch.testing.assert_close(
                after.double(), before.double() + difference.double(), rtol=0, atol=1e-4
            )


def test_names_are_those_of_diffusers_converters(pairs: Tensors, tmp_path: Path, network: Any) -> None:
    """Guards our table against the library that knows the names: its converters find the same layers."""
    for spell, convert in (
        (comfyui, _convert_non_diffusers_wan_lora_to_diffusers),
        (kohya, _convert_musubi_wan_lora_to_diffusers),
    ):
        converted = convert(load_file(spell(pairs, tmp_path)))
        layers = {name.removeprefix("transformer.").split(".lora_")[0] for name in converted}
        assert layers == set(LAYERS.values())
    everything = LAYERS | OUTSIDE_THE_BLOCKS
    assert {name: authors_name(ours, AUTHORS_OF_WAN) for name, ours in everything.items()} == {
        name: name for name in everything
    }
    assert {ours for ours in everything.values()} <= {name for name, _ in network.named_modules()}


def test_whole_differences_are_added(wan_folder: Path, network: Any, tmp_path: Path) -> None:
    """Guards ComfyUI's diff and diff_b, of norms and convolutions too, which diffusers' converter drops."""
    differences = {
        "diffusion_model.blocks.0.norm3.diff": "blocks.0.norm2.weight",
        "diffusion_model.blocks.0.self_attn.q.diff_b": "blocks.0.attn1.to_q.bias",
        "diffusion_model.blocks.1.self_attn.norm_q.diff": "blocks.1.attn1.norm_q.weight",
        "diffusion_model.patch_embedding.diff": "patch_embedding.weight",
        "diffusion_model.head.head.diff": "proj_out.weight",
        "diffusion_model.time_projection.1.diff_b": "condition_embedder.time_proj.bias",
    }
    weights = network.state_dict()
    tensors = {name: torch.randn_like(weights[ours]) for name, ours in differences.items()}
    save_file(tensors, tmp_path / "whole.safetensors")
    fused = load_transformer(wan_folder)
    fuse_loras(fused, WAN, [find_lora(tmp_path / "whole.safetensors")])
    for name, ours in differences.items():
        assert torch.equal(fused.state_dict()[ours], weights[ours] + tensors[name])
    changed = {name for name, t in fused.state_dict().items() if not torch.equal(t, weights[name])}
    assert changed == set(differences.values())


def test_some_layers_are_enough(wan_folder: Path, network: Any, pairs: Tensors, tmp_path: Path) -> None:
    """Guards LoRAs of the attention alone, which diffusers' converter of kohya's names cannot read."""
    few = {name: tensor for name, tensor in pairs.items() if ".self_attn.q" in name}
    save_file(
        renamed(few, lambda x: "lora_unet_" + x.replace(".", "_"), ".lora_down.weight", ".lora_up.weight"),
        tmp_path / "few.safetensors",
    )
    fused = load_transformer(wan_folder)
    fuse_loras(fused, WAN, [find_lora(tmp_path)])
    moved = {n for n, t in fused.state_dict().items() if not torch.equal(t, network.state_dict()[n])}
    assert moved == {f"blocks.{block}.attn1.to_q.weight" for block in range(2)}


def test_a_file_is_as_good_as_a_folder(wan_folder: Path, pairs: Tensors, tmp_path: Path) -> None:
    """Guards the name and the hash that a film says, by file or by folder; several in one folder must be named."""
    (tmp_path / "snow").mkdir()
    peft(pairs, tmp_path / "snow")
    (folder,), (file,) = (read_spec(wan_folder, tmp_path / "snow" / name).loras for name in ("", WEIGHTS))
    assert folder == file and folder.name == "snow"
    path = comfyui(pairs, tmp_path)
    (lora,) = read_spec(wan_folder, path).loras
    assert lora.name == "style" and (lora,) == read_spec(wan_folder, tmp_path).loras
    path.with_name("other.safetensors").write_bytes(path.read_bytes())
    with pytest.raises(
        ModelError, match=r"several LoRAs, such as other.safetensors and style.safetensors: name"
    ):
        read_spec(wan_folder, tmp_path)


Q = "diffusion_model.blocks.0.self_attn.q"


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (
            {"diffusion_model.blocks.7.self_attn.q.lora_down.weight": (2, 24)},
            r"no layer blocks.7.self_attn.q",
        ),
        (
            {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (2, 24)},
            "no layer down_blocks_0",
        ),
        ({"text_encoder.layers.0.q.lora_A.weight": (2, 24)}, "changes a text encoder"),
        ({"lora_te_layers_0_q.lora_down.weight": (2, 24)}, "changes a text encoder"),
        ({f"{Q}.dora_scale": (24, 1)}, "part of a DoRA"),
        ({f"{Q}.lora_magnitude_vector": (24,)}, "part of a DoRA"),
        ({f"{Q}.lokr_w1": (2, 2)}, "part of a LoKr"),
        ({f"{Q}.hada_w1_a": (2, 2)}, "part of a LoHa"),
        ({f"{Q}.oft_blocks": (2, 2)}, "part of an OFT"),
        ({f"{Q}.lora_mid.weight": (2, 2)}, "part of a LoCon"),
        ({f"{Q}.lora_A.weight": (2, 24)}, "in another spelling too"),
        ({f"{Q}.strange": (2, 2)}, "no part of a LoRA that is known"),
        ({"diffusion_model.blocks.0.modulation.diff": (1, 6, 24)}, "no layer blocks.0.modulation"),
        ({"diffusion_model.blocks.0.norm1.diff": (24,)}, "whose blocks.0.norm1 has no weight"),
        ({"diffusion_model.patch_embedding.lora_down.weight": (2, 4, 1, 2, 2)}, "no matrix"),
        ({"diffusion_model.head.head.diff": (3, 24)}, r"of shape \(3, 24\), the model's is \(16, 24\)"),
    ],
)
def test_what_has_no_place_is_named(
    wan_folder: Path, pairs: Tensors, tmp_path: Path, extra: dict[str, tuple[int, ...]], words: str
) -> None:
    """Guards against a film with part of a LoRA: one tensor without a place is enough to refuse it, by its name."""
    path = comfyui(pairs, tmp_path)
    save_file(load_file(path) | {name: torch.ones(shape) for name, shape in extra.items()}, path)
    with pytest.raises(ModelError, match=words) as caught:
        load_model(wan_folder, lora=path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git-lfs pointer"),
        (b"", "is empty"),
        (b"PK\3\4pickle", "is a pickle"),
        (b"GGUF\3\0\0\0", "is a GGUF file"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"\x40\0\0\0\0\0\0\0{", "damaged, cut off"),
    ],
)
def test_files_that_are_no_lora(wan_folder: Path, tmp_path: Path, content: bytes, words: str) -> None:
    """Guards a traceback for what a download may leave in place of a LoRA."""
    (tmp_path / "lora.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        load_model(wan_folder, lora=tmp_path / "lora.safetensors")
    assert "\n" not in str(caught.value)


def test_weights_that_are_none(wan_folder: Path, pairs: Tensors, tmp_path: Path) -> None:
    """A network's weights, quantised matrices and numbers that are not finite are told apart from a LoRA."""
    path = tmp_path / "x.safetensors"
    save_file({"blocks.0.self_attn.q.weight": torch.ones(24, 24)}, path)
    with pytest.raises(ModelError, match="is no LoRA, but the network of a Wan in its authors' naming"):
        load_model(wan_folder, lora=path)
    tensors = load_file(comfyui(pairs, tmp_path))
    save_file(tensors | {f"{Q}.lora_down.weight": torch.ones(2, 24).to(torch.float8_e4m3fn)}, path)
    with pytest.raises(ModelError, match="quantised weights"):
        load_model(wan_folder, lora=path)
    save_file(tensors | {f"{Q}.lora_down.weight": torch.full((2, 24), torch.nan)}, path)
    with pytest.raises(LongTakeError, match=f"{Q}.lora_down.weight holds numbers that are not finite"):
        load_model(wan_folder, lora=path)
    save_file(tensors | {f"{Q}.alpha": torch.tensor([1.0, 2.0])}, path)
    with pytest.raises(ModelError, match=r"the alpha of blocks.0.attn1.to_q.weight"):
        load_model(wan_folder, lora=path)


def test_peft_names_need_their_configuration(wan_folder: Path, pairs: Tensors, tmp_path: Path) -> None:
    """Guards alpha: without peft's configuration nobody knows it."""
    (peft(pairs, tmp_path) / CONFIG).unlink()
    with pytest.raises(ModelError, match=r"adapter_config.json is missing beside it"):
        load_model(wan_folder, lora=tmp_path / WEIGHTS)
    for none in ("", " "):
        with pytest.raises(ModelError, match="name of the LoRA is empty"):
            load_model(wan_folder, lora=none)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_lora_of_any_names_is_fused_or_refused(
    network: Any, pairs: Tensors, tmp_path: Path, data: st.DataObject
) -> None:
    """Guards the parser of names: whatever is cut, joined or doubled in them, every tensor counts or is named."""
    tensors = load_file(comfyui(pairs, tmp_path))
    old = data.draw(st.sampled_from(sorted(tensors)))
    words = st.sampled_from(
        (*old.split("."), "", "lora_unet_", "transformer", "weight", "alpha", "norm2", "ü")
    )
    new = ".".join(data.draw(st.lists(words, max_size=8)))
    path = tmp_path / "any.safetensors"
    save_file({name if name != old else new or "x": tensor for name, tensor in tensors.items()}, path)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    try:
        fuse_loras(network, WAN, [find_lora(path)])
    except LongTakeError as error:
        assert "\n" not in str(error)
        network.load_state_dict(before)
    else:
        network.load_state_dict(before)
        assert new == old or old.endswith(".alpha") or new.split(".")[-2:] == old.split(".")[-2:]
