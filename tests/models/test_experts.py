"""Wan 2.2 A14B: two networks, of which each latent of a window asks the one of its own noise level."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline, WanTransformer3DModel
from torch import Tensor

from conftest import tiny_transformer
from filming import chunks_of
from longtake.errors import ModelError, OptionError
from longtake.guidance import guided_velocity
from longtake.models.card.offload import place
from longtake.models.card.placement import Offload
from longtake.models.families import FAMILIES, WAN_2_2_A14B
from longtake.models.load import load_encoders, load_model, load_transformer, read_spec
from longtake.models.text import Text
from longtake.models.wan.experts import Experts, WanExperts
from longtake.options import FilmOptions
from portable import close, rounding

pytestmark = pytest.mark.slow

TEXT_WIDTH, BOUNDARY = 16, 0.875


@pytest.fixture(scope="module")
def folder(wan_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Wan with a second network, as the hub holds Wan 2.2 A14B."""
    made = shutil.copytree(wan_folder, tmp_path_factory.mktemp("experts") / "a14b")
    torch.manual_seed(2)
    tiny_transformer().save_pretrained(made / "transformer_2")
    index = json.loads((made / "model_index.json").read_text())
    index |= {"transformer_2": index["transformer"], "boundary_ratio": BOUNDARY}
    (made / "model_index.json").write_text(json.dumps(index))
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> WanExperts:
    model = load_model(folder)
    assert isinstance(model, WanExperts)
    return model


@pytest.mark.parametrize(("first", "second"), [(4.0, 2.0), (3.0, 3.0), (1.0, 2.5)])
def test_lockstep_equals_wan_pipeline(model: WanExperts, folder: Path, first: float, second: float) -> None:
    """One window of equal levels: WanPipeline's latents to rounding, the second expert's guidance included."""
    pipeline = WanPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 3, 4, 6)
    told, nothing = model.encode_prompt(["a red car"]), model.encode_prompt([""])
    settings = {"num_inference_steps": 8, "output_type": "latent", "height": 32, "width": 48, "num_frames": 9}
    # The pipeline guides if guidance_scale is over 1; 1 + 1e-9 is 1 to rounding.
    expected = pipeline(
        latents=noise,
        prompt_embeds=told.zero_padded(),
        negative_prompt_embeds=nothing.zero_padded(),
        guidance_scale=first + 1e-9,
        guidance_scale_2=second,
        **settings,
    ).frames
    velocity = guided_velocity(model.velocity, [told], [nothing], first, below=(BOUNDARY, second))

    def filmed() -> Tensor:
        (latents,) = chunks_of(velocity, lambda k: noise, pipeline.scheduler.sigmas, 1, steps_per_chunk=8)
        return latents

    sigmas = pipeline.scheduler.sigmas[:-1]
    assert expected.std() > 0.1 and sigmas[1] > BOUNDARY and sigmas[-1] < BOUNDARY
    close(filmed(), expected, rounding(filmed, model.transformer, noise, told.states, nothing.states))


@torch.no_grad()
def test_each_latent_asks_the_expert_of_its_level(model: WanExperts) -> None:
    """A window over the boundary is what either makes of the whole of it, latent by latent; a level of exactly the
    boundary is high."""
    latents, text = torch.randn(2, 4, 5, 4, 4), torch.randn(2, 5, TEXT_WIDTH)
    timestep = torch.tensor([1.0, 0.9, 0.875, 0.874, 0.2]).mul(1000).expand(2, -1)
    (both,) = model.transformer(latents, timestep, text)
    (high,) = model.transformer.high(latents, timestep, text, return_dict=False)
    (low,) = model.transformer.low(latents, timestep, text, return_dict=False)
    assert torch.equal(both, torch.cat([high[:, :, :3], low[:, :, 3:]], dim=2))
    assert (high - low).abs().mean() > 0.01


@pytest.mark.parametrize(
    ("sigma", "called"),
    [
        ([0.0, 0.9, 1.0], ["high"]),
        ([0.0, 0.0, 0.5], ["low"]),
        ([0.2, 0.8, 0.9], ["high", "low"]),
        ([0.0, 0.0, 0.0], ["low"]),
    ],
)
def test_an_expert_that_no_latent_asks_is_not_called(
    model: WanExperts, sigma: list[float], called: list[str]
) -> None:
    """Guards the cost: clean context asks for nothing; and one expert is done before the other begins."""
    seen: list[str] = []
    hooks = [
        network.register_forward_hook(lambda *given, name=name: seen.append(name))
        for name, network in model.transformer.named_children()
    ]
    model.velocity(
        torch.randn(1, 4, 3, 4, 4),
        torch.tensor(sigma),
        Text.of_zero_padded(torch.randn(1, 5, TEXT_WIDTH)),
    )
    for hook in hooks:
        hook.remove()
    assert seen == called


