"""Ladder distillation: its target in closed form, the student's own film against the sampler, and runs of it."""

import importlib.util
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from filming import chunks_of
from longtake.errors import OptionError, OutputError
from longtake.models.base import ModelDefaults, ModelSpec
from longtake.models.load import load_model, load_transformer, read_spec
from longtake.models.text import Text
from longtake.noise import sigma_table
from longtake.pipeline import LongTake
from longtake.schedules import karras
from longtake.training.distil import Distilling, OwnBatch
from longtake.training.loss import levels
from longtake.training.objectives import velocity_of
from longtake.training.options import DistilOptions
from longtake.training.prepare import prepare
from longtake.video import probe

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {"steps": 4, "batch_size": 4, "lr": 1e-2, "warmup": 1, "save_every": 4}
WAN = ("WanTransformer3DModel", "flow_prediction", 24.0, torch.device("cpu"), False)
EIGHT = ModelDefaults(
    width=48,
    height=32,
    fps=24,
    num_inference_steps=8,
    steps_per_chunk=1,
    chunk_size=1,
    context_size=0,
    shift=2.0,
    guidance_scale=1.0,
)
SPEC = ModelSpec("teacher", 4, 8, 4, 4, 8, 12, EIGHT)
TABLE = sigma_table(8, 2.0).double()

module_spec = importlib.util.spec_from_file_location("tiny_run", Path(__file__).with_name("tiny_run.py"))
assert module_spec and module_spec.loader
tiny_run = importlib.util.module_from_spec(module_spec)
module_spec.loader.exec_module(tiny_run)

Network = Callable[[Tensor, Tensor, Text], Tensor]
Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards equal bits against a GPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def distilling(
    teacher: Network, defaults: ModelDefaults = EIGHT, prediction: str = "flow_prediction", **options: Any
) -> Distilling:
    """An objective whose teacher is a formula of (latents, sigma, text)."""
    spec, wanted = replace(SPEC, defaults=defaults, prediction=prediction), DistilOptions(**options)
    return Distilling(teacher, spec, tiny_run.MemoryFilm(wanted.sampling(spec)), wanted)


def exact(teacher: Network, defaults: ModelDefaults = EIGHT, **options: Any) -> Distilling:
    """The same in float64."""
    made = distilling(teacher, defaults, **options)
    made.table = made.table.double()
    return made


def wide(sigma: Tensor) -> Tensor:
    return sigma[:, None, :, None, None]


def places() -> Tensor:
    """Context, rungs and what lies between them, up to near the end: two windows of six latents."""
    return torch.tensor([[4, 3.7, 3, 2.4, 1, 0], [4, 3, 2, 1, 0.3, 0]], dtype=torch.float64)


def window() -> Tensor:
    return torch.randn(2, 3, 6, 2, 2, dtype=torch.float64)


def text(value: float = 1.0) -> Text:
    return Text.of_zero_padded(torch.full((2, *tiny_run.TEXT), value))


def test_a_constant_flow_is_its_own_target() -> None:
    """A teacher that goes one way at every level: the same way, and nothing where a frame is clean."""
    way = window()
    target = exact(lambda x, s, t: way).target(window(), places(), text())
    torch.testing.assert_close(target[:, :, 1:], way[:, :, 1:].double())
    assert not target[:, :, 0].any()


def test_the_student_of_a_straight_flow_is_its_teacher() -> None:
    """Film that is one point, v = (x - z) / sigma: lines, which two Euler steps follow exactly, on to the end."""
    point, x, place = 0.7, window(), places()
    made = exact(lambda x, s, t: (x - point) / wide(s).clamp_min(1e-9))
    sigma = levels(2 * place, made.table)
    target = made.target(x, place, text())
    torch.testing.assert_close(target[:, :, 1:], ((x - point) / wide(sigma))[:, :, 1:])


def gaussian(x: Tensor, sigma: Tensor, mean: float = 0.4, spread: float = 1.5) -> Tensor:
    """The exact velocity E[noise - data | x] where every number of the film is drawn from N(mean, spread²)."""
    variance = ((1 - sigma) * spread) ** 2 + sigma**2
    return (sigma - (1 - sigma) * spread**2) / variance * (x - (1 - sigma) * mean) - mean


