"""What a training run follows from, described and bounded here and nowhere else. Imports no torch."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from longtake.errors import OptionError
from longtake.models.base import ModelDefaults, ModelSpec
from longtake.plan import Sampling
from longtake.prompts import PromptText
from longtake.schedules import levels_of, with_levels
from longtake.values import Count, Options, Positive

Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]


def _counts(text: Any) -> Any:
    """Numbers between commas, in turn."""
    return tuple(text.split(",")) if text and isinstance(text, str) else text or ()


Counts = Annotated[tuple[Count, ...], BeforeValidator(_counts)]

# What may change when a run goes on: none of it changes what is learnt, but for rounding.
FREE = (
    "accumulation",
    "gradient_checkpointing",
    "shard",
    "save_every",
    "keep",
    "sample_every",
    "sample_prompts",
)
KINDS = ("steady", "start", "extend", "drain", "level", "still")


class RunPlaces(Options):
    """Where a run learns, what it learns from, and which model it begins as; None is the embedded one."""

    data: Path
    output: Path
    model: str | None = None


class RunOptions(Options):
    """The options of every run of the trainer, whatever it learns."""

    steps: Count = Field(2000, le=999_999, description="Steps of the optimizer.")
    batch_size: Count = Field(8, description="Windows a step, over all processes.")
    accumulation: Count = Field(
        1, description="Pieces in which a process takes its share of a step; saves memory."
    )
    lr: Positive = Field(1e-5, description="Learning rate after the warm-up; LoRA takes some 1e-4.")
    warmup: int = Field(100, ge=0, description="Steps over which the learning rate rises.")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="The learning rate after the warm-up."
    )
    weight_decay: Share = Field(0.01, description="AdamW's.")
    max_grad_norm: Positive = Field(1.0, description="Longer gradients are shortened to this.")
    lora_rank: Count | None = Field(
        None, description="Train a LoRA of this rank; not given, the whole network."
    )
    lora_alpha: Positive | None = Field(
        None, description="The LoRA counts alpha / rank times; its rank if not given."
    )
    ema: float = Field(0.99, ge=0, lt=1, description="Decay a step of the averaged weights; 0 is off.")
    bf16: bool = Field(False, description="Compute in bfloat16; trained weights stay float32.")
    gradient_checkpointing: bool = Field(
        False, description="Compute activations twice instead of keeping them."
    )
    shard: bool = Field(False, description="Share weights and optimizer out over the processes (FSDP2).")
    caption_drop: Probability = Field(0.1, description="How often a caption is left empty, for guidance.")
    jitter: Probability = Field(
        0.4, description="Bound of the random offset of noise levels, in sampling steps."
    )
    steady: Share = Field(0.45, description="Share of batches that see the whole ladder.")
    start: Share = Field(0.2, description="Share that see the window grow from one chunk of noise.")
    extend: Share = Field(0.05, description="Share that see it grow behind a full context.")
    drain: Share = Field(0.05, description="Share that see it empty at the film's end.")
    level: Share = Field(0.25, description="Share that see a window at one level.")
    still: Share = Field(0.0, description="Share that see one chunk alone, at any level.")
    context_share: Probability = Field(
        1.0, description="How often a steady, drain or level window has its context."
    )
    context_noise: Probability = Field(0.0, description="The most noise that is put on the context.")
    own_context: Probability = Field(
        0.0, description="Experiment: how often the context is the model's own rendering of it."
    )
    num_inference_steps: Count | None = Field(None, description="Sampling to train for: denoising steps.")
    steps_per_chunk: Count | None = Field(None, description="Sampling to train for: passes between chunks.")
    chunk_size: Count | None = Field(None, description="Sampling to train for: latent frames to a chunk.")
    context_size: int | None = Field(
        None, ge=0, description="Sampling to train for: latent frames of context."
    )
    shift: Positive | None = Field(None, description="Sampling to train for: warp of the noise levels.")
    save_every: Count = Field(250, description="Steps from checkpoint to checkpoint.")
    keep: int = Field(2, ge=2, description="Checkpoints that are kept, the newest ones.")
    sample_every: int = Field(250, ge=0, description="Steps from sample strip to sample strip; 0 is never.")
    sample_prompts: tuple[PromptText, ...] = Field(
        (),
        description="What sample strips show, once for each prompt; longtake train takes the film's first three"
        " captions if none is given.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Another seed draws other batches.")

    def sampling(self, spec: ModelSpec) -> ModelDefaults:
        """What the model will be filmed with. OptionError for settings that do not fit each other."""
        if not any(getattr(self, kind) for kind in KINDS):
            raise OptionError(f"every share of windows is 0: give one of {', '.join(KINDS)}")
        settings = self._settings(spec)
        Sampling(
            settings.num_inference_steps,
            settings.steps_per_chunk,
            settings.chunk_size,
            settings.context_size,
        )
        return settings

    def windows(self, sampling: ModelDefaults) -> tuple[ModelDefaults, ...]:
        """The settings whose windows a run sees, one of them a step, each as likely; sampling: those of the result."""
        return (sampling,)

    @property
    def dtype(self) -> str:
        """What the network is held in: what is trained of it in float32, always."""
        return "bfloat16" if self.lora_rank and self.bf16 else "float32"

    @property
    def alpha(self) -> float:
        return self.lora_alpha or float(self.lora_rank or 0)

    def _settings(self, spec: ModelSpec) -> ModelDefaults:
        """The model's own settings, but for those that are given."""
        given = {field.name: getattr(self, field.name, None) for field in fields(ModelDefaults)}
        given = {name: value for name, value in given.items() if value is not None}
        return with_levels(spec.defaults, given, spec.schedule)


