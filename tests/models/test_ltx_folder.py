"""LTX-Video and LTX-2 from their folders: what is read, loaded, told, denoised and filmed.

B batch, C channels, F latent frames, H W latent height and width
"""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
    LTXPipeline,
)
from diffusers.pipelines.ltx.pipeline_ltx_condition import linear_quadratic_schedule
from torch import Tensor

from conftest import WORDS, spiece_model
from filming import chunks_of
from longtake.errors import ModelError, OptionError
from longtake.guidance import guided_velocity
from longtake.models.configs import checked
from longtake.models.families import FAMILIES
from longtake.models.folder import ModelFolder
from longtake.models.load import check_prompts, load_model, load_transformer
from longtake.models.ltx.config import LTX2VaeConfig, LTXVaeConfig, shift_of
from longtake.models.ltx.layers import delay_latents
from longtake.models.ltx.model import LTXModel
from longtake.models.ltx.model2 import SOUND, LTX2Model
from longtake.models.places import open_model
from longtake.noise import sigma_table
from longtake.options import FilmOptions
from longtake.schedules import TABLES
from longtake.shot import Shot
from longtake.video import read_frames
from ltx_folders import CHANNELS, SCHEDULER, save_ltx, save_ltx2, tiny_sound
from portable import close, rounding

CONFIGS = Path(__file__).parents[1] / "data" / "configs"


@pytest.fixture(scope="module")
def ltx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_ltx(tmp_path_factory.mktemp("ltx"))


@pytest.fixture(scope="module")
def ltx2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_ltx2(tmp_path_factory.mktemp("ltx2"))


def test_what_is_known_of_them(ltx_folder: Path, ltx2_folder: Path) -> None:
    """Guards sizes, delay, what films lack, and whose noise levels they have."""
    video, second = open_model(ltx_folder).spec, open_model(ltx2_folder).spec
    for spec in (video, second):
        assert (spec.spatial_factor, spec.temporal_factor, spec.first_frames, spec.alignment) == (
            32,
            8,
            1,
            32,
        )
        assert (spec.latent_channels, spec.delay_latents, spec.schedule) == (CHANNELS, 7, "ltx")
        assert (spec.max_prompt_tokens, spec.text_per_latent) == (12, True)
    assert (video.left_out, second.left_out) == ((), ("sound",))


@pytest.mark.parametrize(
    "name", ["video-0.9.0", "video-0.9.1", "video-0.9.5", "video-0.9.7", "2", "2.3", "2.5"]
)
def test_published_configurations(name: str) -> None:
    """They build on no memory at all, have the sizes that are told of them, and their delay is read off JSON."""
    config = json.loads((CONFIGS / f"ltx-{name}.json").read_text())
    with torch.device("meta"):
        network, vae = (
            getattr(diffusers, config[part]["_class_name"]).from_config(config[part])
            for part in ("transformer", "vae")
        )
    billions = sum(weights.numel() for weights in network.parameters()) / 1e9
    size = {"video-0.9.7": 13.0, "2": 18.9, "2.3": 19.0, "2.5": 19.0}.get(name, 1.9)
    assert round(billions, 1) == size
    sound = sum(w.numel() for n, w in network.named_parameters() if {*n.split(".")} & {*SOUND}) / 1e9
    assert round(sound, 1) == {"2": 5.6, "2.3": 5.7, "2.5": 5.7}.get(name, 0)
    kind = LTXVaeConfig if "video" in name else LTX2VaeConfig
    read = checked(kind, config["vae"], "vae")
    assert read.delay_latents == delay_latents(vae)
    assert (read.latents.channels, read.latents.spatial_factor, read.latents.temporal_factor) == (128, 32, 8)
    assert read.refusal is None