def test_two_steps_by_hand() -> None:
    """Rungs of the student are every second entry of the teacher's table; in between is the entry between; the
    target is the whole way over the whole gap. By hand in float64, for a film of Gaussian numbers."""
    made = exact(lambda x, s, t: gaussian(x, wide(s)))
    place = torch.tensor([[4.0, 3, 2, 1, 0, 0]] * 2, dtype=torch.float64)
    x = window()
    target = made.target(x, place, text())
    for frame, p in enumerate([3, 2, 1, 0, 0], start=1):
        a, b, c = TABLE[2 * p : 2 * p + 3]
        half = x[:, :, frame] + (b - a) * gaussian(x[:, :, frame], a)
        y = half + (c - b) * gaussian(half, b)
        torch.testing.assert_close(target[:, :, frame], (y - x[:, :, frame]) / (c - a))


def test_between_the_rungs_the_way_is_halved() -> None:
    """At a jittered place p the stops are p, p + 1/2 and p + 1 on the teacher's table, or the end if that is nearer."""
    seen: list[Tensor] = []

    def teacher(x: Tensor, sigma: Tensor, t: Text) -> Tensor:
        seen.append(sigma[0])
        return x

    made = exact(teacher)
    made.target(window(), torch.tensor([[4, 3.7, 3, 2.4, 1, 0]] * 2, dtype=torch.float64), text())
    between = torch.tensor([[0, 0.4, 0, 0.8, 0, 0], [0, 0.7, 0, 0.8, 0, 0]])
    below = [[8, 7, 6, 4, 2, 0], [8, 7, 7, 5, 3, 1]]
    end = torch.cat([TABLE, TABLE.new_zeros(1)])
    for sigma, rungs, share in zip(seen, below, between, strict=True):
        torch.testing.assert_close(sigma, torch.lerp(end[rungs], end[[r + 1 for r in rungs]], share.double()))


def test_many_small_steps_are_the_exact_flow() -> None:
    """256 steps of the teacher made one: where the ordinary differential equation itself ends, nearly."""
    many = replace(EIGHT, num_inference_steps=512, steps_per_chunk=256)
    made = exact(lambda x, s, t: gaussian(x, wide(s)), many, num_inference_steps=2, chunk_size=1)
    assert made.micro_steps == 256
    x, place = window(), torch.tensor([[2.0, 1, 1, 1, 0, 0]] * 2, dtype=torch.float64)
    target = made.target(x, place, text())
    sigma, then = (levels(256 * p, made.table) for p in (place, (place + 1).clamp_max(2)))

    def spread(s: Tensor) -> Tensor:
        return (((1 - s) * 1.5) ** 2 + s**2).sqrt()

    scaled = (x - wide(1 - sigma) * 0.4) * wide(spread(then) / spread(sigma))
    mean = (wide(1 - then) * 0.4 + scaled - x)[:, :, 1:] / wide(then - sigma)[:, :, 1:]
    torch.testing.assert_close(target[:, :, 1:], mean, atol=0.02, rtol=0)


def test_the_teacher_is_guided_as_it_is_filmed_with() -> None:
    """empty + scale * (prompt - empty) in every step; the result, which learns that, is filmed without."""
    made = exact(
        lambda x, s, t: t.states[:, 0, 0].view(-1, 1, 1, 1, 1).expand_as(x),
        replace(EIGHT, guidance_scale=3.0),
    )
    made.null_text = text(0.5)[:1]
    target = made.target(window(), places(), text(2.0))
    torch.testing.assert_close(target[:, :, 1:], torch.full_like(target[:, :, 1:], 0.5 + 3 * (2 - 0.5)))
    assert made.film.sampling.guidance_scale == 1


def test_errors_at_low_sigma_count_as_in_training() -> None:
    """A student that is off by one in velocity everywhere: 1 a frame, and for one that predicts the sample less below
    the last level of its own table, (sigma / least)² of it."""
    for prediction, least in (("flow_prediction", 0.0), ("sample", float(sigma_table(4, 2.0)[-2]))):
        made = distilling(lambda x, s, t: 0 * x, prediction=prediction, own_film=0, level=1)
        piece = made.draw(0)
        errors, noisy = made.errors(lambda x, s, t: torch.ones_like(x), piece)
        weight = (piece.sigma / least).clamp_max(1).square() if least else torch.ones_like(piece.sigma)
        torch.testing.assert_close(errors, weight)
        assert noisy.all() and bool(least) == bool((errors < 1).any())