class TrainOptions(RunOptions):
    """The options of a training run."""

    guidance: float = Field(
        1.0,
        ge=1,
        allow_inf_nan=False,
        description="Guidance that becomes part of the weights, so that films need no second pass; 1 is none.",
    )
    chunk_sizes: Counts = Field(
        (),
        description="See chunks of these sizes, such as 1,2,4,8, in windows of about as many latents; one that is named"
        " twice is drawn twice as often. Not given, chunk_size alone.",
    )

    def windows(self, sampling: ModelDefaults) -> tuple[ModelDefaults, ...]:
        """As StreamDiT mixes them (Kodaira et al., arXiv 2507.03745): passes between chunks grow as these do."""
        return tuple(_with_chunks(sampling, size) for size in self.chunk_sizes) or (sampling,)

    def _settings(self, spec: ModelSpec) -> ModelDefaults:
        settings = super()._settings(spec)
        if self.chunk_sizes and settings.chunk_size not in self.chunk_sizes:
            raise OptionError(
                f"chunk_sizes must hold {settings.chunk_size}, the chunk_size that the result is filmed with"
            )
        return replace(settings, guidance_scale=1.0) if self.guidance > 1 else settings


def _with_chunks(sampling: ModelDefaults, size: int) -> ModelDefaults:
    """The same with chunks of another size, and as many passes more between them, so that its window stays as long."""
    passes = round(sampling.steps_per_chunk * size / sampling.chunk_size)
    within = min(sampling.num_inference_steps, max(1, passes))
    return replace(sampling, chunk_size=size, steps_per_chunk=within)


class DistilOptions(RunOptions):
    """The options of a run that makes one step of a model's sampling of several."""

    caption_drop: Probability = Field(0.0, description="How often a caption is left empty.")
    num_inference_steps: Count | None = Field(
        None,
        description="Sampling to distil for: denoising steps, of which the model's own are a multiple; half of them if"
        " not given.",
    )
    steps_per_chunk: Count | None = Field(
        None,
        description="Sampling to distil for: passes between chunks; if not given, halved as the steps are, or the"
        " model's own where it is odd, such as 1.",
    )
    chunk_size: Count | None = Field(
        None,
        description="Sampling to distil for: latent frames to a chunk; if not given, so many that the window holds as"
        " many latents as the model's own: twice its own where steps_per_chunk stays 1.",
    )
    own_film: Probability = Field(
        0.5, description="Share of the windows of the ladder that the model in training has filmed itself."
    )
    own_ramp: Probability = Field(0.3, description="Share of the run over which that share rises from 0.")
    own_passes: Count = Field(
        4, description="The most passes in which it films them; before these they are noised film."
    )

    def _settings(self, spec: ModelSpec) -> ModelDefaults:
        teacher, micro = spec.defaults, self.micro_steps(spec)
        levels = (
            None if spec.schedule == "flow" and teacher.sigmas is None else levels_of(teacher, spec.schedule)
        )
        if levels and self.shift is not None:
            raise OptionError(f"the steps of {spec.name} go through noise levels of its own: leave out shift")
        S = teacher.num_inference_steps // micro
        M, rest = divmod(teacher.steps_per_chunk, micro)
        M = self.steps_per_chunk or (min(S, teacher.steps_per_chunk) if rest else M)
        latents = -(-teacher.num_inference_steps // teacher.steps_per_chunk) * teacher.chunk_size
        return replace(
            super()._settings(spec),
            num_inference_steps=S,
            steps_per_chunk=M,
            chunk_size=self.chunk_size or -(-latents // -(-S // M)),
            guidance_scale=1.0,
            sigmas=tuple(levels[::micro]) if levels else None,
        )

    def micro_steps(self, spec: ModelSpec) -> int:
        """How many steps of the model become one. OptionError where that is no whole number of two or more."""
        S = spec.defaults.num_inference_steps
        wanted = self.num_inference_steps or max(1, S // 2)
        if S % wanted or wanted == S:
            fewer = [str(n) for n in range(S // 2, 0, -1) if S % n == 0]
            cure = f"give num_inference_steps {' or '.join(fewer)}" if fewer else "there are no fewer"
            raise OptionError(f"{spec.name} takes {S} steps, of which {wanted} cannot be made: {cure}")
        return S // wanted