def test_words_may_be_a_sentencepiece_model(ltx_folder: Path, tmp_path: Path) -> None:
    """As in the folders of LTX-Video and of CogVideoX on the hub, which have no tokenizer.json."""
    folder = shutil.copytree(ltx_folder, tmp_path / "ltx")
    (folder / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer/tokenizer\.json is missing"):
        open_model(folder).check()
    (folder / "tokenizer" / "spiece.model").write_bytes(spiece_model(WORDS))
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    (folder / "text_encoder" / "config.json").write_text(json.dumps({**config, "vocab_size": 200}))
    open_model(folder).check()
    check_prompts(folder, ["a red car"])
    with pytest.raises(OptionError, match="13 tokens long"):
        check_prompts(folder, ["a " * 12])


def test_shift_is_that_of_the_pipeline() -> None:
    from diffusers.pipelines.ltx.pipeline_ltx import calculate_shift

    for tokens in (1024, 3000, 9216):
        mu = calculate_shift(tokens, 1024, 4096, 0.95, 2.05)
        assert abs(shift_of(tokens) / torch.tensor(mu).exp() - 1) < 1e-5


@pytest.mark.parametrize("steps", [2, 7, 40])
def test_noise_levels_are_those_of_the_pipelines(steps: int) -> None:
    """Shifted by tokens and stretched, or, from LTX-Video 0.9.5 on, as its pipeline makes them."""
    scheduler = FlowMatchEulerDiscreteScheduler(**SCHEDULER)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=math.log(shift_of(8064)))
    torch.testing.assert_close(sigma_table(steps, shift_of(8064), "ltx"), scheduler.sigmas, atol=1e-6, rtol=0)
    later = sigma_table(steps, 1.0, "linear-quadratic")
    torch.testing.assert_close(later[:-1], linear_quadratic_schedule(steps), atol=1e-6, rtol=0)
    assert sigma_table(1, 3.0, "ltx").tolist() == sigma_table(1, 3.0, "linear-quadratic").tolist() == [1, 0]


def test_models_of_few_steps_are_known_by_name(ltx_folder: Path) -> None:
    """Distilled weights look like others from within: their noise levels go by their names on the hub."""
    name = "Lightricks/LTX-Video-0.9.8-13B-distilled"
    defaults = ModelFolder(ltx_folder, hub=name).spec.defaults
    assert defaults.sigmas == TABLES["ltx"].sigmas and defaults.guidance_scale == 1
    assert name in FAMILIES["LTXVideoTransformer3DModel"].hub
    assert ModelFolder(ltx_folder).spec.defaults.sigmas is None


@pytest.mark.slow
def test_lockstep_equals_ltx_pipeline(ltx_folder: Path) -> None:
    """One window, all levels equal, is ordinary video diffusion: LTXPipeline's latents to rounding."""
    model = load_model(ltx_folder)
    assert isinstance(model, LTXModel)
    pipeline = LTXPipeline.from_pretrained(ltx_folder)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(1, CHANNELS, 3, 2, 3)
    text, null = model.encode_prompt(["a red car"]), model.encode_prompt(["a bus at night"])
    packed = pipeline(
        prompt_embeds=text.states,
        prompt_attention_mask=text.mask,
        negative_prompt_embeds=null.states,
        negative_prompt_attention_mask=null.mask,
        height=64,
        width=96,
        num_frames=17,
        frame_rate=24,
        num_inference_steps=6,
        guidance_scale=3.0,
        latents=pipeline._pack_latents(noise),
        output_type="latent",
    ).frames
    expected = pipeline._unpack_latents(packed, 3, 2, 3)
    velocity = guided_velocity(model.velocity, [text], [null], guidance_scale=3.0)

    def filmed() -> Tensor:
        (latents,) = chunks_of(velocity, lambda k: noise, pipeline.scheduler.sigmas, 1, steps_per_chunk=6)
        return latents

    assert expected.std() > 0.1
    close(filmed(), expected, rounding(filmed, model.transformer, noise, text.states, null.states))


