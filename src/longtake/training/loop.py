"""The loop of every run of training: steps one after the other, told of, kept, and resumed where they were stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from safetensors import SafetensorError

from longtake.errors import LongTakeError, OutputError
from longtake.files import write_text, writing
from longtake.progress import track
from longtake.training.checkpoint import Checkpoints
from longtake.training.weights import Weights

# What it is given is called when the work within is to stop soon; the command line's `gently` is one.
Gently = Callable[[Callable[[], None]], AbstractContextManager[object]]
at_once: Gently = nullcontext  # whatever stops the work stops it at once, as where nobody says otherwise


@dataclass(frozen=True)
class Loss:
    """What there is to tell of a step: its number from 0, what it saw, and its loss."""

    step: int
    kind: str
    loss: float

    LOGGED: ClassVar[tuple[str, ...]] = ("step", "kind", "loss")


Told = TypeVar("Told", bound=Loss)


class Log(Generic[Told]):
    """losses.jsonl of a folder, a line a step. What an earlier try wrote of steps from `first` on is dropped."""

    def __init__(self, folder: Path, first: int) -> None:
        self.path = folder / "losses.jsonl"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.exists() else []
        write_text(self.path, "".join(lines[:first]))
        self._file = self.path.open("a", encoding="utf-8")

    def add(self, told: Told) -> None:
        row = {name: getattr(told, name) for name in told.LOGGED}
        with writing(self.path):
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()

    def show(self, picture: Path, step: int) -> None:
        """Where pictures are shown besides, show one of the model after so many steps."""

    def close(self) -> None:
        with suppress(OSError):  # on a full disk; what filled it has been told of
            self._file.close()


@dataclass
class Loop(Generic[Told]):
    """A run of training. What `learn` does follows from the step and the weights alone, so that a run that was stopped
    goes on as if it had not been.

    learn: takes a step. log: opens what is told, at a step; None in a process that writes nothing. export: writes the
    model, before each checkpoint and each picture. draw: draws the model after so many steps, where draw_every divides
    them, and at the end.
    """

    learn: Callable[[int], Told]
    weights: Weights
    num_steps: int
    checkpoints: Checkpoints
    save_every: int
    log: Callable[[int], Log[Told]] | None
    export: Callable[[], None] = lambda: None
    draw: Callable[[int], Path] | None = None
    draw_every: int = 0
    step: int = field(default=0, init=False)
    stopping: bool = field(default=False, init=False)

    def resume(self, step: int) -> None:
        """Go on from the checkpoint after so many steps; after none, from the beginning."""
        if step:
            self.weights.load(partial(self.checkpoints.load, step))
        self.step = step

    def stop(self) -> None:
        """Let `steps` end after the step that is under way, and keep it. For a run of one process."""
        self.stopping = True

    def steps(self) -> Iterator[Told]:
        """Take the steps that are left, telling of each once it is taken.

        Raises OutputError when the disk gives out, and LongTakeError when the loss is no number any more; the
        checkpoints stay.
        """
        with self._or_tell(), closing(self.log(self.step)) if self.log else nullcontext() as log:
            while self.step < self.num_steps and not self.stopping:
                told = self.learn(self.step)
                if log:
                    log.add(told)
                self.step += 1
                self._keep(log)
                yield told
            if self.stopping and self.checkpoints.last < self.step:
                self._save()

    def run(self, what: str, gently: Gently = at_once) -> None:
        """Take the steps behind a bar. KeyboardInterrupt where it was stopped."""
        with gently(self.stop):
            for _ in track(self.steps(), what, total=self.num_steps - self.step):
                pass
        if self.stopping:
            raise KeyboardInterrupt

    def _keep(self, log: Log[Told] | None) -> None:
        """Write what is due after self.step steps: the model, a checkpoint, a picture."""
        save, draw = self._due(self.save_every), self._due(self.draw_every)
        if save or draw:
            self.export()
        if save:
            self._save()
        if draw and log and self.draw:
            log.show(self.draw(self.step), self.step)

    def _due(self, every: int) -> bool:
        return bool(every) and (self.step % every == 0 or self.step == self.num_steps)

    def _save(self) -> None:
        parts = {part: self.weights.whole(part, keep=bool(self.log)) for part in self.weights.parts}
        if self.log:
            self.checkpoints.save(self.step, parts)

    @contextmanager
    def _or_tell(self) -> Iterator[None]:
        """Say at which step a failure came, and what is left."""
        try:
            yield
        except LongTakeError as error:
            raise type(error)(f"step {self.step}: {error}; {self.checkpoints}") from error
        except (OSError, SafetensorError) as error:
            raise OutputError(f"step {self.step}: {error}; {self.checkpoints}") from error
