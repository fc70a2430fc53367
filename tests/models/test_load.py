"""Model folders: what is read from them, and what is refused, with the reason, before anything is loaded."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from longtake.errors import ModelError, OptionError
from longtake.models import places
from longtake.models.base import Ends
from longtake.models.families import ALL
from longtake.models.load import load_encoders, load_model, read_spec
from longtake.models.places import list_models
from longtake.models.wan.model import WanModel
from portable import close, rounding

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(wan_folder: Path, tmp_path: Path) -> Path:
    """A copy of the Wan-like folder, to be spoilt."""
    return Path(shutil.copytree(wan_folder, tmp_path / "model"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refusal(folder: Path | str, call: Callable[[Path | str], Any] = read_spec) -> str:
    with pytest.raises(ModelError) as error:
        call(folder)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_spec_of_a_wan_folder(wan_folder: Path) -> None:
    """4k + 1 frames, sides of whole patches, the tokenizer's prompt length, the scheduler's shift."""
    spec = read_spec(wan_folder)
    assert (spec.name, spec.latent_channels, spec.max_prompt_tokens) == (wan_folder.name, 4, 12)
    assert (spec.spatial_factor, spec.temporal_factor, spec.first_frames, spec.alignment) == (8, 4, 1, 16)
    assert (spec.defaults.width, spec.defaults.height, spec.defaults.fps, spec.defaults.shift) == (
        832,
        480,
        16,
        3.0,
    )


def test_wan_defaults_fill_the_window_it_was_trained_on(wan_folder: Path) -> None:
    """Noisy and context latents are together the 21 (81 frames) that Wan knows; sides fit its patches."""
    spec = read_spec(wan_folder)
    defaults = spec.defaults
    noisy = -(-defaults.num_inference_steps // defaults.steps_per_chunk) * defaults.chunk_size
    assert noisy + defaults.context_size == 21
    assert defaults.width % spec.alignment == defaults.height % spec.alignment == 0


def test_spec_of_wan_2_2(folder: Path) -> None:
    """The patchified autoencoder: 16 pixels a latent, 32 a patch; UniPC calls the shift flow_shift."""
    edit(folder / "vae/config.json", scale_factor_spatial=16)
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps({"flow_shift": 5.0}))
    edit(
        folder / "model_index.json",
        scheduler=["diffusers", "UniPCMultistepScheduler"],
        transformer_2=[None, None],
    )
    spec = read_spec(folder)
    assert (spec.spatial_factor, spec.alignment, spec.defaults.shift) == (16, 32, 5.0)
    assert (spec.defaults.width, spec.defaults.height, spec.defaults.fps) == (1280, 704, 24)
    assert spec.defaults.width % 32 == spec.defaults.height % 32 == 0


def test_spec_of_a_folder_with_its_own_defaults(tubelet_folder: Path) -> None:
    """4k frames, and longtake.json for everything else."""
    spec = read_spec(tubelet_folder)
    assert (spec.temporal_factor, spec.first_frames, spec.alignment, spec.max_prompt_tokens) == (4, 4, 16, 12)
    assert spec.defaults.told == json.loads((tubelet_folder / "longtake.json").read_text())


def test_spec_needs_no_torch(wan_folder: Path) -> None:
    """`plan` and `--help` must not wait seconds for torch and diffusers."""
    code = (
        "import sys; from longtake.models.load import read_spec; read_spec(sys.argv[1]);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    )
    subprocess.run([sys.executable, "-c", code, str(wan_folder)], check=True)


def test_half_precision_weights_run_in_float32(tubelet_model: WanModel) -> None:
    """Weights are stored in float16 and run in float32 on the CPU: all three parts."""
    parts = (tubelet_model.text_encoder.parts["text_encoder"], tubelet_model.transformer, tubelet_model.vae)
    assert {parameter.dtype for part in parts for parameter in part.parameters()} == {torch.float32}
    assert not any(part.training for part in parts)


def test_encoders_alone(wan_folder: Path, wan_model: WanModel) -> None:
    """Guards preparing film for a network that does not fit into memory: it has no weights, the rest is the same."""
    encoders = load_encoders(wan_folder)
    assert isinstance(encoders, WanModel)
    assert {parameter.device.type for parameter in encoders.transformer.parameters()} == {"meta"}
    parts = ([model.text_encoder.parts["text_encoder"], model.vae] for model in (encoders, wan_model))
    for ours, whole in zip(*parts, strict=True):
        torch.testing.assert_close(ours.state_dict(), whole.state_dict(), rtol=0, atol=0)
    prompts, frames = ["a red car", ""], torch.rand(1, 3, 5, 32, 32)
    ours, whole = (model.encode_prompt(prompts) for model in (encoders, wan_model))
    torch.testing.assert_close(ours.states, whole.states)
    assert torch.equal(ours.mask, whole.mask)
    tolerance = rounding(lambda: wan_model.encoder().push(frames), wan_model.vae, frames)
    close(encoders.encoder().push(frames), wan_model.encoder().push(frames), tolerance)


def test_a_film_strip_end_to_end(tubelet_model: WanModel) -> None:
    """Prompt, network and codec of the embedded-like folder fit together."""
    text = tubelet_model.encode_prompt(["a red car"])
    latents = torch.randn(1, 4, 2, 4, 6)
    velocity = tubelet_model.velocity(latents, torch.tensor([0.5, 1.0]), text)
    frames = tubelet_model.decoder().push(latents - velocity)
    assert frames.shape == (1, 3, 8, 32, 48)
    assert frames.abs().max() <= 1


def test_bad_devices_and_dtypes_are_options(wan_folder: Path) -> None:
    """A device or dtype that is not there is the user's slip, not a traceback."""
    for device in ("nowhere", "cuda:77"):
        with pytest.raises(OptionError, match=device):
            load_model(wan_folder, device=device)
    with pytest.raises(OptionError, match="float32, bfloat16, float16"):
        load_model(wan_folder, dtype="float8")