def test_the_students_rungs_are_those_of_the_sampler() -> None:
    """What is trained are the levels that filming passes through; steps of a table that have no exact halves too."""
    for steps, shift in ((8, 2.0), (6, 3.0), (50, 5.0)):
        made = distilling(
            lambda x, s, t: x, replace(EIGHT, num_inference_steps=steps, shift=shift), chunk_size=1
        )
        torch.testing.assert_close(made.sigmas, sigma_table(steps // 2, shift))


@pytest.mark.parametrize(("per_chunk", "chunk_size"), [(1, 1), (1, 2), (2, 1), (3, 1)])
@pytest.mark.parametrize("passes", [1, 2, 3])
def test_the_students_own_film_is_the_samplers(per_chunk: int, chunk_size: int, passes: int) -> None:
    """From pure noise on, a window of the student's own is what progressive_denoise shows the network at that pass; and
    from film on, it goes on as that does."""
    made = distilling(lambda x, s, t: x, steps_per_chunk=per_chunk, chunk_size=chunk_size)

    def student(x: Tensor, sigma: Tensor, text: Text | None) -> Tensor:
        level = sigma[:, None, :, None, None] if sigma.ndim == 2 else sigma[:, None, None]
        return torch.sin(x + level) + x.mean(dim=2, keepdim=True)

    kept = [k for k in range(-(-4 // per_chunk)) if passes - k * per_chunk >= 0]
    steps = tuple(passes - k * per_chunk for k in kept)
    piece = made.draw(0)
    assert isinstance(piece, OwnBatch)
    made.table = made.table.double()
    shape = (3, 4, len(steps) * chunk_size, 2, 2)
    noise = torch.randn(shape, dtype=torch.float64)
    piece = replace(
        piece,
        window=replace(piece.window, steps=steps, context=0, chunk_size=chunk_size),
        latents=torch.full(shape, math.nan, dtype=torch.float64),
        noise=noise,
        text=piece.text[:3],
        passes=passes,
    )
    shown: list[Tensor] = []

    def recorded(x: Tensor, sigma: Tensor, first: int) -> Tensor:
        shown.append(x)
        return student(x, sigma, None)

    list(
        chunks_of(
            recorded,
            lambda k: noise[:, :, k * chunk_size : (k + 1) * chunk_size],
            made.sigmas,
            len(steps),
            per_chunk,
        )
    )
    clean = replace(piece, latents=torch.zeros(shape, dtype=torch.float64))
    own = made.filmed(student, clean, torch.arange(3))
    torch.testing.assert_close(own, shown[passes])


def test_own_film_keeps_its_context_and_its_rows() -> None:
    """Context is the clip's and is shown clean; windows that are not the student's own are noised film."""
    made = distilling(
        lambda x, s, t: x,
        replace(EIGHT, context_size=2),
        own_ramp=0.0,
        own_film=0.5,
        level=0,
        chunk_size=1,
    )
    piece = next(p for p in map(made.draw, range(1, 99)) if p.window.context and p.own_film.any())  # type: ignore[attr-defined]
    assert isinstance(piece, OwnBatch) and not piece.own_film.all() and piece.passes

    def student(x: Tensor, sigma: Tensor, text: Text) -> Tensor:
        assert torch.equal(sigma[:, :2], torch.zeros_like(sigma[:, :2])) and (sigma[:, 2:] > 0).all()
        assert torch.equal(x[:, :, :2].float(), piece.latents[piece.own_film][:, :, :2])
        assert torch.equal(text.states, piece.text.states[piece.own_film])
        return torch.ones_like(x)

    latents, real = made.window(student, piece), made.window(student, replace(piece, passes=0))
    same = (latents == real).flatten(1).all(1)
    assert torch.equal(same, ~piece.own_film)
    assert torch.equal(latents[:, :, :2].float(), piece.latents[:, :, :2])


def test_each_latent_keeps_its_own_text_while_the_window_grows() -> None:
    """Guards a caption a latent: a pass over the first latents is told of those, and so is the teacher."""
    told: list[tuple[int, Tensor]] = []

    def network(x: Tensor, sigma: Tensor, text: Text) -> Tensor:
        told.append((x.shape[2], text.states[0, :, 0, 0]))
        return torch.zeros_like(x)

    made = distilling(network, own_ramp=0, own_film=1, steady=1, start=0, extend=0, drain=0, level=0)
    piece = next(piece for piece in map(made.draw, range(9)) if piece.passes == 3)  # type: ignore[attr-defined]
    places = torch.arange(8.0)[:, None, None].expand(len(piece.text), 8, *tiny_run.TEXT)
    made.errors(network, replace(piece, text=Text.of_zero_padded(places)))
    assert [count for count, _ in told] == [2, 4, 6, 8, 8, 8]
    assert all(torch.equal(text, torch.arange(float(count))) for count, text in told)


def test_own_windows_come_in_their_share_and_on_rungs() -> None:
    """None at first, half of the rows of every window of the ladder later; never jittered; no window of one level."""
    made = distilling(lambda x, s, t: x, steps=2000, own_ramp=0.5, batch_size=16)
    shares = {}
    for first in (0, 500, 1500):
        batches = [made.draw(step) for step in range(first, first + 60)]
        assert all(isinstance(batch, OwnBatch) for batch in batches)
        for batch in batches:
            place = batch.place[batch.own_film]  # type: ignore[attr-defined]
            assert torch.equal(place, place.round())
            assert batch.window.kind != "level" or not len(place)
            assert 0 <= batch.passes <= batch.window.steps[0]  # type: ignore[attr-defined]
        shares[first] = [
            float(batch.own_film.float().mean())  # type: ignore[attr-defined]
            for batch in batches
            if batch.window.kind != "level"
        ]
    means = [sum(share) / len(share) for share in shares.values()]
    assert means == pytest.approx([0.015, 0.26, 0.5], abs=0.05)


def test_a_batch_is_a_function_of_the_step() -> None:
    """Guards what resuming stands on."""
    made = distilling(lambda x, s, t: x, own_ramp=0.0)
    one, same, next_ = (made.draw(step) for step in (3, 3, 4))
    assert torch.equal(one.text.states, same.text.states)
    for name in ("latents", "place", "sigma", "noise", "own_film"):
        assert torch.equal(getattr(one, name), getattr(same, name))
    assert one.window == same.window and not torch.equal(one.latents, next_.latents)


def test_a_table_of_its_own_is_halved() -> None:
    """Guards levels by hand and by a formula that shift does not know: the student's are the teacher's, every other."""
    sigmas = (1.0, 0.9, 0.6, 0.2)
    own = replace(EIGHT, sigmas=sigmas, num_inference_steps=4)
    assert DistilOptions().sampling(replace(SPEC, defaults=own)).sigmas == (1.0, 0.6)
    made = distilling(lambda x, sigma, text: x, own)
    assert made.table.tolist() == pytest.approx([*sigmas, 0]) and made.sigmas.tolist() == pytest.approx(
        [1, 0.6, 0]
    )
    spec = replace(SPEC, schedule="karras")
    assert DistilOptions().sampling(spec).sigmas == tuple(karras(8)[::2])
    with pytest.raises(OptionError, match="levels of its own: leave out shift"):
        DistilOptions(shift=3.0).sampling(replace(SPEC, defaults=own))


@pytest.mark.parametrize(
    ("teacher", "options", "student"),
    [
        ((8, 1, 1), {}, (4, 1, 2)),
        ((8, 1, 1), {"chunk_size": 1}, (4, 1, 1)),
        ((4, 1, 2), {}, (2, 1, 4)),
        ((30, 5, 5), {}, (15, 5, 10)),
        ((50, 10, 1), {}, (25, 5, 1)),
        ((8, 1, 1), {"num_inference_steps": 2}, (2, 1, 4)),
        ((8, 1, 1), {"steps_per_chunk": 2}, (4, 2, 4)),
        ((8, 8, 5), {}, (4, 4, 5)),
    ],
)
def test_what_the_student_is_filmed_with(
    teacher: tuple[int, int, int], options: dict[str, int], student: tuple[int, int, int]
) -> None:
    """Half the steps, and a window of as many latents, unless it is asked for otherwise."""
    names = ("num_inference_steps", "steps_per_chunk", "chunk_size")
    wanted: dict[str, Any] = dict(zip(names, teacher, strict=True))
    spec = replace(SPEC, defaults=replace(EIGHT, **wanted))
    made = DistilOptions(**options).sampling(spec)
    assert tuple(getattr(made, name) for name in names) == student


@given(half=st.integers(1, 40), chunk=st.integers(1, 9), data=st.data())
def test_a_window_keeps_its_latents(half: int, chunk: int, data: st.DataObject) -> None:
    """For any even number of steps: none too few, and just as many where chunks share the steps out evenly."""
    per_chunk = data.draw(st.integers(1, 2 * half))
    sampling = replace(EIGHT, num_inference_steps=2 * half, steps_per_chunk=per_chunk, chunk_size=chunk)
    made = DistilOptions().sampling(replace(SPEC, defaults=sampling))
    assert made.num_inference_steps == half and 1 <= made.steps_per_chunk <= half

    def latents(s: ModelDefaults) -> int:
        return -(-s.num_inference_steps // s.steps_per_chunk) * s.chunk_size

    assert latents(made) >= latents(sampling)
    assert latents(made) == latents(sampling) or 2 * half % per_chunk


@pytest.mark.parametrize(
    ("steps", "options", "words"),
    [
        (8, {"num_inference_steps": 3}, "takes 8 steps, of which 3 cannot be made: give .* 4 or 2 or 1"),
        (8, {"num_inference_steps": 8}, "of which 8 cannot be made"),
        (7, {}, "takes 7 steps, of which 3 cannot be made: give num_inference_steps 1"),
        (1, {}, "of which 1 cannot be made: there are no fewer"),
        (8, {"steps_per_chunk": 5}, "steps_per_chunk must lie in 1 to"),
        (8, {"guidance": 2}, "no option guidance"),
        (8, {"own_passes": 0}, "own_passes should be"),
    ],
)
def test_steps_that_cannot_be_made_are_one_line(steps: int, options: dict[str, Any], words: str) -> None:
    """Guards steps of the student that are no whole number of the teacher's."""
    spec = replace(SPEC, defaults=replace(EIGHT, num_inference_steps=steps))
    with pytest.raises(OptionError, match=words) as caught:
        DistilOptions(**options).sampling(spec)
    assert "\n" not in str(caught.value)


def train(model: Path, run: Path, **options: Any) -> Any:
    trainer = tiny_run.trainer(model, run, distil=True, **{**QUICK, **options})
    list(trainer.steps())
    return trainer


def state(run: Path, step: int) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (run / "checkpoints" / f"step-{step:06d}").iterdir()}


def test_it_learns_and_films_with_half_the_steps(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards the whole loop: on windows that no step has seen the result is nearer to two steps of its teacher than the
    teacher's own one; it loads as a model of two steps without guidance, and films."""
    trainer = train(tubelet_folder, tmp_path, steps=60, batch_size=8, ema=0.9, save_every=60)
    objective = trainer.objective

    def loss(model: Path) -> float:
        velocity = velocity_of(load_transformer(model), *WAN)
        with torch.no_grad():
            parts = [objective.errors(velocity, objective.draw(step)) for step in range(1000, 1010)]
        return sum(float(errors[noisy].mean()) for errors, noisy in parts)

    assert loss(tmp_path / "model") < 0.5 * loss(tubelet_folder)
    made = read_spec(tmp_path / "model").defaults
    assert (made.num_inference_steps, made.steps_per_chunk, made.chunk_size) == (2, 1, 1)
    assert made.guidance_scale == 1 and read_spec(tubelet_folder).defaults.guidance_scale == 2.5
    take = LongTake.from_pretrained(tmp_path / "model")
    assert take.generate("a red car", num_frames=12).shape == (12, 32, 48, 3)


@pytest.mark.parametrize("prediction", ["flow_prediction", "sample"])
def test_the_teacher_stays_what_films(tubelet_folder: Path, tmp_path: Path, prediction: str) -> None:
    """Guards the copy, and what its numbers mean: after steps of the student its velocity is still that of the folder
    as it is filmed with."""
    folder = Path(shutil.copytree(tubelet_folder, tmp_path / "model"))
    place = folder / "scheduler" / "scheduler_config.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "prediction_type": prediction}))
    trainer = train(folder, tmp_path / "run", own_ramp=0.0)
    arguments = torch.randn(1, 4, 3, 4, 4), torch.rand(1, 3), text()[:1]
    teacher, student = trainer.objective.teacher(*arguments), trainer.velocity(*arguments)
    assert not teacher.requires_grad and student.requires_grad
    torch.testing.assert_close(teacher, load_model(folder).velocity(*arguments))
    assert not torch.allclose(teacher, student, rtol=1e-3, atol=1e-3)
    assert read_spec(tmp_path / "run" / "model").prediction == prediction


@pytest.mark.parametrize("rank", [None, 2])
def test_a_stopped_run_ends_as_one_that_was_not(
    tubelet_folder: Path, tmp_path: Path, rank: int | None
) -> None:
    """Guards resuming to the bit, whole or as a LoRA, while half of the windows are the student's own."""
    options = {"steps": 6, "own_ramp": 0.0, "lora_rank": rank}
    train(tubelet_folder, tmp_path / "whole", **options)
    trainer = tiny_run.trainer(tubelet_folder, tmp_path / "stopped", distil=True, **{**QUICK, **options})
    for step in trainer.steps():
        if step.step == 2:
            trainer.stop()
    assert trainer.step == 3
    train(tubelet_folder, tmp_path / "stopped", **options)
    assert state(tmp_path / "whole", 6) == state(tmp_path / "stopped", 6)
    logs = [(tmp_path / run / "losses.jsonl").read_bytes() for run in ("whole", "stopped")]
    assert logs[0] == logs[1]


def test_training_on_film_does_not_go_on_from_it(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards a run against being continued as one that learns something else."""
    train(tubelet_folder, tmp_path, steps=1)
    before = state(tmp_path, 1)
    settings = json.loads((tmp_path / "config.json").read_text())
    names = ("num_inference_steps", "steps_per_chunk", "chunk_size")
    same = {name: settings[name] for name in names} | {"caption_drop": 0.0, "steps": 1}
    with pytest.raises(OutputError, match="is another run: its guidance is None"):
        tiny_run.trainer(tubelet_folder, tmp_path, **{**QUICK, **same})
    assert state(tmp_path, 1) == before


def test_a_teacher_that_is_filmed_otherwise_is_another_run(tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards what the teacher's weights do not tell: its guidance and its steps, which are settings of its folder."""
    teacher = Path(shutil.copytree(tubelet_folder, tmp_path / "teacher"))
    train(teacher, tmp_path / "run", steps=1)
    settings = json.loads((teacher / "longtake.json").read_text())
    (teacher / "longtake.json").write_text(json.dumps(settings | {"guidance_scale": 4}))
    with pytest.raises(OutputError, match=r"its teacher_guidance_scale is 2\.5, not 4"):
        train(teacher, tmp_path / "run", steps=1)


def test_from_film_to_film_through_the_command_line(
    cli: Cli, captioned_film: Path, tubelet_folder: Path
) -> None:
    """Guards longtake distil: twice over, from 4 steps to 1; given again; its plan; and a LoRA of it."""
    prepare(captioned_film, Path("data"), tubelet_folder)
    quick = ("--data", "data", "--steps", "2", "--batch-size", "2", "--warmup", "0", "--sample-every", "0")
    first = ("distil", "--model", tubelet_folder, *quick, "-o", "half")
    planned = cli(*first, "--dry-run")
    assert planned.code == 0 and "teacher" in planned.out and not Path("half").exists()
    for words in ("", "half is finished: all its 2 steps are taken\n"):
        result = cli(*first)
        assert (result.code, result.out, result.err) == (0, "half/model\n", words)
    assert cli("distil", "--model", "half/model", *quick, "-o", "quarter").code == 0
    settings = json.loads(Path("quarter/model/longtake.json").read_text())
    assert [settings[name] for name in ("num_inference_steps", "steps_per_chunk", "chunk_size")] == [1, 1, 2]
    lora = cli("distil", "--model", tubelet_folder, *quick, "--lora-rank", "2", "-o", "lora")
    assert (lora.code, lora.out) == (0, "lora/lora\n")
    for name, model in {
        "a": ("half/model",),
        "b": ("quarter/model",),
        "c": (tubelet_folder, "--lora", "lora"),
    }.items():
        made = cli("generate", "a red car", "--frames", "8", "-o", f"{name}.mp4", "--model", *model)
        assert made.code == 0, made.err
    assert [probe(f"{name}.mp4").metadata["num_inference_steps"] for name in "abc"] == [2, 1, 2]
    refused = cli("distil", "--model", "quarter/model", *quick, "-o", "none")
    assert refused.code == 2 and "there are no fewer" in refused.err and not Path("none").exists()
