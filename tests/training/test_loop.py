"""The loop that all training goes through: what is kept when, and that a run may be stopped at any step."""

import json
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch

from longtake.errors import LongTakeError, OutputError
from longtake.training.checkpoint import Checkpoints
from longtake.training.loop import Log, Loop, Loss
from longtake.training.muon import Muon
from longtake.training.weights import Weights

pytestmark = pytest.mark.slow

STEPS = 5


def weights() -> Weights:
    """Of a small network, in the hands of two optimizers."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    matrices = [p for p in network.parameters() if p.ndim == 2]
    rest = [p for p in network.parameters() if p.ndim == 1]
    optimizers = {"muon": Muon(matrices, lr=0.1), "adam": torch.optim.AdamW(rest, lr=0.1)}
    return Weights(network.named_parameters(), optimizers, [p.detach().clone() for p in network.parameters()])


def loop(run: Path, at: Callable[[int], object] = lambda step: None, steps: int = STEPS) -> Loop[Loss]:
    """A run that saves every two steps and draws every three; `at` is called within each step."""
    moved = weights()

    def learn(step: int) -> Loss:
        at(step)
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        first, bias, last, end = moved.trained.values()
        loss = ((x @ first.T + bias) @ last.T + end - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        moved.clip(1.0)
        moved.move(1 / (step + 1), 0.5)
        return Loss(step, "tiny", loss.item())

    def draw(step: int) -> Path:
        (run / f"drawn-{step}-of-{made.checkpoints.last}").touch()
        return run

    made = Loop(
        learn, moved, steps, Checkpoints(run / "kept", 9), 2, partial(Log, run), draw=draw, draw_every=3
    )
    made.resume(made.checkpoints.newest())
    return made


def kept(run: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (run / "kept").glob("step-*"))


def ended(run: Path) -> dict[str, bytes]:
    """What a run leaves at its end, byte for byte."""
    files = [run / "losses.jsonl", *(run / "kept" / f"step-{STEPS:06d}").iterdir()]
    return {path.name: path.read_bytes() for path in files}


def test_what_is_due_is_kept(tmp_path: Path) -> None:
    """Checkpoints and pictures come when they are due, and at the end; a checkpoint before its picture."""
    loop(tmp_path).run("steps")
    assert kept(tmp_path) == [2, 4, 5]
    assert sorted(path.name for path in tmp_path.glob("drawn*")) == ["drawn-3-of-2", "drawn-5-of-5"]
    rows = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(STEPS)) and set(rows[0]) == {"step", "kind", "loss"}
    again = loop(tmp_path)
    assert again.step == STEPS and list(again.steps()) == []


@pytest.mark.parametrize("at", range(STEPS))
def test_a_run_killed_at_any_step_ends_as_one_that_was_not(tmp_path: Path, at: int) -> None:
    """Guards weights, their average, what optimizers remember, and losses that are told once: equal to the bit."""

    def die(step: int) -> None:
        if step == at:
            raise KeyboardInterrupt

    loop(tmp_path / "whole").run("steps")
    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path / "killed", die).run("steps")
    loop(tmp_path / "killed").run("steps")
    assert ended(tmp_path / "killed") == ended(tmp_path / "whole")


def test_told_to_stop_it_ends_the_step_and_keeps_it(tmp_path: Path) -> None:
    """Guards gentle stops: in the third step; before the first, where there is nothing to keep; in the last, which ends
    the run but not what the caller does after it."""

    def stopped(run: Path, at: int) -> Loop[Loss]:
        made = loop(run, lambda step: made.stop() if step == at else None)
        with pytest.raises(KeyboardInterrupt):
            made.run("steps")
        return made

    assert stopped(tmp_path / "third", 2).step == 3 and kept(tmp_path / "third") == [2, 3]
    assert stopped(tmp_path / "last", STEPS - 1).step == STEPS
    loop(tmp_path / "third").run("steps")
    loop(tmp_path / "whole").run("steps")
    assert ended(tmp_path / "third") == ended(tmp_path / "whole") == ended(tmp_path / "last")

    @contextmanager
    def at_the_door(stop: Callable[[], None]):  # type: ignore[no-untyped-def]
        stop()
        yield

    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path / "none").run("steps", at_the_door)
    assert kept(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("error", "kind"), [(LongTakeError("it broke"), LongTakeError), (OSError(28, "it broke"), OutputError)]
)
def test_a_failure_says_where(tmp_path: Path, error: Exception, kind: type[Exception]) -> None:
    """Guards the line that a failure ends with: the step, and what is left."""

    def fail(step: int) -> None:
        if step == 3:
            raise error

    with pytest.raises(kind, match=r"^step 3: .*it broke; the last checkpoint is .*step-000002$"):
        loop(tmp_path, fail).run("steps")


def test_the_average_may_begin_anywhere() -> None:
    """A decay of 0 makes it the weights, one of 0.5 half of the way to them."""
    made = weights()
    for p in made.trained.values():
        p.grad = torch.ones_like(p)
    made.move(1.0, 0.0)
    before = {name: p.detach().clone() for name, p in made.trained.items()}
    assert all(torch.equal(mean, before[name]) for name, mean in made.average.items())
    for p in made.trained.values():
        p.grad = torch.ones_like(p)
    made.move(1.0, 0.5)
    for name, mean in made.average.items():
        torch.testing.assert_close(mean, (before[name] + made.trained[name].detach()) / 2)