def test_what_it_is_filmed_with(folder: Path) -> None:
    """The authors' two scales of guidance, and the second as an option; its cost is said, and what a film follows
    from."""
    from longtake.cli.cost import cost_in_words

    spec = read_spec(folder)
    assert spec.experts is not None
    assert (spec.experts.boundary, spec.experts.guidance_scale_2) == (BOUNDARY, 3.0)
    assert spec.defaults.guidance_scale == WAN_2_2_A14B.guidance_scale == 4.0
    film = FilmOptions(prompt="a red car", num_frames=9, guidance_scale_2=2.5).resolved(spec)
    assert film.metadata["guidance_scale_2"] == 2.5
    assert "guidance 4, below 0.875 2.5" in cost_in_words(film, spec)
    assert "up to twice as much, as each pass asks two experts" in cost_in_words(film, spec)


def test_what_has_one_network_takes_one_scale(wan_folder: Path) -> None:
    with pytest.raises(OptionError, match="has one network: give guidance_scale alone"):
        FilmOptions(prompt="a red car", guidance_scale_2=2.5).resolved(read_spec(wan_folder))


def test_it_is_not_trained(folder: Path) -> None:
    """Guards a LoRA in one expert of two, and training of one for all levels."""
    for load in (
        load_encoders,
        load_transformer,
        lambda model: load_model(model, lora=folder),
    ):
        with pytest.raises(ModelError, match="has two networks, each with weights of its own"):
            load(folder)


def test_experts_that_differ_are_refused(folder: Path, tmp_path: Path) -> None:
    """Both see the same latents and the same text."""
    made = shutil.copytree(folder, tmp_path / "model")
    config = json.loads((made / "transformer_2/config.json").read_text())
    (made / "transformer_2/config.json").write_text(json.dumps({**config, "text_dim": 24}))
    with pytest.raises(ModelError, match="its transformer_2 takes other latents or text"):
        read_spec(made)


def test_a_missing_expert_is_told(folder: Path, tmp_path: Path) -> None:
    made = shutil.copytree(folder, tmp_path / "model")
    (made / "transformer_2/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"transformer_2/.* is missing"):
        load_model(made)


def test_at_its_published_size() -> None:
    """14.3 billion parameters each, by transformer/config.json and transformer_2/config.json on the hub, which are
    diffusers' own defaults."""
    with torch.device("meta"):
        both = WanExperts.prepared(Experts(WanTransformer3DModel(), WanTransformer3DModel(), BOUNDARY))
    assert sum(parameter.numel() for parameter in both.parameters()) == 2 * 14_288_491_584
    assert "Wan-AI/Wan2.2-T2V-A14B-Diffusers" in FAMILIES["WanTransformer3DModel"].hub


def test_a_film_of_it(folder: Path, cli: Callable[..., Any]) -> None:
    """From the command line, with both scales; what it was made with is in its file."""
    size = ("--size", "48x32", "--frames", "17", "--steps", "8", "--steps-per-chunk", "2", "--context", "1")
    told = ("--guidance", "3", "--guidance-2", "2")
    result = cli("generate", "a red car", "--model", folder, "-o", "film.mp4", *size, *told, "--json")
    assert result.code == 0, result.err
    shown = cli("info", "film.mp4", "--json")
    assert '"guidance_scale_2": 2.0' in shown.out
    plan = cli("plan", "--model", folder, *size)
    assert "below 0.875 3" in plan.out and "two experts" in plan.out


@pytest.mark.parametrize("offload", ["model", "group", "sequential"])
def test_one_expert_is_on_a_card_at_a_time(folder: Path, model: WanExperts, offload: Offload) -> None:
    """Each leaves for the other, or both come block by block; what they make stays what it is."""
    placed = load_model(folder)
    assert isinstance(placed, WanExperts)
    given = torch.randn(1, 4, 3, 4, 4), torch.tensor([0.2, 0.8, 0.9])
    text = Text.of_zero_padded(torch.randn(1, 5, TEXT_WIDTH))
    expected = model.velocity(*given, text)
    place(
        [placed.text_encoder.parts["text_encoder"]], placed.networks, placed.vae, torch.device("cpu"), offload
    )
    high, low = placed.networks
    if offload == "model":
        assert high._hf_hook.prev_module_hook.model is low and low._hf_hook.prev_module_hook.model is high
    assert torch.equal(placed.velocity(*given, text), expected)


@torch.no_grad()
def test_in_half_precision(folder: Path) -> None:
    """Guards weights in bfloat16, of which some stay in float32: the pictures' latents go in as the layers are."""
    model = load_model(folder, dtype="bfloat16")
    noise, text = torch.randn(1, 4, 3, 4, 6), model.encode_prompt(["a red car"])
    assert isinstance(model, WanExperts) and model.dtype == torch.bfloat16
    assert model.velocity(noise, torch.tensor([1.0, 0.9, 0.1]), text).isfinite().all()
