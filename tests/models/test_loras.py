"""Several LoRAs with weights, and those of other families: what is added is what diffusers and peft add."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    CogVideoXTransformer3DModel,
    HunyuanVideoTransformer3DModel,
    LTX2VideoTransformer3DModel,
    LTXVideoTransformer3DModel,
)
from diffusers.loaders.lora_conversion_utils import (
    _convert_hunyuan_video_lora_to_diffusers,
    _convert_musubi_wan_lora_to_diffusers,
    _convert_non_diffusers_ltx2_lora_to_diffusers,
    _convert_non_diffusers_ltxv_lora_to_diffusers,
    _convert_non_diffusers_wan_lora_to_diffusers,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from longtake.errors import ModelError
from longtake.models.families import FAMILIES
from longtake.models.load import load_transformer, read_spec
from longtake.models.lora import find_loras, fuse_loras, references
from longtake.options import FilmOptions, options_of
from longtake.pipeline import LongTake
from longtake.states import read_about, read_state, state_path, write_state
from longtake.takes import Take
from longtake.video import probe, read_frames

WAN = FAMILIES["WanTransformer3DModel"]
CONVERTERS = "diffusers.loaders.lora_conversion_utils"
RANK, ALPHA = 2, 3.0
Cli = Callable[..., Any]
Tensors = dict[str, Tensor]
Names = Callable[[str], str]


def pair(outputs: int, inputs: int, *, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    down, up = torch.randn(RANK, inputs, generator=generator), torch.randn(outputs, RANK, generator=generator)
    return down / 4, up / 4


def matrices(network: nn.Module, within: str = "") -> dict[str, tuple[Tensor, Tensor]]:
    """A pair for each matrix of the blocks, by diffusers' names."""
    linear = [
        (n, m)
        for n, m in network.named_modules()
        if isinstance(m, nn.Linear) and "blocks" in n and within in n
    ]
    return {
        name: pair(module.out_features, module.in_features, seed=i) for i, (name, module) in enumerate(linear)
    }


def in_names(pairs: dict[str, tuple[Tensor, Tensor]], name: Names, kohya: bool = False) -> Tensors:
    down, up = ("lora_down", "lora_up") if kohya else ("lora_A", "lora_B")
    made: Tensors = {}
    for layer, (a, b) in pairs.items():
        made |= {f"{name(layer)}.{down}.weight": a.clone(), f"{name(layer)}.{up}.weight": b.clone()}
        if kohya:
            made[f"{name(layer)}.alpha"] = torch.tensor(ALPHA)
    return made


def by_peft(network: Any, converted: list[Tensors], weights: list[float]) -> Tensors:
    """The weights of a network into which diffusers and peft have fused adapters."""
    names = [f"lora{i}" for i in range(len(converted))]
    for name, tensors in zip(names, converted, strict=True):
        network.load_lora_adapter(tensors, adapter_name=name, prefix="transformer")
    network.set_adapters(names, weights)
    network.fuse_lora(adapter_names=names)
    network.unload_lora()
    return network.state_dict()


def check(ours: nn.Module, theirs: Tensors, before: Tensors) -> None:
    assert ours.state_dict().keys() == theirs.keys()
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-5, rtol=1e-5)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in theirs.items())


def authors(layer: str) -> str:
    for ours, theirs in (
        *((f"attn1.to_{x}", f"self_attn.{x}") for x in "qkv"),
        *((f"attn2.to_{x}", f"cross_attn.{x}") for x in "qkv"),
        *(("attn1.to_out.0", "self_attn.o"), ("attn2.to_out.0", "cross_attn.o")),
        *(("ffn.net.0.proj", "ffn.0"), ("ffn.net.2", "ffn.2")),
    ):
        layer = layer.replace(ours, theirs)
    return layer


