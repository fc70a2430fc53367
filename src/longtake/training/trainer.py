"""The trainer: fine-tunes a model's network for progressive denoising, on accelerate, in one process or many.

A step's batch is a function of the options and the step, the same in every process; each takes its piece. So several
processes follow the curve of one, and a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import broadcast
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
from longtake.training.loop import Loop
from longtake.training.objectives import Denoising, Objective, velocity_of
from longtake.training.options import FREE, RunOptions
from longtake.training.pictures import draw_strip
from longtake.training.report import LEVELS, Report, Step, export_lora, export_model
from longtake.training.schedule import SCHEDULES
from longtake.training.shards import shard
from longtake.training.weights import Weights

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
        _refuse_settings(options)
        self.accelerator = Accelerator(
            mixed_precision="no",  # see velocity_of: a process could not have two kinds of Accelerator
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        _refuse_pieces(options, self.accelerator.num_processes)
        self.model = model = open_model(model)
        _refuse_prompts(model, options)
        self.spec = model.spec
        self._build()
        self.objective = objective(model, film, options, self.accelerator.device)
        if self.main:  # weights that cannot be loaded claim nothing
            _refuse_foreign(run)
            config = _config(model, options, self.sampling)
            claim(run, {**config, **self.objective.claims, **(hashes or {})}, FREE)
        self.loop = Loop(
            self._learn,
            self.weights,
            options.steps,
            Checkpoints(run / "checkpoints", options.keep),
            options.save_every,
            partial(Report, run) if self.main else None,
            export=self._export,
            draw=self._draw,
            draw_every=options.sample_every if options.sample_prompts else 0,
        )
        newest = self.loop.checkpoints.newest() if self.main else 0
        self.loop.resume(int(broadcast(torch.tensor(newest, device=self.accelerator.device))))

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self.accelerator.is_main_process)

    @property
    def result(self) -> Path:
        """The model folder or the LoRA that comes of the run."""
        return self.run / ("lora" if self.options.lora_rank else "model")

    @property
    def step(self) -> int:
        """The steps that are taken."""
        return self.loop.step

    def steps(self) -> Iterator[Step]:
        """Train up to options.steps, telling of each step once it is taken; see Loop."""
        for step in self.loop.steps():
            self.accelerator.wait_for_everyone()
            yield step

    def stop(self) -> None:
        """Let `steps` end after the step that is under way, and keep it. For a run of one process."""
        self.loop.stop()

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
        stored = transformer.state_dict().keys()
        self.constant = {name: buffer for name, buffer in transformer.named_buffers() if name in stored}
        trained = {name: p for name, p in transformer.named_parameters() if p.requires_grad}
        optimizer = torch.optim.AdamW(trained.values(), lr=options.lr, weight_decay=options.weight_decay)
        average = [p.detach().clone() for p in trained.values()]
        self.weights = Weights(trained.items(), {"optimizer": optimizer}, average)

    def _learn(self, step: int) -> Step:
        """One step of the optimizer."""
        started, options, accelerator = time.perf_counter(), self.options, self.accelerator
        batch = self.objective.draw(step)
        pieces = batch.pieces(accelerator.num_processes * options.accumulation)
        mine = pieces[accelerator.process_index * options.accumulation :][: options.accumulation]
        tally = torch.zeros(2, LEVELS, device=accelerator.device)
        for i, piece in enumerate(mine):
            last = i + 1 == len(mine)  # gradients need not travel between processes before
            with nullcontext() if last else accelerator.no_sync(self.network):
                tally += self._learn_piece(piece.to(accelerator.device), batch.num_noisy)
        sums, counts = accelerator.reduce(tally, "sum").tolist()
        loss = sum(sums) / sum(counts)
        norm = self.weights.clip(options.max_grad_norm)
        if not math.isfinite(loss) or not math.isfinite(norm):
            cure = "try a smaller lr in another run"
            if not (is_finite(batch.latents) and is_finite(batch.text.states)):
                cure = "the film holds numbers that are not finite, prepare it anew"
            raise LongTakeError(f"the loss is {loss}, its gradient {norm}: {cure}")
        rate = SCHEDULES[options.schedule](step, options.steps, options.warmup)
        self.weights.move(rate, options.ema)
        return Step(
            step=step,
            kind=batch.window.kind,
            loss=loss,
            levels={
                i: total / count for i, (total, count) in enumerate(zip(sums, counts, strict=True)) if count
            },
            grad_norm=norm,
            lr=options.lr * rate,
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

    def _export(self) -> None:
        """Write the averaged weights as a person films with them."""
        weights = self.weights.whole("average", keep=self.main)
        rank = self.options.lora_rank
        if self.main and rank:
            export_lora(self.result, weights, rank, self.options.alpha, self.spec.name, self.filmed)
        elif self.main:
            export_model(self.result, model_folder(self.model), weights | self.constant, self.filmed)

    def _draw(self, step: int) -> Path:
        """A strip of what the result films."""
        options, picture = self.options, self.run / "samples" / f"step-{step:06d}.png"
        lora = self.result if options.lora_rank else None
        model, dtype = self.model if lora else self.result, "bfloat16" if options.bf16 else "float32"
        take = LongTake.from_pretrained(model, self.accelerator.device, dtype, lora)
        draw_strip(take, picture, options.sample_prompts)
        return picture


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
        **sampling.told,
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