def test_known_models(tubelet_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded model comes first, found without a name or by the name that it is listed with."""
    monkeypatch.setattr(places, "EMBEDDED", tubelet_folder)
    models = list_models()
    assert [model.name for model in models] == [
        tubelet_folder.name,
        "open-sora-v1.2",
        *(name for family in ALL for name in family.hub),
    ]
    assert models[0].on_disk
    assert read_spec() == read_spec(models[0].name) == read_spec(tubelet_folder)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A slip in a path is not looked up on the hub."""
    assert "no model folder" in refusal(tmp_path / "none")
    assert "no model folder" in refusal("./models/none")
    assert "model_index.json is missing" in refusal(tmp_path)


def test_the_hub_without_a_network() -> None:
    """A name of the hub that cannot be fetched says what to do."""
    assert "go online, or fetch it elsewhere" in refusal("Wan-AI/no-such-model")


@pytest.mark.parametrize(
    "name",
    [
        "vae/config.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/tokenizer.json",
        "text_encoder/model.safetensors",
    ],
)
def test_an_incomplete_folder(folder: Path, name: str) -> None:
    """The missing file is named."""
    (folder / name).unlink()
    assert f"incomplete: {name} is missing" in refusal(folder, load_model)


def test_a_missing_shard(folder: Path) -> None:
    """Weights in shards: each one that the index lists must be there."""
    (folder / TRANSFORMER).unlink()
    index = {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00001.safetensors"}}
    (folder / f"{TRANSFORMER}.index.json").write_text(json.dumps(index))
    assert "00001-of-00001.safetensors is missing" in refusal(folder, load_model)


@pytest.mark.parametrize(
    "index", ["[]", "{}", '{"weight_map": ["a"]}', '{"weight_map": {"a": 3}}', '{"weight_map": {}}']
)
def test_a_damaged_index(folder: Path, index: str) -> None:
    """Guards against a traceback, and against weights that nobody looks for, so that they are random."""
    (folder / f"{TRANSFORMER}.index.json").write_text(index)
    assert "safetensors.index.json is" in refusal(folder, load_model)


def test_missing_and_damaged_weights(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """diffusers fills missing weights with random numbers, and films noise; a file may be cut short."""
    weights = load_file(folder / TRANSFORMER)
    whole = (folder / TRANSFORMER).read_bytes()
    save_file(
        {name: weight for name, weight in weights.items() if name != "proj_out.weight"}, folder / TRANSFORMER
    )
    assert "transformer lacks proj_out.weight, which" in refusal(folder, load_model)
    (folder / TRANSFORMER).write_bytes(whole[:-100])
    assert "cannot be read" in refusal(folder, load_model)
    assert capfd.readouterr() == ("", "")


def test_longtake_json_is_checked(folder: Path, tubelet_folder: Path) -> None:
    """Settings with a slip, or none where none can be assumed, are named instead of guessed."""
    shutil.copy(tubelet_folder / "longtake.json", folder)
    edit(folder / "longtake.json", steps=3)
    assert "['steps']" in refusal(folder)
    shutil.copy(tubelet_folder / "longtake.json", folder)
    edit(folder / "longtake.json", width="832")
    assert "['width']" in refusal(folder)
    shutil.copy(tubelet_folder / "longtake.json", folder)
    ends: dict[str, Any] = {"films": 4, "loop": 2, "clip": 3.5, "photo": 1, "largest": 3}
    edit(folder / "longtake.json", ends=ends)
    spec = read_spec(folder)
    assert spec.ends == Ends(**ends) and spec.defaults == read_spec(tubelet_folder).defaults
    edit(folder / "longtake.json", ends={**ends, "loop": -1})
    assert "longtake.json: ends: loop must be greater than or equal to 0" in refusal(folder)
    (folder / "longtake.json").unlink()
    edit(folder / "model_index.json", vae=["longtake", "AutoencoderTubelet"])
    assert "longtake.json is missing" in refusal(folder)


@pytest.mark.parametrize(
    ("part", "entry", "reason"),
    [
        ("transformer", ["diffusers", "MochiTransformer3DModel"], "one timestep for the whole clip"),
        ("transformer", ["diffusers", "ChronoEditTransformer3DModel"], "from pictures that are given"),
        ("transformer", ["diffusers", "FluxTransformer2DModel"], "must be WanTransformer3DModel"),
        ("vae", ["diffusers", "AutoencoderKL"], "AutoencoderKLWan or AutoencoderTubelet"),
        ("text_encoder", ["transformers", "CLIPTextModel"], "T5EncoderModel or UMT5EncoderModel"),
        ("scheduler", ["diffusers", "DDIMScheduler"], "FlowMatchEulerDiscreteScheduler"),
    ],
)
def test_classes_that_cannot_film(folder: Path, part: str, entry: list[str], reason: str) -> None:
    """The class is named, with the reason: a network with one timestep for all frames is not run wrongly."""
    edit(folder / "model_index.json", **{part: entry})
    message = refusal(folder)
    assert entry[1] in message
    assert reason in message


def test_a_unet_is_named_too(folder: Path) -> None:
    """Older video pipelines call their network unet."""
    edit(folder / "model_index.json", transformer=None, unet=["diffusers", "UNet3DConditionModel"])
    assert "UNet3DConditionModel; it takes one timestep" in refusal(folder)


def test_relatives_of_wan(folder: Path) -> None:
    """Half of two experts, image starts and joined latents share the class of text-to-video Wan, and would fail."""
    index, network, vae = (
        folder / name for name in ("model_index.json", "transformer/config.json", "vae/config.json")
    )
    whole = {path: path.read_text() for path in (index, network, vae)}
    for path, changes, reason in (
        (index, {"transformer_2": ["diffusers", "WanTransformer3DModel"]}, "has one alone"),
        (index, {"boundary_ratio": 0.875}, "names no transformer_2"),
        (index, {"boundary_ratio": 1.5}, "boundary_ratio must be less than 1"),
        (index, {"image_encoder": ["transformers", "CLIPVisionModel"]}, "starts from an image"),
        (network, {"in_channels": 9}, "starts from an image"),
        (network, {"image_dim": 32}, "starts from an image"),
        (network, {"patch_size": [2, 2, 2]}, "joins latent frames"),
        (vae, {"latents_std": None}, "no latents_mean and latents_std"),
    ):
        edit(path, **changes)
        assert reason in refusal(folder)
        path.write_text(whole[path])
    read_spec(folder)


def test_code_in_a_folder_is_never_run(folder: Path) -> None:
    """What asks for the folder's own code is refused: classes, auto_map, trust_remote_code, scripts."""
    index, config = folder / "model_index.json", folder / "text_encoder/config.json"
    whole = index.read_text(), config.read_text()
    for path, changes, what in (
        (index, {"_class_name": ["pipeline", "MyPipeline"]}, "pipeline class"),
        (index, {"transformer": ["my_network", "WanTransformer3DModel"]}, "of my_network"),
        (index, {"auto_map": {"AutoModel": "modeling.Mine"}}, "auto_map in model_index.json"),
        (config, {"auto_map": {"AutoModel": "modeling.Mine"}}, "auto_map in text_encoder/config.json"),
        (config, {"trust_remote_code": True}, "trust_remote_code in text_encoder/config.json"),
    ):
        edit(path, **changes)
        assert what in refusal(folder)
        index.write_text(whole[0])
        config.write_text(whole[1])
    (folder / "vae/modeling.py").touch()
    assert "vae/modeling.py" in refusal(folder)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "weights.pt", "model.ckpt"])
def test_pickles_are_refused(folder: Path, name: str) -> None:
    """Opening a pickle can run anything: only safetensors are loaded, and the message says how to mend it."""
    (folder / TRANSFORMER).rename(folder / "transformer" / name)
    message = refusal(folder, load_model)
    assert f"transformer/{name} is a pickle" in message
    assert "convert" in message
