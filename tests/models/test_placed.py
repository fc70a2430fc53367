"""Where the parts of a model lie while it films: pictures stay what they are, and parts move no more than they must."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.hooks.group_offloading import ModuleGroup
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from torch import Tensor, nn

from longtake.errors import ModelError, OptionError
from longtake.models.adapter import Adapter
from longtake.models.card import offload as offloading
from longtake.models.card.kernels import compile_blocks, set_attention
from longtake.models.card.offload import offload_on, place
from longtake.models.card.placed import check_placement
from longtake.models.card.placement import OFFLOADS, Offload, Placement
from longtake.models.card.quantize import hold_in_fp8
from longtake.models.load import load_model
from longtake.options import FilmOptions
from longtake.pipeline import LongTake
from portable import compiling

CPU = torch.device("cpu")
PROMPTS = ["a red car", "a blue bus"]
OPTIONS: dict[str, Any] = {
    "width": 48,
    "height": 32,
    "num_inference_steps": 4,
    "steps_per_chunk": 2,
    "chunk_size": 1,
}


def loaded(folder: Path) -> Adapter:
    model = load_model(folder)
    assert isinstance(model, Adapter)
    return model


def encoders(model: Adapter) -> list[nn.Module]:
    return [part for part in model.text_encoder.parts.values() if isinstance(part, nn.Module)]


def pictures(model: Adapter) -> Any:
    """Two films, one after the other, of prompts of their own."""
    take = LongTake(model)
    return [take.generate(prompt, num_frames=13, context_size=2, **OPTIONS) for prompt in PROMPTS]


class Away:
    """Main memory beside a processor that is the card: weights that are there are nowhere else, and NaN is in their
    place."""

    def __init__(self) -> None:
        self.kept: dict[int, Tensor] = {}
        self.moves = 0

    def tensors(self, group: Any) -> list[Tensor]:
        return [*(p for module in group.modules for p in module.parameters()), *group.parameters]

    def offload(self, group: Any) -> None:
        for tensor in self.tensors(group):
            if id(tensor) not in self.kept:  # tied weights are there already
                self.kept[id(tensor)] = tensor.data
                tensor.data = torch.full((), torch.nan).to(tensor.dtype).expand_as(tensor)

    def onload(self, group: Any) -> None:
        self.moves += 1
        for tensor in self.tensors(group):
            tensor.data = self.kept.pop(id(tensor), tensor.data)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Away:
    place = Away()
    monkeypatch.setattr(ModuleGroup, "offload_", lambda group: place.offload(group))
    monkeypatch.setattr(ModuleGroup, "onload_", lambda group: place.onload(group))
    return place


@pytest.mark.parametrize("name", ["wan_folder", "skyreels_folder", "open_sora_folder"])
@pytest.mark.parametrize("offload", OFFLOADS[1:])
def test_pictures_stay_what_they_are(
    request: pytest.FixtureRequest, away: Away, name: str, offload: Offload
) -> None:
    """Guards against weights that are not there when they are needed, which are NaN here: bit for bit."""
    folder = request.getfixturevalue(name)
    whole, model = loaded(folder), loaded(folder)
    place(encoders(model), model.networks, model.vae, CPU, offload)
    for a, b in zip(pictures(whole), pictures(model), strict=True):
        assert (a == b).all()
    assert (model.device, model.dtype) == (whole.device, whole.dtype)
    assert (away.moves > 100) == (offload in ("group", "sequential"))
    if offload == "group":
        assert all(layer.weight.isnan().all() for layer in linear(model.transformer))
        assert all(layer.weight.isnan().all() for layer in linear(encoders(model)[0]))


def linear(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


class Moves:
    """Whole parts that are moved, in turn, to and from a card that is the processor under another name."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.where: dict[int, str] = {}

    def move(self, module: nn.Module, place: str) -> nn.Module:
        if self.where.get(id(module), "main memory") != place:
            self.told.append((type(module).__name__, place))
            self.where[id(module)] = place
        return module


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> Moves:
    found = Moves()

    class Hook(offloading.CpuOffload):
        """accelerate's asks the first parameter where a part is, which is the same everywhere here."""

        def init_hook(self, module: nn.Module) -> nn.Module:
            return found.move(module, "main memory")

        def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if self.prev_module_hook is not None:
                self.prev_module_hook.offload()
            found.move(module, "card")
            return args, kwargs

    monkeypatch.setattr(offloading, "CpuOffload", Hook)
    for kind in (WanTransformer3DModel, AutoencoderKLWan):
        monkeypatch.setattr(kind, "to", lambda module, device: found.move(module, "card"))
    return found


