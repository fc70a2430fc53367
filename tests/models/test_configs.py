"""What the JSON files of a model folder may say: types, bounds, and numbers that agree with one another."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longtake.errors import LongTakeError, ModelError
from longtake.models.load import load_model, read_spec

FILES = (
    "model_index.json",
    "transformer/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "tokenizer/tokenizer_config.json",
    "scheduler/scheduler_config.json",
)
SCHEDULER = FILES[-1]
UNIPC = {
    "_class_name": "UniPCMultistepScheduler",
    "flow_shift": 5.0,
    "use_flow_sigmas": True,
    "prediction_type": "flow_prediction",
    "final_sigmas_type": "zero",
    "num_train_timesteps": 1000,
    "use_karras_sigmas": False,
}


@pytest.fixture
def folder(wan_folder: Path, tmp_path: Path) -> Path:
    """A copy of the Wan-like folder, to be spoilt."""
    return Path(shutil.copytree(wan_folder, tmp_path / "model"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        read_spec(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("value", [None, "3", "three", True, [3], {}, -1, 0, float("nan"), float("inf")])
def test_a_shift_is_a_positive_number(folder: Path, value: Any) -> None:
    """Guards the schedule against null, text and the like; file, key and what belongs there are named."""
    edit(folder / SCHEDULER, shift=value)
    message = refusal(folder)
    assert f"{SCHEDULER}: shift must be" in message and json.dumps(value) in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("use_dynamic_shifting", True),
        ("use_dynamic_shifting", "yes"),
        ("use_karras_sigmas", True),
        ("use_exponential_sigmas", True),
        ("use_beta_sigmas", True),
        ("invert_sigmas", True),
        ("stochastic_sampling", True),
        ("shift_terminal", 0.1),
        ("prediction_type", "epsilon"),
        ("prediction_type", "v_prediction"),
        ("use_flow_sigmas", False),
        ("final_sigmas_type", "sigma_min"),
        ("num_train_timesteps", 500),
        ("num_train_timesteps", None),
        ("thresholding", True),
        ("trained_betas", [0.1]),
    ],
)
def test_other_ladders_are_refused_by_name(folder: Path, key: str, value: Any) -> None:
    """Guards against options that change the noise levels, or what a network predicts, and would be passed over."""
    edit(folder / SCHEDULER, **{key: value})
    message = refusal(folder)
    assert f"{SCHEDULER}: {key} must be" in message and f"not {json.dumps(value)}" in message


def test_options_that_are_off_pass(folder: Path) -> None:
    """Guards whole configurations as the library writes them, of either scheduler."""
    edit(
        folder / SCHEDULER,
        use_dynamic_shifting=None,
        shift_terminal=None,
        use_karras_sigmas=False,
        base_shift=0.5,
    )
    assert read_spec(folder).defaults.shift == 3
    edit(folder / "model_index.json", scheduler=["diffusers", "UniPCMultistepScheduler"])
    (folder / SCHEDULER).write_text(json.dumps(UNIPC))
    assert read_spec(folder).defaults.shift == 5


def test_each_scheduler_has_its_own_name_for_the_shift(folder: Path) -> None:
    """Guards the precedence: what diffusers would take, which sees no other scheduler's key; alone, that one counts."""
    edit(folder / SCHEDULER, flow_shift=7.0)
    assert read_spec(folder).defaults.shift == 3
    (folder / SCHEDULER).write_text(json.dumps({"flow_shift": 7.0}))
    assert read_spec(folder).defaults.shift == 7
    edit(folder / "model_index.json", scheduler=["diffusers", "UniPCMultistepScheduler"])
    (folder / SCHEDULER).write_text(json.dumps(UNIPC | {"shift": 9.0}))
    assert read_spec(folder).defaults.shift == 5
    (folder / SCHEDULER).write_text(json.dumps(UNIPC | {"_class_name": "DDIMScheduler"}))
    assert "is of a DDIMScheduler, model_index.json says UniPCMultistepScheduler" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("transformer/config.json", {"patch_size": None}, "config.json: patch_size must be"),
        ("transformer/config.json", {"patch_size": [1, 2]}, "patch_size"),
        ("transformer/config.json", {"patch_size": [1, 2, "2"]}, "patch_size.2 must be a valid integer"),
        ("transformer/config.json", {"patch_size": [1, 0, 2]}, "patch_size.1 must be greater"),
        ("transformer/config.json", {"in_channels": 4.5}, "in_channels must be a valid integer"),
        ("transformer/config.json", {"text_dim": 32}, "reads text of 32 numbers, its text encoder makes 16"),
        (
            "transformer/config.json",
            {"in_channels": 8, "out_channels": 8},
            "of 8 channels, its autoencoder makes 4",
        ),
        ("transformer/config.json", {"in_channels": 8, "out_channels": None}, "of 8 channels"),
        ("vae/config.json", {"z_dim": "4"}, "z_dim must be a valid integer"),
        ("vae/config.json", {"z_dim": 5}, "of 4 channels, its autoencoder makes 5"),
        ("vae/config.json", {"latents_mean": [0.0] * 3}, "for each latent channel"),
        ("vae/config.json", {"latents_mean": [0, 0, 0, "0"]}, "latents_mean.3 must be a valid number"),
        ("vae/config.json", {"latents_std": [1, 1, 1, 0]}, "latents_std.3 must be greater than 0"),
        ("vae/config.json", {"latents_std": [1, 1, 1, float("nan")]}, "latents_std.3 must be a finite"),
        ("vae/config.json", {"scale_factor_temporal": 8}, "scale_factor_temporal must be 4"),
        ("vae/config.json", {"scale_factor_spatial": None}, "scale_factor_spatial must be"),
        ("text_encoder/config.json", {"d_model": 32}, "its text encoder makes 32"),
        ("text_encoder/config.json", {"d_model": None}, "d_model must be a valid integer"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": "12"}, "model_max_length must be"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 0}, "model_max_length must be"),
        ("model_index.json", {"transformer": "WanTransformer3DModel"}, "names no transformer"),
        ("model_index.json", {"scheduler": ["diffusers", None]}, "names no scheduler"),
        ("model_index.json", {"_class_name": None}, "pipeline class"),
    ],
)
def test_types_and_numbers_that_disagree_are_named(
    folder: Path, name: str, changes: dict[str, Any], words: str
) -> None:
    """Guards each number that is read: one line, which says where it is and what belongs there."""
    edit(folder / name, **changes)
    assert words in refusal(folder)


