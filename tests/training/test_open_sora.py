"""Fine-tuning Open-Sora's tiny relative: film prepared in groups, batches cut from them, a loss that falls."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from longtake.cli import main
from longtake.models.base import ModelDefaults
from longtake.models.load import load_model, load_transformer, read_spec
from longtake.models.open_sora.model import OpenSoraModel
from longtake.models.text import Text
from longtake.training.data import MANIFEST, Manifest, PreparedFilm, hashes, latents_needed, read_stored
from longtake.training.estimate import estimate
from longtake.training.loss import Window
from longtake.training.options import TrainOptions
from longtake.training.prepare import prepare
from longtake.video import VideoWriter

pytestmark = pytest.mark.slow

SAMPLING = ("--num-inference-steps", "4", "--steps-per-chunk", "2")
QUICK = ("--batch-size", "4", "--warmup", "0", "--schedule", "constant", "--ema", "0")

Cli = Callable[..., str]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs `longtake` in an empty folder, on the processor, and returns what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")

    def run(*arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["longtake", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        output = capsys.readouterr()
        assert not exit_.value.code, output.err
        return output.out

    return run


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two captioned films of 75 frames: 20 latents of four groups, and 7 frames left over."""
    folder = tmp_path_factory.mktemp("film")
    for name, caption in (("one", "a red car"), ("two", "a blue bus driving past")):
        (folder / f"{name}.txt").write_text(caption)
        with VideoWriter(folder / f"{name}.mp4", 32, 32, 24, {}) as writer:
            rows = np.linspace(0, 150, 32).astype(np.uint8)[:, None, None]
            for i in range(75):
                writer.write(np.broadcast_to(rows + np.uint8(i), (1, 32, 32, 3)))
    return folder


@pytest.fixture(scope="module")
def prepared(source: Path, open_sora_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare(source, folder, open_sora_folder, width=32, height=32, min_latents=10, say=lambda line: None)
    return folder


@pytest.fixture(scope="module")
def sampling(open_sora_folder: Path) -> ModelDefaults:
    """The paper's window of two noisy chunks in place of six."""
    return replace(read_spec(open_sora_folder).defaults, num_inference_steps=4, steps_per_chunk=2)


def test_film_is_prepared_in_whole_groups(
    prepared: Path, open_sora_folder: Path, sampling: ModelDefaults
) -> None:
    """Guards the group codec, and the latents that a window needs: no first picture is set apart."""
    clips = read_stored(prepared / MANIFEST, Manifest).clips
    assert [clip.num_latents for clip in clips] == [20, 20]
    assert latents_needed(read_spec(open_sora_folder), sampling) == 15


def test_windows_begin_with_a_group(prepared: Path, open_sora_folder: Path, sampling: ModelDefaults) -> None:
    """Guards latents of one group that would be drawn as parts of two."""
    film = PreparedFilm(prepared, read_spec(open_sora_folder), hashes(open_sora_folder), sampling)
    whole = []
    for clip in film.clips:
        with safe_open(film.folder / clip.shard, framework="pt") as file:
            whole.append(file.get_tensor("latents").float().transpose(0, 1))
    for window, places in (
        (Window("steady", 5, (2, 0), (0, 1), 5), {0, 5}),
        (Window("start", 0, (2, 0), (0, 1), 5), {0, 5, 10}),
        (Window("still", 0, (0,), (0, 1), 5), {0, 5, 10, 15}),
    ):
        drawn, _ = film.batch(window, 60, torch.Generator().manual_seed(0), 0.0)
        found = {
            (clip, start)
            for latents in drawn
            for clip, film_latents in enumerate(whole)
            for start in range(20 - latents.shape[1] + 1)
            if torch.equal(latents, film_latents[:, start : start + latents.shape[1]])
        }
        assert found == {(clip, start) for clip in (0, 1) for start in places}


def test_a_dropped_caption_has_the_tokens_of_the_other(
    prepared: Path, open_sora_folder: Path, open_sora_model: OpenSoraModel, sampling: ModelDefaults
) -> None:
    """Guards the learned empty caption: cut in training as it is cut at sampling."""
    film = PreparedFilm(prepared, read_spec(open_sora_folder), hashes(open_sora_folder), sampling)
    null = open_sora_model.transformer.null_caption
    assert torch.equal(film.null_text.states[0], null)
    window = Window("still", 0, (0,), (0, 1), 5)
    _, text = film.batch(window, 9, torch.Generator().manual_seed(0), 1.0)
    for row, used in zip(text.states, text.mask.sum(dim=-1).tolist(), strict=True):
        assert used in (4, 6) and torch.equal(row[:used], null[:used])


def test_training_learns(cli: Cli, prepared: Path, open_sora_folder: Path) -> None:
    """Guards `longtake train` from end to end: a falling loss, and a result that is a model with its empty caption."""
    out = cli(
        *("train", "--model", open_sora_folder, "--data", prepared, "-o", "run", *QUICK, *SAMPLING),
        *("--steps", "40", "--lr", "3e-3", "--level", "0", "--start", "0", "--save-every", "40"),
    )
    assert out == "run/model\n"
    losses = [json.loads(line)["loss"] for line in Path("run/losses.jsonl").read_text().splitlines()]
    assert sum(losses[-8:]) < 0.6 * sum(losses[:8]), losses
    before, after = load_transformer(open_sora_folder), load_transformer("run/model")
    assert torch.equal(after.null_caption, before.null_caption)
    assert not torch.equal(after.final_layer.linear.weight, before.final_layer.linear.weight)
    cli("generate", "a red car", "--model", "run/model", "--frames", "20", "-o", "film.mp4")


def test_a_lora_fits(cli: Cli, prepared: Path, open_sora_folder: Path) -> None:
    """Guards the names of the layers that a LoRA is put beside, gradient checkpointing, and guidance in the weights."""
    cli(
        *("train", "--model", open_sora_folder, "--data", prepared, "-o", "run", *QUICK, *SAMPLING),
        *("--steps", "2", "--lora-rank", "2", "--gradient-checkpointing", "--guidance", "2"),
    )
    layers = {name.rsplit(".lora_", 1)[0] for name in load_file("run/lora/adapter_model.safetensors")}
    assert len(layers) == 4 * (4 + 4 + 2)  # of four blocks: attention, attention to the caption, perceptron
    fused = load_model(open_sora_folder, lora="run")
    assert isinstance(fused, OpenSoraModel) and fused.spec.defaults.guidance_scale == 1.0


def test_the_estimate(open_sora_folder: Path, sampling: ModelDefaults) -> None:
    """Guards the formula of the activations, which was measured on another network; and sides that are no multiple of
    a patch."""
    options = TrainOptions(batch_size=2, steady=1, start=0, extend=0, drain=0, level=0)
    cost = estimate(open_sora_folder, options, replace(sampling, width=40, height=32))
    network = load_transformer(open_sora_folder)
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        OpenSoraModel.network_velocity(
            network,
            torch.randn(2, 4, 15, 4, 5),
            torch.rand(2, 15),
            Text.of_zero_padded(torch.randn(2, 8, 32)),
            24,
        )
    assert cost.memory["activations"] == pytest.approx(sum(kept.values()), rel=0.1)
    assert cost.tokens_per_step == 2 * 15 * 6
    assert cost.parameters == sum(p.numel() for p in network.parameters())
