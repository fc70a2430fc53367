"""Folders of NVIDIA's families, as they are on the hub but tiny: what they say, films of them, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longtake import LongTake
from longtake.errors import ModelError, OptionError
from longtake.models.folder import ModelFolder
from longtake.models.load import load_model, load_transformer, read_spec
from longtake.models.places import is_hub_name, list_models, repository_of
from longtake.video import VideoWriter
from nvidia import (
    install_guardrail,
    save_folder,
    save_predict_2,
    save_predict_2_5,
    save_sana,
    tiny_cosmos,
    wide_karras,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

SAVES = {"predict 2": save_predict_2, "predict 2.5": save_predict_2_5, "sana": save_sana}
SMALL: dict[str, Any] = {"num_inference_steps": 4, "steps_per_chunk": 2, "chunk_size": 1, "context_size": 1}
SAID = ("--num-inference-steps", "4", "--steps-per-chunk", "2", "--chunk-size", "1", "--context-size", "1")

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folders(wan_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("nvidia")
    return {name: save(wan_folder, root / name) for name, save in SAVES.items()}


@pytest.mark.parametrize(
    ("name", "schedule", "size", "window", "guidance", "tokens"),
    [
        ("predict 2", "karras", (1280, 704), 20, 8.0, 12),
        ("predict 2.5", "karras-200", (1280, 704), 20, 8.0, 512),
        ("sana", "flow", (832, 480), 21, 6.0, 299),
    ],
)
def test_what_a_folder_says(
    folders: dict[str, Path],
    name: str,
    schedule: str,
    size: tuple[int, int],
    window: int,
    guidance: float,
    tokens: int,
) -> None:
    """Guards families that share a network's class, and defaults without a longtake.json."""
    spec = read_spec(folders[name])
    own = spec.defaults
    assert (spec.schedule, spec.latent_channels, spec.max_prompt_tokens) == (schedule, 4, tokens)
    assert ((own.width, own.height), own.fps, own.guidance_scale) == (size, 16, guidance)
    assert -(-own.num_inference_steps // own.steps_per_chunk) * own.chunk_size + own.context_size == window
    assert own.shift == (7.0 if name == "sana" else 1.0)  # its folder's
    assert spec.text_per_latent and spec.left_out == ()


@pytest.mark.parametrize("name", SAVES)
def test_a_film_of_it(folders: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way to pictures, from a photo on, with a negative prompt."""
    install_guardrail(monkeypatch)
    photo = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    said: dict[str, Any] = {
        "num_frames": 21,
        "width": 32,
        "height": 32,
        "negative_prompt": "a blue bus",
        **SMALL,
    }
    film = LongTake(load_model(folders[name])).generate("a red car", start=photo, **said)
    assert film.shape == (21, 32, 32, 3) and film.std() > 0


def test_a_prompt_that_the_guardrail_blocks(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is filmed."""
    install_guardrail(monkeypatch)
    take = LongTake(load_model(folders["predict 2"]))
    with pytest.raises(OptionError, match="guardrail blocks the prompt"):
        take.generate("a weapon", num_frames=9, width=32, height=32, **SMALL)


def test_no_cosmos_without_the_guardrail(folders: dict[str, Path]) -> None:
    """Its licence ends there; SANA-Video comes without one."""
    for name in ("predict 2", "predict 2.5"):
        with pytest.raises(ModelError, match=rf"{name} .* pip install cosmos-guardrail"):
            load_model(folders[name])
    load_model(folders["sana"])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"extra_pos_embed_type": "learnable"}, "learnt positions"),
        ({"in_channels": 4}, "makes single pictures"),
        ({"img_context_dim_in": 8}, "follows control video"),
        ({"text_embed_dim": 32}, "reads text of 32 numbers, its text encoder makes 16"),
    ],
)
def test_relatives_are_refused(
    wan_folder: Path, tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    """Cosmos 1, Text2Image, Transfer, and parts that do not belong together."""
    with pytest.raises(ModelError, match=reason):
        ModelFolder(save_predict_2(wan_folder, tmp_path / "cosmos", **changed))


def test_other_levels_are_refused(wan_folder: Path, tmp_path: Path) -> None:
    """A folder's scheduler may not say what a film would not follow."""
    folder = save_predict_2(wan_folder, tmp_path / "cosmos")
    place = folder / "scheduler" / "scheduler_config.json"
    said = json.loads(place.read_bytes())
    for key, value in (("use_karras_sigmas", False), ("sigma_max", 200.0), ("shift", 3.0)):
        place.write_text(json.dumps(said | {key: value}))
        with pytest.raises(ModelError, match=key):
            read_spec(folder)
    network = tiny_cosmos(projected=False)
    other = save_folder(wan_folder, tmp_path / "other", transformer=network, scheduler=wide_karras())
    with pytest.raises(ModelError, match="its scheduler is a UniPCMultistepScheduler"):
        read_spec(other)


@pytest.mark.parametrize(
    ("part", "entry", "reason"),
    [
        ("vae", ["diffusers", "AutoencoderKLCosmos"], "learnt positions"),
        ("transformer", ["diffusers", "SanaWMTransformer3DModel"], "camera path"),
    ],
)
def test_others_of_nvidia_are_refused_by_name(
    wan_folder: Path, tmp_path: Path, part: str, entry: list[str], reason: str
) -> None:
    folder = save_predict_2(wan_folder, tmp_path / "cosmos")
    index = json.loads((folder / "model_index.json").read_bytes())
    (folder / "model_index.json").write_text(json.dumps(index | {part: entry}))
    with pytest.raises(ModelError, match=reason):
        ModelFolder(folder)


def test_a_revision_of_the_hub_has_a_name() -> None:
    """Predict 2.5 lies in a branch of its repository."""
    name = next(model.name for model in list_models() if "Predict2.5" in model.name)
    assert is_hub_name(name)
    assert repository_of(name) == ("nvidia/Cosmos-Predict2.5-2B", "diffusers/base/post-trained")
    assert repository_of("Wan-AI/Wan") == ("Wan-AI/Wan", None)
    assert not is_hub_name("a/b@") and not is_hub_name("a/b@../c")


@pytest.mark.parametrize("name", ["predict 2", "sana"])
def test_it_learns(
    cli: Cli, folders: dict[str, Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards `prepare`, `train` whole and as a LoRA, and `generate` with what came of it."""
    install_guardrail(monkeypatch)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    (tmp_path / "film").mkdir()
    (tmp_path / "film" / "one.txt").write_text("a red car")
    with VideoWriter(tmp_path / "film" / "one.mp4", 32, 32, 16, {}) as writer:
        for i in range(129):
            writer.write(np.full((1, 32, 32, 3), i, np.uint8))
    model = ("--model", folders[name])
    code, _, err = cli("prepare", "film", "-o", "data", *model, "--size", "32x32")
    assert code == 0, err
    quick = ("--steps", "2", "--batch-size", "2", "--warmup", "0", *SAID)
    for run, more in (("whole", ()), ("added", ("--lora-rank", "2"))):
        code, _, err = cli("train", *model, "--data", "data", "-o", run, *quick, *more)
        assert code == 0, err
    trained, before = load_transformer(tmp_path / "whole" / "model"), load_transformer(folders[name])
    assert type(trained) is type(before)
    moved = [not torch.equal(a, b) for a, b in zip(trained.parameters(), before.parameters(), strict=True)]
    assert all(moved)
    for i, options in enumerate((("--model", "whole/model"), (*model, "--lora", "added"))):
        code, out, err = cli("generate", "a red car", *options, "--frames", "9", "--json", "-o", f"{i}.mp4")
        assert code == 0, err
        assert json.loads(out)["num_frames"] == 9