READ = [("UMT5EncoderModel", "card"), ("UMT5EncoderModel", "main memory")]
NETWORK, AUTOENCODER = "WanTransformer3DModel", "AutoencoderKLWan"
FILM = [*READ * 2, (NETWORK, "card")]


@pytest.mark.parametrize(
    ("offload", "expected"),
    [
        ("model", [(AUTOENCODER, "card"), *FILM, (NETWORK, "main memory"), *FILM]),
        ("text", [(AUTOENCODER, "card"), (NETWORK, "card"), *READ * 4]),
    ],
)
def test_parts_move_for_prompts_alone(
    wan_folder: Path, moves: Moves, offload: Offload, expected: list[tuple[str, str]]
) -> None:
    """Guards films whose parts go to and fro at every chunk: two films of seven latents, each of two prompts to read.
    The autoencoder never leaves, and the network only for the prompts of the next film."""
    parts = loaded(wan_folder)
    place_on = encoders(parts), parts.networks, parts.vae
    moves.told.clear()
    moves.where.clear()
    place(*place_on, CPU, offload)
    pictures(parts)
    assert moves.told == expected


def test_an_encoder_says_where_it_computes(wan_folder: Path) -> None:
    """Guards prompts whose tokens lie where the weights do, and not where they are read."""
    model, card = loaded(wan_folder), torch.device("cuda", 3)
    (encoder,) = encoders(model)
    offloading._computing_on(encoder, card)
    kind: Any = type(encoder)
    assert (encoder.device, kind.__name__) == (card, "UMT5EncoderModel")


def test_float8_differs_by_what_it_holds(wan_folder: Path) -> None:
    """Guards weights that are held in float8: as far from whole ones as three bits of fraction are, and the same
    whether they are offloaded or not."""
    whole, held, both = (loaded(wan_folder) for _ in range(3))
    for model in (held, both):
        hold_in_fp8(model.transformer, torch.float32)
    place(encoders(both), both.networks, both.vae, CPU, "group")
    assert held.dtype == both.dtype == torch.float32
    a, b, c = (velocity(model) for model in (whole, held, both))
    assert torch.equal(b, c)
    assert 0.001 < (a - b).norm() / a.norm() < 0.1
    layer = held.transformer.blocks[0].ffn.net[0].proj
    assert layer.weight.dtype == torch.float8_e4m3fn


def velocity(model: Adapter, frames: int = 3) -> Tensor:
    torch.manual_seed(0)
    latents, text = torch.randn(1, 4, frames, 4, 6), model.encode_prompt(["a red car"])
    return model.velocity(latents, torch.linspace(0, 1, frames), text)