STYLES: dict[str, tuple[Names, bool, Callable[[Tensors], Tensors]]] = {
    "diffusers": (lambda x: f"transformer.{x}", False, lambda tensors: tensors),
    "comfyui": (
        lambda x: f"diffusion_model.{authors(x)}",
        True,
        _convert_non_diffusers_wan_lora_to_diffusers,
    ),
    "kohya": (
        lambda x: "lora_unet_" + authors(x).replace(".", "_"),
        True,
        _convert_musubi_wan_lora_to_diffusers,
    ),
}


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")  # peft's, of a second adapter
@pytest.mark.parametrize("style", STYLES)
def test_two_with_weights_are_what_peft_fuses(wan_folder: Path, tmp_path: Path, style: str) -> None:
    """Guards order, weights and alpha: A at 0.8 and B at -0.5, whatever names each is in."""
    network = load_transformer(wan_folder)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    name, kohya, convert = STYLES[style]
    pairs = matrices(network)
    other = {layer: (a + 0.1, b * 2) for layer, (a, b) in matrices(network, "attn1.to_q").items()}
    first = in_names(pairs, name, kohya)
    second = in_names(other, lambda x: f"transformer.{x}")
    save_file(first, tmp_path / "a.safetensors")
    save_file(second, tmp_path / "b.safetensors")
    ours = load_transformer(wan_folder)
    fuse_loras(
        ours, WAN, find_loras([f"{tmp_path / 'a.safetensors'}=0.8", f"{tmp_path / 'b.safetensors'}=-0.5"])
    )
    check(ours, by_peft(network, [convert(dict(first)), second], [0.8, -0.5]), before)


def tiny_hunyuan() -> HunyuanVideoTransformer3DModel:
    return HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        num_single_layers=0,
        num_refiner_layers=1,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(4, 4, 4),
        guidance_embeds=False,
    )


def tiny_ltx() -> LTXVideoTransformer3DModel:
    return LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        num_layers=1,
        caption_channels=16,
    )


def tiny_cogvideox() -> CogVideoXTransformer3DModel:
    return CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=16,
        num_layers=1,
        sample_width=4,
        sample_height=4,
        sample_frames=5,
        max_text_seq_length=8,
    )


def hunyuan_pairs(network: nn.Module) -> Tensors:
    """A LoRA of a block of two streams in the names of HunyuanVideo's authors, whose q, k and v are one matrix."""
    made: Tensors = {}
    for i, (theirs, ours, times) in enumerate(
        [
            ("img_attn_qkv", "attn.to_q", 3),
            ("txt_attn_qkv", "attn.add_q_proj", 3),
            ("img_attn_proj", "attn.to_out.0", 1),
            ("txt_mlp.fc1", "ff_context.net.0.proj", 1),
            ("img_mod.linear", "norm1.linear", 1),
        ]
    ):
        outputs, inputs = network.get_submodule(f"transformer_blocks.0.{ours}").weight.shape  # type: ignore[misc]
        down, up = pair(outputs * times, inputs, seed=i)
        layer = f"diffusion_model.double_blocks.0.{theirs}"
        made |= {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
    return made


def own_names(network: nn.Module, prefix: str) -> Tensors:
    return in_names(matrices(network), lambda x: prefix + x)


OTHERS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Tensors], Any, str | None]] = {
    "hunyuan": (
        tiny_hunyuan,
        hunyuan_pairs,
        _convert_hunyuan_video_lora_to_diffusers,
        f"{CONVERTERS}:_convert_hunyuan_video_lora_to_diffusers",
    ),
    "ltx": (
        tiny_ltx,
        partial(own_names, prefix="diffusion_model."),
        _convert_non_diffusers_ltxv_lora_to_diffusers,
        None,
    ),
    "cogvideox": (tiny_cogvideox, partial(own_names, prefix="transformer."), dict, None),
}


def of_family(converter: str | None) -> Any:
    return replace(WAN, lora_names=None, lora_converter=converter)


@pytest.mark.parametrize("kind", OTHERS)
def test_other_families_are_fused_as_diffusers_does(tmp_path: Path, kind: str) -> None:
    """Guards the names of each family's authors: through its converter where layers are cut otherwise."""
    build, spell, convert, converter = OTHERS[kind]
    torch.manual_seed(0)
    ours: Any = build()
    theirs = type(ours).from_config(ours.config)
    theirs.load_state_dict(ours.state_dict())
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    tensors = spell(ours)
    save_file(tensors, tmp_path / "a.safetensors")
    fuse_loras(ours, of_family(converter), find_loras(f"{tmp_path / 'a.safetensors'}=0.5"))
    check(ours, by_peft(theirs, [convert(dict(tensors))], [0.5]), before)


