"""The trainer: fine-tunes a model's network for progressive denoising, on accelerate, in one process or many.

A step's batch is a function of the options and the step, the same in every process; each takes its piece. So several
processes follow the curve of one, and a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import broadcast
from safetensors import SafetensorError
from torch import Tensor

from longtake.errors import LongTakeError, OptionError, OutputError
from longtake.finite import is_finite
from longtake.models.base import ModelDefaults
from longtake.models.load import check_prompts, load_transformer, read_spec
from longtake.models.lora import add_lora
from longtake.models.places import Model, model_folder, open_model
from longtake.options import FilmOptions
from longtake.pipeline import LongTake
from longtake.runs import CONFIG, check_claim, claim
from longtake.training.batches import Batch, Footage
from longtake.training.checkpoint import Checkpoints
from longtake.training.data import weights_hash
from longtake.training.objectives import Denoising, Objective, velocity_of
from longtake.training.options import FREE, RunOptions
from longtake.training.report import LEVELS, Report, Step, draw_strip, export_lora, export_model
from longtake.training.schedule import SCHEDULES
from longtake.training.shards import gathered, scattered, shard

PATIENCE = timedelta(hours=6)  # how long processes wait for the first one, which films and writes


class Trainer:
    """One run of training, in a folder of its own. Made again with the same arguments, it goes on where it stopped."""

    def __init__(
        self,
        model: Model,
        film: Footage,
        run: Path,
        options: RunOptions,
        hashes: Mapping[str, str] | None = None,
        filmed: ModelDefaults | None = None,
        objective: Callable[..., Objective] = Denoising,
    ) -> None:
        """Load the network of `model`, named as for read_spec, and the newest checkpoint in `run`.

        film: opened with options.sampling. hashes: what names the data; a run goes on with the same only, and from the
        same weights of `model`. filmed: what the result is to be filmed with, if not film.sampling. objective: what is
        learnt, made of the model, the film, its own kind of options, and the device.
        Raises OptionError for options that do not fit the model or the processes, and for accelerate's own; OutputError
        for a folder that is not this run's; ModelError as load_model does.
        """
        self.film, self.run, self.options = film, run, options
        self.sampling = film.sampling
        self.filmed = filmed or film.sampling
        self.accelerator = _accelerator(options)
        self.model = model = open_model(model)
        _refuse_prompts(model, options)
        self.spec = model.spec
        self.checkpoints = Checkpoints(run / "checkpoints", options.keep)
        self._build()
        self.objective = objective(model, film, options, self.accelerator.device)
        if self.main:  # weights that cannot be loaded claim nothing
            _refuse_foreign(run)
            config = _config(model, options, self.sampling)
            claim(run, {**config, **self.objective.claims, **(hashes or {})}, FREE)
        self.step = self._restore()
        self._stopping = False

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self.accelerator.is_main_process)

    @property
    def result(self) -> Path:
        """The model folder or the LoRA that comes of the run."""
        return self.run / ("lora" if self.options.lora_rank else "model")

    def steps(self) -> Iterator[Step]:
        """Train up to options.steps, telling of each step once it is taken.

        Raises OutputError when the disk gives out, and LongTakeError when the loss is no number any more; the
        checkpoints stay.
        """
        with self._or_tell(), closing(Report(self.run, self.step)) if self.main else nullcontext() as report:
            while self.step < self.options.steps and not self._stopping:
                step = self._learn()
                if report:
                    report.add(step)
                self.step += 1
                self._keep(report)
                yield step
            if self._stopping and self.checkpoints.newest() < self.step:
                self._save()

    def stop(self) -> None:
        """Let `steps` end after the step that is under way, and keep it. For a run of one process."""
        self._stopping = True

    def _build(self) -> None:
        """The network as it is trained, its average and its optimizer."""
        options, accelerator = self.options, self.accelerator
        transformer = _network(self.model, options)
        kind = type(transformer).__name__  # before it is wrapped
        if options.gradient_checkpointing:
            transformer.enable_gradient_checkpointing()
        warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")  # norms under autocast
        if options.shard and accelerator.num_processes > 1:
            shard(transformer.to(accelerator.device), accelerator.device, accelerator.num_processes)
            self.network = transformer
        else:
            self.network = accelerator.prepare_model(transformer)
        self.velocity = velocity_of(
            self.network,
            kind,
            self.spec.prediction,
            self.sampling.fps,
            accelerator.device,
            options.bf16,
        )
        self.trained = {name: p for name, p in transformer.named_parameters() if p.requires_grad}
        stored = transformer.state_dict().keys()
        self.constant = {name: buffer for name, buffer in transformer.named_buffers() if name in stored}
        self.average = [p.detach().clone() for p in self.trained.values()]
        self.optimizer = torch.optim.AdamW(
            self.trained.values(), lr=options.lr, weight_decay=options.weight_decay
        )

    def _learn(self) -> Step:
        """One step of the optimizer on the batch of self.step."""
        started, options, accelerator = time.perf_counter(), self.options, self.accelerator
        batch = self.objective.draw(self.step)
        pieces = batch.pieces(accelerator.num_processes * options.accumulation)
        mine = pieces[accelerator.process_index * options.accumulation :][: options.accumulation]
        tally = torch.zeros(2, LEVELS, device=accelerator.device)
        for i, piece in enumerate(mine):
            with self._waiting(last=i + 1 == len(mine)):
                tally += self._learn_piece(piece.to(accelerator.device), batch.num_noisy)
        sums, counts = accelerator.reduce(tally, "sum").tolist()
        loss = sum(sums) / sum(counts)
        norm = gathered(torch.nn.utils.clip_grad_norm_(self.trained.values(), options.max_grad_norm)).item()
        if not math.isfinite(loss) or not math.isfinite(norm):
            cure = "try a smaller lr in another run"
            if not (is_finite(batch.latents) and is_finite(batch.text)):
                cure = "the film holds numbers that are not finite, prepare it anew"
            raise LongTakeError(f"the loss is {loss}, its gradient {norm}: {cure}")
        lr = options.lr * SCHEDULES[options.schedule](self.step, options.steps, options.warmup)
        self._move(lr)
        return Step(
            step=self.step,
            kind=batch.window.kind,
            loss=loss,
            levels={
                i: total / count for i, (total, count) in enumerate(zip(sums, counts, strict=True)) if count
            },
            grad_norm=norm,
            lr=lr,
            num_latents=batch.sigma.numel(),
            seconds=time.perf_counter() - started,
        )

    def _learn_piece(self, piece: Batch, num_noisy: int) -> Tensor:
        """Add the gradient of a piece's share of the loss; its errors and latent frames for each level (2, LEVELS)."""
        errors, noisy = self.objective.errors(self.velocity, piece)
        # Processes average their gradients; what is wanted is their sum.
        self.accelerator.backward((errors * noisy).sum() / num_noisy * self.accelerator.num_processes)
        counted = torch.stack([errors.detach(), torch.ones_like(errors)])[:, noisy]
        level = (piece.sigma[noisy] * LEVELS).long().clamp_max(LEVELS - 1)
        return torch.zeros(2, LEVELS, device=errors.device).index_add_(1, level, counted)

    def _waiting(self, last: bool) -> AbstractContextManager[None]:
        """Gradients need not travel between processes before the last piece of a step."""
        return nullcontext() if last else self.accelerator.no_sync(self.network)

    @torch.no_grad()
    def _move(self, lr: float) -> None:
        """Apply the gradient to the weights, and the weights to their average."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        torch._foreach_lerp_(self.average, list(self.trained.values()), 1 - self.options.ema)

    def _keep(self, report: Report | None) -> None:
        """Write what is due after self.step steps: the result, a checkpoint, a strip."""
        options, end = self.options, self.step == self.options.steps
        save = end or self.step % options.save_every == 0
        sample = bool(options.sample_every and options.sample_prompts) and (
            end or self.step % options.sample_every == 0
        )
        if save or sample:
            self._export()
        if save:
            self._save()
        if sample and report:
            lora = self.result if options.lora_rank else None
            model, dtype = self.model if lora else self.result, "bfloat16" if options.bf16 else "float32"
            picture = self.run / "samples" / f"step-{self.step:06d}.png"
            take = LongTake.from_pretrained(model, self.accelerator.device, dtype, lora)
            draw_strip(take, options.sample_prompts, picture)
            report.show(picture, self.step)
        self.accelerator.wait_for_everyone()

    def _export(self) -> None:
        """Write the averaged weights as a person films with them."""
        weights = self._gathered(zip(self.trained, self.average, strict=True))
        rank = self.options.lora_rank
        if self.main and rank:
            export_lora(self.result, weights, rank, self.options.alpha, self.spec.name, self.filmed)
        elif self.main:
            export_model(self.result, model_folder(self.model), weights | self.constant, self.filmed)

    def _save(self) -> None:
        slots = (
            (f"{name}/{slot}", value)
            for name, p in self.trained.items()
            for slot, value in self.optimizer.state[p].items()
        )
        parts = {
            "weights": self._gathered(self.trained.items()),
            "average": self._gathered(zip(self.trained, self.average, strict=True)),
            "optimizer": self._gathered(slots),
        }
        if self.main:
            self.checkpoints.save(self.step, parts)

    @torch.no_grad()
    def _restore(self) -> int:
        """Load the newest whole checkpoint, if there is one, as the first process sees it; returns its step."""
        found = torch.tensor(self.checkpoints.newest() if self.main else 0, device=self.accelerator.device)
        step = int(broadcast(found))
        if step:
            weights, average, optimizer = (
                self.checkpoints.load(step, part) for part in ("weights", "average", "optimizer")
            )
            for (name, p), mean in zip(self.trained.items(), self.average, strict=True):
                p.copy_(scattered(weights[name], p))
                mean.copy_(scattered(average[name], mean))
            for key, value in optimizer.items():
                name, slot = key.split("/")
                p = self.trained[name]
                self.optimizer.state[p][slot] = scattered(value, p) if value.ndim else value
        return step

    def _gathered(self, tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """Whole tensors, in the first process; one after the other, so that the others need no room for them."""
        whole = ((name, gathered(tensor)) for name, tensor in tensors)
        return {name: tensor for name, tensor in whole if self.main}

    @contextmanager
    def _or_tell(self) -> Iterator[None]:
        """Say at which step a failure came, and what is left."""
        try:
            yield
        except LongTakeError as error:
            raise type(error)(f"step {self.step}: {error}; {self.checkpoints}") from error
        except (OSError, SafetensorError) as error:
            raise OutputError(f"step {self.step}: {error}; {self.checkpoints}") from error


def _accelerator(options: RunOptions) -> Accelerator:
    _refuse_settings(options)
    accelerator = Accelerator(
        mixed_precision="no",  # see velocity_of: a process could not have two kinds of Accelerator
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    _refuse_pieces(options, accelerator.num_processes)
    return accelerator


def check_run(model: Model, run: Path, options: RunOptions) -> None:
    """Raise now what Trainer of one process would raise once the film is prepared, which may take hours; writes
    nothing."""
    _refuse_settings(options)
    _refuse_pieces(options, 1)
    model = open_model(model)
    _refuse_prompts(model, options)
    _refuse_foreign(run)
    config = _config(model, options, options.sampling(read_spec(model)))
    check_claim(run, config, (*FREE, "width", "height", "fps"))  # these are the film's
    if not os.path.exists(run / CONFIG):
        _network(model, options)


def _network(model: Model, options: RunOptions) -> Any:
    """The network of a model, with the LoRA that is trained, if any. Raises ModelError as load_model does."""
    transformer = load_transformer(model, options.dtype)
    if options.lora_rank:
        torch.manual_seed(options.seed)
        add_lora(transformer, options.lora_rank, options.alpha)
    return transformer


def _config(model: Model, options: RunOptions, sampling: ModelDefaults) -> dict[str, Any]:
    """What a run follows from, but for its film, as JSON values."""
    return {
        "model": read_spec(model).name,
        "weights": weights_hash(model_folder(model), "transformer"),
        **options.model_dump(mode="json"),
        **asdict(sampling),
    }


def _refuse_foreign(run: Path) -> None:
    """OutputError for a folder that holds what a run makes, but is none."""
    for name in ("model", "lora", "checkpoints"):
        if not os.path.exists(run / CONFIG) and os.path.exists(run / name):
            raise OutputError(f"{run} holds a {name}, but no {CONFIG} of a run: give another folder")


def _refuse_prompts(model: Model, options: RunOptions) -> None:
    """OptionError for a sample prompt that could not be filmed: the first strip may be hours away."""
    spec = read_spec(model)
    for prompt in options.sample_prompts:
        FilmOptions(prompt=prompt).resolved(spec)
    check_prompts(model, options.sample_prompts)


def _refuse_pieces(options: RunOptions, processes: int) -> None:
    """OptionError for a batch that is too small to be shared out."""
    pieces = processes * options.accumulation
    if options.batch_size < pieces:
        raise OptionError(
            f"batch_size is {options.batch_size}, but {processes} processes take {options.accumulation} pieces each:"
            f" give {pieces} or more"
        )


def _refuse_settings(options: RunOptions) -> None:
    """OptionError for settings of accelerate's that would do nothing here, or change what is learnt unsaid."""
    for name, harmless, ours in (
        ("USE_FSDP", ("false",), "--shard"),
        ("GRADIENT_ACCUMULATION_STEPS", ("1",), "--accumulation"),
        ("MIXED_PRECISION", ("no", "bf16") if options.bf16 else ("no",), "--bf16"),
    ):
        value = os.environ.get(f"ACCELERATE_{name}", "").lower()
        if value and value not in harmless:
            raise OptionError(f"give {ours} in place of accelerate's own setting, ACCELERATE_{name}={value}")