@pytest.mark.parametrize("value", [None, 10**30])
def test_a_tokenizer_without_a_limit_has_wans(folder: Path, value: int | None) -> None:
    """Guards what the library writes where no limit is known."""
    edit(folder / "tokenizer/tokenizer_config.json", model_max_length=value)
    assert read_spec(folder).max_prompt_tokens == 512


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("width", 0),
        ("height", -32),
        ("width", 48.5),
        ("fps", 0),
        ("fps", 1000),
        ("fps", None),
        ("num_inference_steps", 0),
        ("steps_per_chunk", 5),
        ("chunk_size", True),
        ("context_size", -1),
        ("shift", 0),
        ("shift", float("nan")),
        ("guidance_scale", -1),
        ("guidance_scale", float("inf")),
        ("guidance_scale", "high"),
    ],
)
def test_longtake_json_has_bounds(tubelet_folder: Path, tmp_path: Path, key: str, value: Any) -> None:
    """Guards against defaults that no option could have."""
    folder = Path(shutil.copytree(tubelet_folder, tmp_path / "model"))
    edit(folder / "longtake.json", **{key: value})
    message = refusal(folder)
    assert "longtake.json" in message and key in message


def test_an_autoencoder_makes_the_pictures_that_it_says(folder: Path) -> None:
    """Guards the size of a film: the factor that is written and the one that the layers have."""
    edit(folder / "vae/config.json", scale_factor_spatial=16)
    with pytest.raises(ModelError, match=r"says 16 pixels a latent, its layers make 8"):
        load_model(folder)


JUNK = (
    st.none()
    | st.booleans()
    | st.integers(-2, 70)
    | st.floats()
    | st.text(max_size=4)
    | st.lists(st.integers(-1, 4) | st.none(), max_size=4)
    | st.dictionaries(st.text(max_size=2), st.none(), max_size=2)
)


def read_or_refused(folder: Path, wan_folder: Path, data: st.DataObject, read: Callable[[Path], Any]) -> None:
    name = data.draw(st.sampled_from(FILES))
    whole = (wan_folder / name).read_text()
    content = json.loads(whole)
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(content)), JUNK, min_size=1, max_size=2))
    gone = data.draw(st.sets(st.sampled_from(sorted(content)), max_size=1))
    rest = {key: value for key, value in (content | changed).items() if key not in gone}
    anything = data.draw(st.sampled_from([rest, rest, rest, changed, [], "text", 3]))
    (folder / name).write_text(json.dumps(anything))
    try:
        read(folder)
    except LongTakeError as error:
        assert "\n" not in str(error)
    finally:
        (folder / name).write_text(whole)


ANY: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@settings(max_examples=150, **ANY)
@given(data=st.data())
def test_any_json_is_a_spec_or_one_line(folder: Path, wan_folder: Path, data: st.DataObject) -> None:
    """Guards against a traceback for whatever a folder says."""
    read_or_refused(folder, wan_folder, data, read_spec)


@settings(max_examples=25, **ANY)
@given(data=st.data())
def test_any_json_is_a_model_or_one_line(folder: Path, wan_folder: Path, data: st.DataObject) -> None:
    """The same for the keys that the libraries read."""
    read_or_refused(folder, wan_folder, data, load_model)


@settings(max_examples=60, **ANY)
@given(name=st.sampled_from(FILES), noise=st.binary(max_size=40) | st.just(b"[" * 100_000))
def test_any_bytes_are_one_line(folder: Path, wan_folder: Path, name: str, noise: bytes) -> None:
    """Guards the reader of JSON: no bytes, no depth and no encoding is a traceback."""
    (folder / name).write_bytes(noise)
    assert refusal(folder)
    shutil.copy(wan_folder / name, folder / name)