def test_kohyas_names_of_a_converted_family(tmp_path: Path) -> None:
    """Guards lora_down, lora_up and alpha on their way through a converter that knows peft's names alone."""
    torch.manual_seed(0)
    one, other = tiny_hunyuan(), tiny_hunyuan()
    other.load_state_dict(one.state_dict())
    plain = hunyuan_pairs(one)
    kohya = {n.replace("lora_A", "lora_down").replace("lora_B", "lora_up"): t for n, t in plain.items()}
    layers = {name.split(".lora_")[0] for name in plain}
    kohya |= {f"{layer}.alpha": torch.tensor(ALPHA) for layer in layers}
    save_file(kohya, tmp_path / "kohya.safetensors")
    save_file(
        {n: t * (ALPHA / RANK if "lora_B" in n else 1) for n, t in plain.items()},
        tmp_path / "plain.safetensors",
    )
    for network, file in ((one, "kohya"), (other, "plain")):
        family = of_family(f"{CONVERTERS}:_convert_hunyuan_video_lora_to_diffusers")
        fuse_loras(network, family, find_loras(tmp_path / f"{file}.safetensors"))
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("diffusion_model.double_blocks.7.img_attn_proj", "no layer transformer_blocks.7.attn.to_out.0"),
        ("diffusion_model.strange.thing", "no layer strange.thing"),
        ("unet.double_blocks.0.img_attn_proj", "no layer unet"),
    ],
)
def test_what_a_converter_cannot_place_is_named(tmp_path: Path, extra: str, words: str) -> None:
    """Guards the count behind a converter: nothing more, nothing less."""
    network = tiny_hunyuan()
    tensors = hunyuan_pairs(network)
    down, up = pair(24, 24, seed=9)
    tensors |= {f"{extra}.lora_A.weight": down, f"{extra}.lora_B.weight": up}
    save_file(tensors, tmp_path / "a.safetensors")
    family = of_family(f"{CONVERTERS}:_convert_hunyuan_video_lora_to_diffusers")
    with pytest.raises(ModelError, match=words):
        fuse_loras(network, family, find_loras(tmp_path / "a.safetensors"))


def dropping(tensors: Tensors) -> Tensors:
    """A converter as diffusers has them for LTX-2, which passes over what does not begin as it expects."""
    kept = {name: tensor for name, tensor in tensors.items() if name.startswith("mine.")}
    return {name.replace("mine.", "transformer."): tensor for name, tensor in kept.items()}


