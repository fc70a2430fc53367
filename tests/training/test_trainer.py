"""The trainer on a tiny model: it learns, resumes to the bit, and stops in one line with nothing lost."""

import importlib.util
import json
import math
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file, save_file

from longtake.errors import LongTakeError, ModelError, OptionError, OutputError
from longtake.models.load import read_spec
from longtake.models.text import Text
from longtake.noise import sigma_table
from longtake.pipeline import LongTake
from longtake.training.batches import OWN_CONTEXT_SIGMA, Batch, draw_batch, with_own_context
from longtake.training.loss import Shares
from longtake.training.options import KINDS, TrainOptions
from longtake.training.report import Step
from longtake.training.trainer import Trainer
from portable import in_two_processes

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("tiny_run.py")
QUICK: dict[str, Any] = {"steps": 4, "batch_size": 4, "lr": 1e-2, "warmup": 1, "save_every": 2}
SIGMAS = sigma_table(4, 3.0)
TINY_WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"

spec = importlib.util.spec_from_file_location("tiny_run", SCRIPT)
assert spec and spec.loader
tiny_run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny_run)


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards equal bits against a GPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def train(model: Path, run: Path, **options: Any) -> list[Step]:
    return list(tiny_run.trainer(model, run, **{**QUICK, **options}).steps())


def state(run: Path, step: int) -> dict[str, bytes]:
    """A checkpoint's files, byte for byte."""
    return {file.name: file.read_bytes() for file in (run / "checkpoints" / f"step-{step:06d}").iterdir()}


def assert_alike(one: Step, other: Step) -> None:
    """Fail unless losses and gradients are the same but for rounding, which moves them by 2e-7 and 7e-7 in four steps;
    a learning rate that is a thousandth larger moves them by 1e-4."""
    assert one.loss == pytest.approx(other.loss, rel=1e-5)
    assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-4)


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "losses.jsonl").read_text().splitlines()]


def test_it_learns_two_clips(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the whole loop: loss, gradient, optimizer. Noise alone would leave the loss where it was."""
    steps = train(tubelet_folder, tmp_path, steps=100, batch_size=8, lr=2e-2, level=0, ema=0, save_every=100)
    first, last = (sum(step.loss for step in part) / 20 for part in (steps[:20], steps[-20:]))
    assert last < 0.65 * first
    assert losses(tmp_path) == [step.loss for step in steps]


def test_guidance_becomes_part_of_the_weights(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards --guidance: the loss sees it but where the caption is empty, and the result films without it."""
    plain = train(tubelet_folder, tmp_path / "plain", steps=1, caption_drop=0.0)
    guided = train(tubelet_folder, tmp_path / "guided", steps=1, caption_drop=0.0, guidance=3.0)
    empty = train(tubelet_folder, tmp_path / "empty", steps=1, caption_drop=1.0, guidance=3.0)
    without = train(tubelet_folder, tmp_path / "without", steps=1, caption_drop=1.0)
    assert plain[0].loss != guided[0].loss and empty[0].loss == without[0].loss
    scales = [read_spec(tmp_path / run / "model").defaults.guidance_scale for run in ("plain", "guided")]
    assert scales == [2.5, 1.0]


@in_two_processes
def test_a_killed_run_ends_as_one_that_was_not(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards resuming after a SIGKILL, a step behind a checkpoint: weights, average, optimizer, losses and result,
    equal to the bit."""
    last = 2
    options = {**QUICK, "steps": 8, "accumulation": 2}
    train(tubelet_folder, tmp_path / "whole", **options)
    runs = json.dumps({str(tmp_path / "killed"): options})
    command = [sys.executable, str(SCRIPT), str(tubelet_folder), runs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if line == f"{last}\n":
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "checkpoints" / "step-000008").exists()
    train(tubelet_folder, tmp_path / "killed", **options)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert state(whole, 8) == state(killed, 8)
    for file in ("losses.jsonl", f"model/{TINY_WEIGHTS}"):
        assert (whole / file).read_bytes() == (killed / file).read_bytes()


def test_accumulation_changes_nothing_but_rounding(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the weights of pieces of unequal size, and of unequally many noisy frames."""
    whole = train(tubelet_folder, tmp_path / "whole", batch_size=5)
    pieces = train(tubelet_folder, tmp_path / "pieces", batch_size=5, accumulation=2)
    for pair in zip(pieces, whole, strict=True):
        assert_alike(*pair)


def test_gradient_checkpointing_changes_nothing(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards that the frame-wise blocks can be computed twice."""
    kept = train(tubelet_folder, tmp_path / "kept")
    again = train(tubelet_folder, tmp_path / "again", gradient_checkpointing=True)
    for pair in zip(again, kept, strict=True):
        assert_alike(*pair)


def test_bf16_keeps_weights_and_timesteps_in_float32(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards against timesteps in bfloat16, which are off by up to 2 of 1000."""
    trainer = tiny_run.trainer(tubelet_folder, tmp_path, **QUICK, bf16=True)
    seen: list[torch.dtype] = []
    rope = trainer.network.condition_embedder.timesteps_proj
    rope.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].dtype))
    assert all(math.isfinite(step.loss) for step in trainer.steps())
    assert set(seen) == {torch.float32} == {p.dtype for p in trainer.weights.trained.values()}