@compiling
@pytest.mark.slow
def test_blocks_are_compiled_for_one_length_and_any_other(wan_folder: Path) -> None:
    """Guards a window that grows and drains against a graph for each of its lengths. The first block, whose tokens come
    in a row, and the others have two graphs each: for the first length, and for any other."""
    torch.compiler.reset()
    graphs = list[Any]()

    def counting(graph: Any, inputs: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    model = loaded(wan_folder)
    lengths = [5, 2, 4]
    whole = [velocity(model, frames) for frames in lengths]
    compile_blocks(model.transformer, backend=counting)
    counts = list[int]()
    for frames, expected in zip(lengths, whole, strict=True):
        torch.testing.assert_close(velocity(model, frames), expected, rtol=1e-4, atol=1e-5)
        counts.append(len(graphs))
    assert counts == [2, 4, 4]
    torch.compiler.reset()


def test_caches_are_refused(wan_folder: Path) -> None:
    """Guards against what was computed for another latent: every cache of diffusers, and the marks of two others."""
    from diffusers import FirstBlockCacheConfig
    from diffusers.hooks import apply_first_block_cache

    model = loaded(wan_folder)
    arguments = model.spec, model.text_encoder

    def refused(name: str, network: Any) -> None:
        with pytest.raises(ModelError, match=f"has {name} enabled.*the window moves on.*disable it"):
            type(model)(*arguments, network, model.vae)

    def stock() -> Any:
        return WanTransformer3DModel.from_pretrained(wan_folder, subfolder="transformer")

    network = stock()
    network.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    refused("FirstBlockCache", network)
    network.disable_cache()
    type(model)(*arguments, network, model.vae)
    apply_first_block_cache(hooked := stock(), FirstBlockCacheConfig(threshold=0.1))
    refused("FirstBlockCache", hooked)
    for mark, name in (("enable_teacache", "TeaCache"), ("_is_cached", "cache_dit")):
        setattr(patched := stock(), mark, True)
        refused(name, patched)


def test_attention_by_name(wan_folder: Path, open_sora_folder: Path) -> None:
    """Guards names: one that there is not, of packages that are missing, of code on the hub, and no switch for any."""
    model = loaded(wan_folder)
    before = velocity(model)
    set_attention(model.transformer, "_native_math")
    torch.testing.assert_close(velocity(model), before, rtol=1e-4, atol=1e-5)
    assert model.transformer.blocks[0].attn1.processor._attention_backend == "_native_math"
    active, _ = _AttentionBackendRegistry.get_active_backend()
    assert active == "native"
    for name, match in (
        ("nativ", "there is no attention nativ; did you mean native?"),
        ("sage_hub", "fetches code from the hub"),
        ("flash", "attention flash cannot be used: .*install"),
    ):
        with pytest.raises(OptionError, match=match):
            set_attention(model.transformer, name)
    with pytest.raises(OptionError, match="of a OpenSoraTransformer3DModel has no switch"):
        set_attention(loaded(open_sora_folder).transformer, "native")
    with pytest.raises(OptionError, match="names no blocks to compile"):
        compile_blocks(nn.Linear(1, 1))


def test_what_a_device_cannot_do(wan_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against options that would silently do nothing, before anything is loaded."""
    assert offload_on(torch.device("cuda"), None) == "text" and offload_on(CPU, None) == "none"
    for given, match in (
        ({"offload": "model"}, "cpu has one memory alone"),
        ({"quantize": "gguf"}, "one network by itself"),
        ({"offload": "all"}, "offload"),
    ):
        with pytest.raises(OptionError, match=match):
            LongTake.from_pretrained(wan_folder, **given)
    monkeypatch.setattr("longtake.models.card.quantize.find_spec", lambda name: None)
    for kind, package in (("int8", "torchao"), ("nf4", "bitsandbytes")):
        with pytest.raises(OptionError, match=f"needs {package}: pip install 'longtake\\[quantize\\]'"):
            check_placement(Placement.model_validate({"quantize": kind}), CPU, with_lora=False)
    monkeypatch.setattr("longtake.models.card.quantize.find_spec", lambda name: object())
    with pytest.raises(OptionError, match="nf4 needs a CUDA card"):
        check_placement(Placement(quantize="nf4"), CPU, with_lora=False)
    with pytest.raises(OptionError, match="take fp8 with it"):
        check_placement(Placement(quantize="int8"), CPU, with_lora=True)


def test_int8(wan_folder: Path) -> None:
    """Guards weights that torchao makes as they are loaded, of network and text encoder."""
    pytest.importorskip("torchao")
    whole = load_model(wan_folder, dtype="bfloat16")
    held = load_model(wan_folder, dtype="bfloat16", placement=Placement(quantize="int8"))
    assert isinstance(whole, Adapter) and isinstance(held, Adapter)
    a, b = velocity(whole), velocity(held)
    assert 0.0005 < (a - b).norm() / a.norm() < 0.1


def test_a_film_says_how_its_weights_were_held(wan_folder: Path) -> None:
    """Guards films that cannot be told from those of whole weights, and only these: quantize is what they follow
    from."""
    film = FilmOptions(prompt="a red car", num_frames=5, **OPTIONS)
    take = LongTake.from_pretrained(wan_folder, quantize="fp8")
    assert film.resolved(take.model.spec).metadata["quantize"] == "fp8"
    assert "quantize" not in film.resolved(load_model(wan_folder).spec).metadata
