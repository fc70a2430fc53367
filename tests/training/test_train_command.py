"""`longtake train` on real video files: prepared, trained, filmed with; and its one-line errors."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file

from longtake.models.load import read_spec
from longtake.models.wan.model import per_frame_timesteps
from longtake.models.weights import OF_DIFFUSERS
from longtake.training.estimate import estimate
from longtake.training.options import TrainOptions
from longtake.training.trainer import Trainer
from longtake.video import VideoWriter, probe

pytestmark = pytest.mark.slow

QUICK = (
    *("--steps", "2", "--batch-size", "2", "--save-every", "1", "--warmup", "0"),
    *("--sample-every", "0"),
)


Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards equal results against a GPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two captioned video files of two seconds. Shared: change nothing in it."""
    folder = tmp_path_factory.mktemp("film")
    for name, caption in (("one", "a red car"), ("two", "a blue bus")):
        (folder / f"{name}.txt").write_text(caption)
        with VideoWriter(folder / f"{name}.mp4", 48, 32, 24, {}) as writer:
            rows = np.linspace(0, 200, 32).astype(np.uint8)[:, None, None]
            for i in range(48):
                writer.write(np.broadcast_to(rows + np.uint8(i), (1, 32, 48, 3)))
    return folder


@pytest.fixture(scope="module")
def prepared(film: Path, tubelet_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, prepared. Shared: change nothing in it."""
    from longtake.training.prepare import prepare

    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare(film, folder, tubelet_folder)
    return folder


def test_from_video_files_to_a_film(cli: Cli, film: Path, tubelet_folder: Path) -> None:
    """Guards the whole way, twice: a run, the same command on the finished run, and a film from its model."""
    command = ("train", "--model", tubelet_folder, "--data", film, "-o", "run", *QUICK)
    first, again = cli(*command), cli(*command)
    assert (first.code, first.out, first.err) == (0, "run/model\n", "")
    assert (again.code, again.out, again.err) == (
        0,
        "run/model\n",
        "run is finished: all its 2 steps are taken\n",
    )
    made = cli("generate", "a red car", "--frames", "8", "--model", "run/model", "-o", "film.mp4")
    assert made.code == 0 and probe("film.mp4").num_frames == 8
    assert read_spec("run/model").defaults == read_spec(tubelet_folder).defaults


def test_a_lora_is_filmed_with(cli: Cli, prepared: Path, tubelet_folder: Path) -> None:
    """Guards --lora-rank, --lora, and what the film says of it."""
    trained = cli(
        "train", "--model", tubelet_folder, "--data", prepared, "-o", "run", *QUICK, "--lora-rank", "2"
    )
    assert (trained.code, trained.out) == (0, "run/lora\n")
    for command in (("generate", "a red car", "-o", "film.mp4"), ("plan",)):
        result = cli(*command, "--frames", "8", "--model", tubelet_folder, "--lora", "run")
        assert result.code == 0, result.err
    assert probe("film.mp4").metadata["loras"][0]["name"] == "run"


def test_every_option_reaches_the_run(cli: Cli, prepared: Path, tubelet_folder: Path) -> None:
    """Guards the options that are made from TrainOptions: numbers, words, switches and lists."""
    result = cli(
        *("train", "--model", tubelet_folder, "--data", prepared, "-o", "run", *QUICK),
        *("--schedule", "constant", "--gradient-checkpointing", "--ema", "0.5", "--shift", "2"),
        *("--sample-prompts", "a red car", "--sample-prompts", "a bus"),
    )
    assert result.code == 0, result.err
    config = json.loads(Path("run/config.json").read_text())
    told = (
        "schedule",
        "gradient_checkpointing",
        "ema",
        "shift",
        "sample_prompts",
        "steps",
        "bf16",
        "width",
        "fps",
    )
    assert [config[key] for key in told] == [
        "constant",
        True,
        0.5,
        2.0,
        ["a red car", "a bus"],
        2,
        False,
        48,
        24.0,
    ]
    assert len(config["data"]) == 64


def test_strips_show_the_films_own_captions(cli: Cli, prepared: Path, tubelet_folder: Path) -> None:
    """Guards the plain command, which drew no strips; and a run that goes on with other prompts."""
    command = ("train", "--model", tubelet_folder, "--data", prepared, "-o", "run", *QUICK[:-2])
    assert cli(*command).code == 0
    assert [path.name for path in Path("run/samples").iterdir()] == ["step-000002.png"]
    assert json.loads(Path("run/config.json").read_text())["sample_prompts"] == ["a red car", "a blue bus"]
    assert cli(*command, "--sample-prompts", "a bus").code == 0


@pytest.mark.parametrize("ready", [True, False])
def test_dry_run_tells_and_writes_nothing(
    cli: Cli, film: Path, prepared: Path, tubelet_folder: Path, tmp_path: Path, ready: bool
) -> None:
    """Guards the plan of a run: with prepared film, too little for a step, and with film that is not prepared."""
    data = prepared if ready else film
    wide = (*QUICK[:2], *QUICK[4:], "--batch-size", "24")
    result = cli("train", "--model", tubelet_folder, "--data", data, "-o", "run", *wide, "--dry-run")
    assert (result.code, result.err) == (0, "")
    for words in ("steady", "3 to 3 latents", "24 windows", "are trained", "GB a process: weights"):
        assert words in result.out
    little = "epoch      0.37 steps: 2 clips, 24 latents\n"
    assert (
        little if ready else "epoch      its steps are known once the 2 clips are prepared\n"
    ) in result.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "missing"], "no folder missing"),
        (["--steps", "many"], "'--steps': Input should be a valid integer"),
        (["--jitter", "-1"], "jitter should be"),
        (["--schedule", "linear"], "'linear' is not one of"),
        (["--context-size", "20"], "a training window takes 88 frames (3.667 s at 24 fps)"),
        (["--steps-per-chunk", "9"], "steps_per_chunk must lie in 1 to"),
        (["--model", "missing"], "no model folder missing"),
        (["--sample-prompts", "a car " * 40], "the prompt is 80 tokens long"),
        (["--sample-prompts", " "], "the prompt is empty"),
        (["--lenght", "3"], "--lenght"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    cli: Cli, prepared: Path, tubelet_folder: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    """Guards exit code 2, one line, and an untouched folder."""
    given = {"--data": prepared, "--model": tubelet_folder} | dict(
        zip(arguments[::2], arguments[1::2], strict=True)
    )
    result = cli("train", "-o", "run", *QUICK[2:], *(str(word) for pair in given.items() for word in pair))
    assert result.code == 2 and words in result.err and result.err.count("\n") == 1 and result.out == ""
    assert not list(tmp_path.iterdir())


def test_film_for_another_autoencoder_is_refused(
    cli: Cli, prepared: Path, tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards latents of a VAE that the model does not have."""
    other = Path(shutil.copytree(tubelet_folder, tmp_path / "other"))
    config = other / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"latents_mean": [0.0] * 4}))
    result = cli("train", "--model", other, "--data", prepared, "-o", "run", *QUICK)
    assert result.code == 2 and "autoencoder" in result.err and not (tmp_path / "run").exists()