def test_the_average_is_the_averages_formula(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the averaged weights: from the first weights on, and off at 0."""
    trainer = tiny_run.trainer(tubelet_folder, tmp_path / "on", **QUICK, ema=0.75)
    expected = [p.detach().clone() for p in trainer.weights.trained.values()]
    for _ in trainer.steps():
        expected = [
            0.75 * mean + 0.25 * p.detach()
            for mean, p in zip(expected, trainer.weights.trained.values(), strict=True)
        ]
    torch.testing.assert_close(list(trainer.weights.average.values()), expected)
    train(tubelet_folder, tmp_path / "off", ema=0)
    files = state(tmp_path / "off", 4)
    assert files["average.safetensors"] == files["weights.safetensors"]


def test_the_result_films_as_it_was_trained_to(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards RUN/model: complete, the averaged weights in the folder's own precision, and the sampling trained for."""
    train(tubelet_folder, tmp_path, num_inference_steps=6, shift=2.0, context_size=2)
    settings = read_spec(tmp_path / "model").defaults
    assert (settings.num_inference_steps, settings.shift, settings.context_size) == (6, 2.0, 2)
    assert replace(read_spec(tmp_path / "model"), name="", defaults=settings) == replace(
        read_spec(tubelet_folder), name="", defaults=settings
    )
    weights = load_file(tmp_path / "model" / TINY_WEIGHTS)
    source = load_file(tubelet_folder / TINY_WEIGHTS)
    average = load_file(tmp_path / "checkpoints" / "step-000004" / "average.safetensors")
    assert {name: t.dtype for name, t in weights.items()} == {name: t.dtype for name, t in source.items()}
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, average[name].to(tensor.dtype), rtol=0, atol=0)
    assert LongTake.from_pretrained(tmp_path / "model").generate("a red car", num_frames=8).shape == (
        8,
        32,
        48,
        3,
    )


def test_a_wan_learns_its_sampling(wan_folder: Path, tmp_path: Path) -> None:
    """Guards a folder of the hub's, which has no longtake.json until it is trained."""
    sampling = {"num_inference_steps": 4, "steps_per_chunk": 2, "context_size": 1}
    train(wan_folder, tmp_path, steps=1, **sampling)
    settings = asdict(read_spec(tmp_path / "model").defaults)
    assert settings == asdict(read_spec(wan_folder).defaults) | sampling
    take = LongTake.from_pretrained(tmp_path / "model")
    assert take.generate("a red car", num_frames=5, width=48, height=32).shape == (5, 32, 48, 3)


