"""LoRA: what it trains, that a film made with it follows from it, and what is refused."""

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtake.errors import ModelError
from longtake.models.load import load_model, load_transformer, read_spec
from longtake.models.lora import CONFIG, PREFIX, TARGETS, WEIGHTS
from longtake.options import FilmOptions
from longtake.pipeline import LongTake

SCRIPT = Path(__file__).with_name("tiny_run.py")
OPTIONS = {
    "steps": 3,
    "batch_size": 2,
    "lr": 0.1,
    "warmup": 0,
    "ema": 0,
    "lora_rank": 3,
    "lora_alpha": 6.0,
    "shift": 2.0,
}
LAYER = "blocks.0.attn1.to_q"

module_spec = importlib.util.spec_from_file_location("tiny_run", SCRIPT)
assert module_spec and module_spec.loader
tiny_run = importlib.util.module_from_spec(module_spec)
module_spec.loader.exec_module(tiny_run)


@pytest.fixture(scope="module")
def run(tubelet_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that trained a LoRA. Shared: change nothing in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        folder = tmp_path_factory.mktemp("run") / "snow"
        for _ in tiny_run.trainer(tubelet_folder, folder, **OPTIONS).steps():
            pass
    return folder


def matrices(run: Path) -> dict[str, Tensor]:
    return {key.removeprefix(PREFIX): t for key, t in load_file(run / "lora" / WEIGHTS).items()}


def test_only_the_lora_is_trained(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the frozen network: every matrix of the blocks' attention and feed-forward, and nothing else, moves."""
    trainer = tiny_run.trainer(tubelet_folder, tmp_path, **OPTIONS)
    before = {name: p.detach().clone() for name, p in trainer.network.named_parameters()}
    list(trainer.steps())
    moved = {name for name, p in trainer.network.named_parameters() if not torch.equal(p, before[name])}
    assert moved == trainer.weights.trained.keys() and len(moved) == 2 * 2 * (4 + 4 + 2)
    assert not (tmp_path / "model").exists()


def test_the_frozen_network_takes_half_the_room_in_bf16(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the precision of what is trained and of what is not."""
    trainer = tiny_run.trainer(tubelet_folder, tmp_path, **OPTIONS, bf16=True)
    assert {p.dtype for p in trainer.weights.trained.values()} == {torch.float32}
    assert trainer.network.blocks[0].attn1.to_q.base_layer.weight.dtype == torch.bfloat16
    assert len(list(trainer.steps())) == 3


def test_a_film_with_it_is_one_of_the_merged_weights(run: Path, tubelet_folder: Path) -> None:
    """Guards alpha / rank and every layer: weights merged by hand, and rounded otherwise, give the same film, the model
    alone another."""
    merged = load_model(tubelet_folder)
    pairs = matrices(run)
    with torch.no_grad():
        for key in (key.removesuffix(".lora_A.weight") for key in pairs if "lora_A" in key):
            product = pairs[f"{key}.lora_B.weight"] @ pairs[f"{key}.lora_A.weight"]
            merged.transformer.get_submodule(key).weight += 6.0 / 3 * product  # type: ignore[attr-defined]
    films = [
        take.generate("a red car", num_frames=12, shift=2.0)
        for take in (
            LongTake.from_pretrained(tubelet_folder, lora=run),
            LongTake(merged),
            LongTake.from_pretrained(tubelet_folder),
        )
    ]
    merged_apart, plain_apart = (np.abs(films[0].astype(int) - film) for film in films[1:])
    assert merged_apart.max() <= 1 and merged_apart.mean() < 0.01
    assert plain_apart.max() > 1 and plain_apart.mean() > 0.1


def test_peft_reads_it(run: Path, tubelet_folder: Path) -> None:
    """Guards the layout on disk against the library that it comes from."""
    wrapped = PeftModel.from_pretrained(load_transformer(tubelet_folder), str(run / "lora"))
    wrapped.merge_adapter()
    ours = load_model(tubelet_folder, lora=run).transformer  # type: ignore[attr-defined]
    layer = wrapped.base_model.model.get_submodule(LAYER)
    torch.testing.assert_close(layer.base_layer.weight, ours.get_submodule(LAYER).weight)


def test_a_film_says_which_lora_it_follows_from(run: Path, tubelet_folder: Path) -> None:
    """Guards 'a film is a function of what it says'; and the sampling that the LoRA was trained for."""
    spec = read_spec(tubelet_folder, run)
    digest = hashlib.sha256((run / "lora" / WEIGHTS).read_bytes()).hexdigest()
    film = FilmOptions(prompt="a red car").resolved(spec)
    assert film.metadata["loras"] == [{"name": "snow", "sha256": digest, "weight": 1}]
    assert film.settings.shift == 2.0 == load_model(tubelet_folder, lora=run).spec.defaults.shift
    assert read_spec(tubelet_folder, run / "lora") == spec
    assert asdict(read_spec(tubelet_folder))["loras"] == ()


def test_one_without_sampling_of_its_own_has_the_models(
    run: Path, tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards a LoRA that another trainer made."""
    folder = Path(shutil.copytree(run / "lora", tmp_path / "other"))
    (folder / "longtake.json").unlink()
    spec = read_spec(tubelet_folder, folder)
    assert spec.defaults == read_spec(tubelet_folder).defaults and spec.loras[0].name == "other"


def edit_config(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / CONFIG
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def edit_weights(edit: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        tensors = {key: tensor.clone() for key, tensor in load_file(folder / WEIGHTS).items()}
        save_file(edit(tensors), folder / WEIGHTS)

    return rewrite


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), "no LoRA in"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"pickle"), "cannot be read"),
        (lambda folder: (folder / CONFIG).write_text("[]"), "not a JSON object"),
        (edit_config(use_dora=True), "not that of a plain LoRA"),
        (edit_config(r="3"), "not that of a plain LoRA"),
        (edit_config(peft_type="LOHA"), "not that of a plain LoRA"),
        (edit_config(r=4), r"attn1.to_k turns 24 numbers into 24.*\(3, 24\)"),
        (edit_weights(lambda t: {}), "is empty"),
        (
            edit_weights(lambda t: {key.replace("blocks.0", "blocks.7"): x for key, x in t.items()}),
            "no layer blocks.7",
        ),
        (
            edit_weights(lambda t: {key: x[:, :8].contiguous() for key, x in t.items()}),
            "does not fit this model",
        ),
        (
            edit_weights(lambda t: {key: x for key, x in t.items() if "lora_A" in key}),
            "does not fit this model",
        ),
    ],
)
def test_one_that_does_not_fit_is_refused(
    run: Path, tubelet_folder: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    """Guards against a film with half a LoRA, and against whatever peft would make of the file."""
    folder = Path(shutil.copytree(run / "lora", tmp_path / "spoilt"))
    spoil(folder)
    with pytest.raises(ModelError, match=words) as caught:
        load_model(tubelet_folder, lora=folder)
    assert "\n" not in str(caught.value)


def test_targets_are_the_layers_of_the_blocks(tubelet_folder: Path) -> None:
    """Guards the names of layers against a diffusers that renames them."""
    names = [
        name
        for name, module in load_transformer(tubelet_folder).named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    chosen = [name for name in names if name.endswith(tuple(f".{target}" for target in TARGETS))]
    assert sorted(chosen) == sorted(name for name in names if name.startswith("blocks."))


def test_one_of_few_steps_is_trained_and_filmed_at_its_levels(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards noise levels by hand from a model's folder through training into the LoRA's, and into its films."""
    folder = Path(shutil.copytree(tubelet_folder, tmp_path / "model"))
    levels, own = [1, 0.9, 0.7, 0.4], json.loads((folder / "longtake.json").read_text())
    (folder / "longtake.json").write_text(json.dumps(own | {"sigmas": levels}))
    options = {**OPTIONS, "shift": None}
    trainer = tiny_run.trainer(folder, tmp_path / "few", **options)
    assert trainer.objective.sigmas.tolist() == pytest.approx([*levels, 0])
    list(trainer.steps())
    assert json.loads((tmp_path / "few" / "lora" / "longtake.json").read_text())["sigmas"] == levels
    spec = read_spec(tubelet_folder, tmp_path / "few")
    film = FilmOptions(prompt="a red car").resolved(spec)
    assert film.settings.sigmas == tuple(levels) and "shift" not in film.metadata