def test_many_processes_want_prepared_film_and_speak_once(
    cli: Cli, film: Path, tubelet_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards film against being prepared by two processes at once, and the terminal against each one's complaint."""
    command = ("train", "--model", tubelet_folder, "--data", film, "-o", "run", *QUICK)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, lines in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        result = cli(*command)
        assert result.code == 2 and result.err.count("\n") == lines
        assert rank == "1" or f"longtake prepare {film}" in result.err


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", '{"model": "another"}', "is another run: its model is another"),
        ("model", "", "holds a model"),
    ],
)
def test_another_runs_folder_is_refused_before_film_is_prepared(
    cli: Cli, film: Path, tubelet_folder: Path, tmp_path: Path, file: str, content: str, words: str
) -> None:
    """Guards the hours that preparing takes, and a folder that is not ours against film in it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / file).write_text(content)
    result = cli("train", "--model", tubelet_folder, "--data", film, "-o", "run", *QUICK)
    assert result.code == 2 and words in result.err and result.err.count("\n") == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == [file]


@pytest.mark.parametrize(("presses", "kept"), [(1, 2), (2, None)])
def test_ctrl_c_says_how_to_go_on(
    cli: Cli,
    prepared: Path,
    tubelet_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    presses: int,
    kept: int | None,
) -> None:
    """Guards Ctrl-C in the second of three steps: exit 130, the step ended and kept unless it is pressed twice, and the
    run ends as one that was not stopped when it is given again."""
    quick = ("--model", tubelet_folder, "--data", prepared, *QUICK[2:4], *QUICK[6:])
    command = ("train", *quick, "--steps", "3", "--save-every", "3", "-o", "run")
    learn = Trainer._learn

    def interrupted(trainer: Trainer, step: int) -> object:
        for _ in range(presses if step == 1 else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return learn(trainer, step)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_learn", interrupted)
        result = cli(*command)
    assert (result.code, result.out) == (130, "")
    first, second = result.err.splitlines()
    assert first == "stopping after this step; Ctrl-C once more to lose it"
    where = f"stopped after {kept} steps: give" if kept else "stopped: give"
    assert second.startswith(f"{where} the same command again, and run goes on")
    saved = [path.name for path in Path("run").glob("checkpoints/*")]
    assert saved == ([f"step-{kept:06d}"] if kept else [])
    assert cli(*command).out == "run/model\n"
    assert cli("train", *quick, "--steps", "3", "--save-every", "3", "-o", "whole").out == "whole/model\n"
    ends = [load_file(f"{run}/model/transformer/{OF_DIFFUSERS}") for run in ("run", "whole")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_missing_extra_is_named(
    cli: Cli, prepared: Path, tubelet_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the hint for those who installed longtake without its extra."""
    monkeypatch.delitem(sys.modules, "longtake.training.trainer")
    monkeypatch.delitem(sys.modules, "longtake.training.report")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    result = cli("train", "--model", tubelet_folder, "--data", prepared, "-o", "run", *QUICK)
    assert result.code == 2 and "pip install 'longtake[train]'" in result.err and result.err.count("\n") == 1