def test_what_a_person_sees(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards TensorBoard's curves, for each kind of window and tenth of noise, and its strips of film."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    steps = train(tubelet_folder, tmp_path, sample_every=3, sample_prompts=["a red car", "a blue bus"])
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    curves = {tag: [event.step for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}
    for tag in ("loss/all", "train/grad_norm", "train/lr", "train/latents_per_second"):
        assert curves[tag] == [0, 1, 2, 3]
    for tag, drawn in [(f"loss/{step.kind}", step.step) for step in steps] + [
        (f"sigma/{low / 10:.1f}", step.step) for step in steps for low in step.levels
    ]:
        assert drawn in curves[tag]
    assert [image.step for image in board.Images("film")] == [3, 4]
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "step-000003.png",
        "step-000004.png",
    ]
    assert (board.Images("film")[0].width, board.Images("film")[0].height) == (8 * 48, 2 * 32)


def test_a_finished_run_takes_no_steps(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards a command that is given once more, and that only what does not matter may differ then."""
    train(tubelet_folder, tmp_path)
    before = state(tmp_path, 4)
    assert train(tubelet_folder, tmp_path, accumulation=2, save_every=1) == []
    assert state(tmp_path, 4) == before


@pytest.mark.parametrize(
    ("options", "words"), [({"seed": 1}, "its seed is 0, not 1"), ({"shift": 9}, r"shift is 3\.0, not 9")]
)
def test_another_runs_folder_is_refused(
    tubelet_folder: Path, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    """Guards a run against being continued as what it is not, in one line."""
    train(tubelet_folder, tmp_path, steps=2)
    before = state(tmp_path, 2)
    with pytest.raises(OutputError, match=words) as caught:
        train(tubelet_folder, tmp_path, **{"steps": 2, **options})
    assert "\n" not in str(caught.value) and state(tmp_path, 2) == before


def test_other_data_is_refused(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards against going on with film that has been prepared anew."""
    known = (
        tubelet_folder,
        tiny_run.MemoryFilm(read_spec(tubelet_folder).defaults),
        tmp_path,
        TrainOptions(**QUICK),
    )
    Trainer(*known, {"data": "a"})
    with pytest.raises(OutputError, match="its data is a, not b"):
        Trainer(*known, {"data": "b"})


def test_other_weights_of_the_same_name_are_refused(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards a run against going on from another model whose folder is called the same; one elsewhere will do."""
    options = {"steps": 2, "lora_rank": 2}
    moved, other = (shutil.copytree(tubelet_folder, tmp_path / name / tubelet_folder.name) for name in "ab")
    train(tubelet_folder, tmp_path / "run", **options)
    before = state(tmp_path / "run", 2)
    assert train(moved, tmp_path / "run", **options) == []
    weights = load_file(other / TINY_WEIGHTS)
    save_file({name: tensor + 1 for name, tensor in weights.items()}, other / TINY_WEIGHTS)
    with pytest.raises(OutputError, match=r"another run: its weights is .*; give another folder") as caught:
        train(other, tmp_path / "run", **options)
    assert "\n" not in str(caught.value) and state(tmp_path / "run", 2) == before


def test_weights_that_cannot_be_loaded_claim_nothing(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards a run against being tied for ever to half a model."""
    half = shutil.copytree(tubelet_folder, tmp_path / "half")
    (half / TINY_WEIGHTS).write_bytes(b"half")
    with pytest.raises(ModelError):
        train(half, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_with_a_model_in_it_is_refused(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards somebody's model folder that happens to be called as the result would be."""
    (tmp_path / "model").mkdir()
    with pytest.raises(OutputError, match=r"holds a model, but no config\.json"):
        train(tubelet_folder, tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]


def test_a_loss_that_is_no_number_stops_the_run(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards that nothing is learnt from it: the step and the last good checkpoint are named, and nothing is lost."""

    class Spoilt(tiny_run.MemoryFilm):  # type: ignore[name-defined]
        def batch(self, *arguments: Any) -> Any:
            latents, text = super().batch(*arguments)
            return (latents / 0 if trainer.step == 3 else latents), text

    trainer = tiny_run.trainer(tubelet_folder, tmp_path, Spoilt, **QUICK)
    with pytest.raises(
        LongTakeError, match=r"step 3: the loss is nan.*last checkpoint is .*step-000002"
    ) as caught:
        list(trainer.steps())
    assert "\n" not in str(caught.value) and len(losses(tmp_path)) == 3
    assert len(train(tubelet_folder, tmp_path)) == 2


def test_a_full_disk_leaves_the_last_checkpoint(
    tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a checkpoint that finds no room: one line, and the run goes on from the one before once there is room."""
    save_file, room = (
        safetensors.torch.save_file,
        6,
    )  # the result, three files of a checkpoint; the result, one file

    def filling(tensors: Any, path: Path, metadata: Any = None) -> None:
        nonlocal room
        room -= 1
        if room < 0:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save_file(tensors, path, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", filling)
        with pytest.raises(OutputError, match=r"No space left.*last checkpoint is .*step-000002") as caught:
            train(tubelet_folder, tmp_path)
    assert "\n" not in str(caught.value)
    assert len(train(tubelet_folder, tmp_path)) == 2


def test_a_batch_is_a_function_of_the_step(tubelet_folder: Path) -> None:
    """Guards what resuming and several processes stand on; and that pieces make up the batch."""
    options = TrainOptions(batch_size=5, context_noise=0.3)
    film = tiny_run.MemoryFilm(read_spec(tubelet_folder).defaults)
    one, same, next_ = (draw_batch(film, options, SIGMAS, step) for step in (3, 3, 4))
    for made in (same, Batch(**{**vars(one), "text": Text.cat([piece.text for piece in one.pieces(2)])})):
        assert torch.equal(one.text.states, made.text.states) and torch.equal(one.text.mask, made.text.mask)
    for name in ("latents", "sigma", "noise"):
        assert torch.equal(getattr(one, name), getattr(same, name))
        assert torch.equal(torch.cat([getattr(piece, name) for piece in one.pieces(2)]), getattr(one, name))
    assert one.window == same.window and not torch.equal(one.text.states, next_.text.states)
    assert sum(piece.num_noisy for piece in one.pieces(2)) == one.num_noisy


def test_own_context_is_one_pass_of_the_model(tubelet_folder: Path) -> None:
    """Guards the experiment: a perfect model gives the context back, a dull one leaves noise; the rest is untouched."""
    options = TrainOptions(batch_size=5, own_context=1.0, start=0, still=0, context_noise=1)
    film = tiny_run.MemoryFilm(read_spec(tubelet_folder).defaults)
    batch = draw_batch(film, options, SIGMAS, 0)
    context = batch.window.context
    assert batch.own is not None and context == 1 and batch.own.max() < OWN_CONTEXT_SIGMA
    perfect = with_own_context(lambda x, s, t: (batch.noise - batch.latents)[:, :, :context], batch)
    torch.testing.assert_close(perfect.latents, batch.latents)
    dull = with_own_context(lambda x, s, t: torch.zeros_like(x), batch)
    assert not torch.allclose(dull.latents[:, :, :context], batch.latents[:, :, :context])
    assert torch.equal(dull.latents[:, :, context:], batch.latents[:, :, context:])
    never = draw_batch(film, options.model_copy(update={"own_context": 0.0}), SIGMAS, 0)
    assert never.own is None and with_own_context(lambda x, s, t: x, never) is never


def test_a_run_with_its_own_context_learns_on(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the experiment inside the loop: its pass leaves no gradient behind."""
    assert len(train(tubelet_folder, tmp_path, own_context=1.0)) == 4


def test_options_start_from_the_losss_shares() -> None:
    """Guards two lists of defaults against falling apart."""
    options = TrainOptions()
    assert Shares(**{kind: getattr(options, kind) for kind in KINDS}) == Shares()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps should be"),
        ({"lr": float("nan")}, "lr should be"),
        ({"ema": 1}, "ema should be"),
        ({"keep": 1}, "keep should be"),
        ({"schedule": "linear"}, "schedule should be"),
        ({"jitter": 2}, "jitter should be"),
        ({"rank": 4}, "no option rank"),
        ({"steps_per_chunk": 5}, "steps_per_chunk must lie in 1 to"),
        (dict.fromkeys(KINDS, 0), "every share of windows is 0"),
        ({"batch_size": 1, "accumulation": 2}, "batch_size is 1, but 1 processes take 2 pieces"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    tubelet_folder: Path, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    """Guards every bound that has a reason of its own."""
    with pytest.raises(OptionError, match=words) as caught:
        train(tubelet_folder, tmp_path, **options)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("USE_FSDP", "true", "--shard"),
        ("GRADIENT_ACCUMULATION_STEPS", "4", "--accumulation"),
        ("MIXED_PRECISION", "bf16", "--bf16"),
        ("MIXED_PRECISION", "fp16", "--bf16"),
        ("MIXED_PRECISION", "fp8", "--bf16"),
    ],
)
def test_accelerates_own_settings_are_refused(
    tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, instead: str
) -> None:
    """Guards against settings of accelerate's that would do nothing, or make gradients a quarter as long, unsaid."""
    monkeypatch.setenv(f"ACCELERATE_{name}", value)
    with pytest.raises(OptionError, match=f"give {instead} in place of .*ACCELERATE_{name}={value}"):
        train(tubelet_folder, tmp_path)
    assert not list(tmp_path.iterdir())


def test_accelerates_own_defaults_change_nothing(
    tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards what accelerate launch sets by itself, and bfloat16 that both ask for."""
    for name, value in {
        "USE_FSDP": "false",
        "GRADIENT_ACCUMULATION_STEPS": "1",
        "MIXED_PRECISION": "no",
    }.items():
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    assert len(train(tubelet_folder, tmp_path / "plain", steps=1)) == 1
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert len(train(tubelet_folder, tmp_path / "bf16", steps=1, bf16=True)) == 1