def test_what_a_converter_drops_is_named(tmp_path: Path) -> None:
    """Guards against a film with part of a LoRA, where a library leaves some of it out and says nothing."""
    network = tiny_ltx()
    tensors = in_names(matrices(network), lambda x: f"mine.{x}")
    family = of_family(f"{__name__}:dropping")
    save_file(tensors | {"yours.a.lora_A.weight": torch.ones(2, 2)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r"yours.a.lora_A.weight, which has no place in this model"):
        fuse_loras(network, family, find_loras(tmp_path / "a.safetensors"))


def test_ltx2_is_renamed_by_its_converter() -> None:
    """Guards that the converter of LTX-2 gives names that its network has."""
    names = [f"diffusion_model.{x}.lora_A.weight" for x in ("patchify_proj", "adaln_single.linear")]
    made = _convert_non_diffusers_ltx2_lora_to_diffusers({name: torch.ones(1) for name in names})
    with torch.device("meta"):
        network = LTX2VideoTransformer3DModel(num_layers=1)
    layers = {name for name, _ in network.named_modules()}
    assert {name.removeprefix("transformer.").removesuffix(".lora_A.weight") for name in made} <= layers


def test_weights_are_told_and_kept(cli: Cli, wan_folder: Path, tmp_path: Path) -> None:
    """Guards the command line, what a film says of its LoRAs, their order, and a state that finds them again."""
    network = load_transformer(wan_folder)
    for name in "ab":
        save_file(own_names(network, "transformer."), tmp_path / f"{name}.safetensors", {"by": name})
    small = ("--size", "32x32", "--steps", "2", "--steps-per-chunk", "1", "--fps", "8", "--frames", "17")
    film = ("generate", "a red car", *small, "--model", str(wan_folder), "--keep-states", "1s")
    both = ("--lora", "a.safetensors=0.8", "--lora", "b.safetensors")
    assert cli(*film, *both, "-o", "film.mp4").code == 0
    told = json.loads(cli("info", "film.mp4", "--json").out)["loras"]
    assert [(lora["name"], lora["weight"]) for lora in told] == [("a", 0.8), ("b", 1)]
    assert told[0]["sha256"] != told[1]["sha256"]
    assert f"a, sha256 {told[0]['sha256']}, 0.8 times" in cli("info", "film.mp4").out
    like = ("generate", "--like", "film.mp4", "--model", wan_folder, "-o", "same.mp4")
    assert "was made with LoRA a and b: give it with --lora" in cli(*like).err
    assert cli(*like, *both).code == 0
    same, first = (np.stack(list(read_frames(tmp_path / f"{name}.mp4"))) for name in ("same", "film"))
    assert np.array_equal(same, first)
    assert cli("extend", "film.mp4", "--seconds", "1", "-o", "longer.mp4").code == 0
    spec = read_spec(wan_folder, ["a.safetensors=0.8", "b.safetensors"])
    assert [(lora.name, lora.weight) for lora in spec.loras] == [("a", 0.8), ("b", 1)]
    where = references(["a.safetensors=0.8", "b.safetensors"])
    assert where == (f"{tmp_path / 'a.safetensors'}=0.8", f"{tmp_path / 'b.safetensors'}")
    assert read_spec(wan_folder, where).loras == spec.loras


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        ("a=0", "is to count 0 times: give a number other than 0"),
        ("a=nan", "is to count nan times"),
        ("a=much", "no LoRA in a=much"),
        ("=0.8", "no LoRA in"),
        ("", "the name of the LoRA is empty"),
    ],
)
def test_weights_that_are_none(cli: Cli, lora: str, words: str) -> None:
    """Guards one line for each."""
    result = cli("plan", "--lora", lora)
    assert result.code == 2 and words in result.err and result.err.count("\n") == 1


def test_a_name_with_a_sign_in_it_is_a_name(wan_folder: Path, tmp_path: Path) -> None:
    """Guards files that are called so: what is there under the whole name is that."""
    path = tmp_path / "style=2"
    save_file(own_names(load_transformer(wan_folder), "transformer."), path)
    (found,) = find_loras(path)
    assert (found.path, found.weight) == (path, 1)
    (found,) = find_loras(f"{path}=3")
    assert (found.path, found.weight) == (path, 3) and load_file(path)


def test_what_was_begun_with_one_lora_goes_on(wan_folder: Path, tmp_path: Path) -> None:
    """Guards states and films of before, which tell of one LoRA and of no weight."""
    save_file(own_names(load_transformer(wan_folder), "transformer."), tmp_path / "a.safetensors")
    model = LongTake.from_pretrained(wan_folder, lora=tmp_path / "a.safetensors")
    options = FilmOptions(
        prompt="a red car", num_frames=17, width=32, height=32, num_inference_steps=2, steps_per_chunk=1
    )
    path = tmp_path / "film.mp4"
    with pytest.raises(KeyboardInterrupt):
        Take(options.resolved(model.model.spec), path).shoot(model, stop=lambda: True)
    about, state = read_about(state_path(path)), read_state(state_path(path))
    film = dict(about.film)
    (lora,) = film.pop("loras")
    assert lora.pop("weight") == 1 and isinstance(about.lora, tuple)
    write_state(
        state_path(path),
        state,
        about.model_copy(update={"film": film | {"lora": lora}, "lora": about.lora[0]}),
    )
    take = Take.resumed(path, read_spec(wan_folder, read_about(state_path(path)).lora))
    take.shoot(model)
    assert probe(path).num_frames == 17
    assert options_of(film | {"lora": lora}).num_frames == 17  # as --like reads it