def test_the_estimate_is_near_what_is_kept(tubelet_folder: Path) -> None:
    """Guards the formula of the activations, and parameters counted without weights, against a network that runs.

    Pictures are large, as captions and timesteps, which a step holds too, are not counted.
    """
    sampling = replace(read_spec(tubelet_folder).defaults, width=256, height=192)
    options = TrainOptions(batch_size=2, steady=1, start=0, extend=0, drain=0, level=0)
    cost = estimate(tubelet_folder, options, sampling)
    network = per_frame_timesteps(
        WanTransformer3DModel.from_pretrained(tubelet_folder, subfolder="transformer")
    )
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
        network(torch.randn(2, 4, 3, 24, 32), torch.rand(2, 3), torch.randn(2, 12, 16), return_dict=False)
    assert cost.memory["activations"] == pytest.approx(sum(kept.values()), rel=0.1)
    assert cost.parameters == cost.trained == sum(p.numel() for p in network.parameters())
    assert cost.tokens_per_step == 2 * 3 * 12 * 16 and cost.kinds == {"steady": (1.0, 3, 3)}
    smaller = estimate(
        tubelet_folder,
        TrainOptions(lora_rank=2, bf16=True, shard=True, gradient_checkpointing=True),
        sampling,
        2,
    )
    assert smaller.trained < cost.trained < smaller.parameters
    assert all(
        smaller.memory[name] < cost.memory[name] for name in ("weights", "gradients", "optimizer", "average")
    )