@pytest.mark.slow
def test_lockstep_equals_ltx2_pipeline(ltx2_folder: Path) -> None:
    """One window, all levels equal: the pictures of LTX2Pipeline, prompts and all, if it does not let them hear the
    sound that it makes beside them, and its network is not told of a first frame."""
    model = load_model(ltx2_folder)
    assert isinstance(model, LTX2Model)
    network = LTX2VideoTransformer3DModel.from_config({**model.transformer.config, "causal_offset": 8})
    network.load_state_dict(load_transformer(ltx2_folder).state_dict())
    network.register_forward_pre_hook(
        lambda module, args, told: (args, {**told, "isolate_modalities": True}), with_kwargs=True
    )
    parts = model.text_encoder.parts
    pipeline = LTX2Pipeline(
        **parts,
        transformer=network.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER),
        vae=model.vae,
        audio_vae=tiny_sound(),
        vocoder=None,
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(1, CHANNELS, 3, 2, 3)
    expected = pipeline(
        "a red car",
        negative_prompt="a bus at night",
        height=64,
        width=96,
        num_frames=17,
        frame_rate=24.0,
        num_inference_steps=6,
        guidance_scale=3.0,
        guidance_rescale=0.0,
        stg_scale=0.0,
        modality_scale=1.0,
        audio_stg_scale=0.0,
        audio_modality_scale=1.0,
        audio_guidance_rescale=0.0,
        latents=pipeline._pack_latents(noise),
        max_sequence_length=12,
        output_type="latent",
    ).frames

    def filmed() -> Tensor:
        text, null = model.encode_prompt(["a red car"]), model.encode_prompt(["a bus at night"])
        velocity = guided_velocity(model.velocity, [text], [null], guidance_scale=3.0)
        (latents,) = chunks_of(velocity, lambda k: noise, pipeline.scheduler.sigmas, 1, steps_per_chunk=6)
        return latents

    modules = [part for part in parts.values() if isinstance(part, torch.nn.Module)]
    assert expected.std() > 0.1
    close(filmed(), expected, rounding(filmed, model.transformer, noise, *modules))


def test_layers_of_the_sound_take_no_memory(ltx2_folder: Path) -> None:
    """Films do without them; what is trained keeps them, and pictures are the same."""
    model, whole = load_model(ltx2_folder), load_transformer(ltx2_folder)
    assert isinstance(model, LTX2Model)
    names = {name for name, _ in whole.named_parameters()} - {
        name for name, _ in model.transformer.named_parameters()
    }
    assert len(names) > 40 and all(name.startswith("transformer_blocks.") for name in names)
    latents, text, timestep = (
        torch.randn(1, CHANNELS, 3, 2, 2),
        model.encode_prompt(["a red car"]),
        torch.rand(1, 3),
    )
    with torch.no_grad():
        each = [
            LTX2Model.network_velocity(net, latents, timestep, text, 24) for net in (model.transformer, whole)
        ]
    assert torch.equal(*each)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ltx", "ltx2"])
def test_films_have_all_their_frames(
    kind: str, request: pytest.FixtureRequest, cli: Callable[..., Any], tmp_path: Path
) -> None:
    """From the command line to the file, the last pictures too, which no latents follow."""
    folder = request.getfixturevalue(f"{kind}_folder")
    options = (
        "--steps",
        "4",
        "--steps-per-chunk",
        "2",
        "--context",
        "1",
        "--size",
        "64x64",
        "--frames",
        "41",
    )
    result = cli("generate", "a red car", "--model", folder, *options, "-o", "film.mp4")
    assert result.code == 0, result.err
    assert sum(1 for _ in read_frames(tmp_path / "film.mp4")) == 41
    plan = cli("plan", "--model", folder, *options, "--keep-states", "1s")
    assert "and 7 latents behind them" in plan.out and ("without       sound" in plan.out) == (kind == "ltx2")


@pytest.mark.slow
def test_a_film_that_ended_is_not_gone_on_from(ltx_folder: Path) -> None:
    """Its last pictures were made because no latents followed: a longer film has others. Stopped before, it goes on."""
    model = load_model(ltx_folder)
    options = FilmOptions(
        prompt="a red car", width=64, height=64, num_frames=73, num_inference_steps=2, steps_per_chunk=2
    )
    shot = Shot(model, options.resolved(model.spec))
    passes = list(shot.passes(shot.begin()[0]))
    states, counts = [state for state, _ in passes], [len(pictures) for _, pictures in passes]
    assert sum(counts) == 73 and counts[-1] > 40 and counts[:6] == [0] * 6
    assert shot.is_open(states[-2]) and not shot.is_open(states[-1])
