"""The recipe of an embedded model: what it follows from, and its last part, which is the same in every world.

A world's recipe brings footage, latents and captions; here text encoder and transformer are trained on them, together.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width
"""

from __future__ import annotations

import copy
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from longtake.models.base import ModelDefaults
from longtake.models.load import check_device, load_encoders
from longtake.models.text import Text
from longtake.noise import film_table
from longtake.pipeline import LongTake
from longtake.runs import claim
from longtake.training.checkpoint import Checkpoints
from longtake.training.filmmaker import Filmmaker, build_tokenizer, export
from longtake.training.loop import Gently, Log, Loop, Loss, at_once
from longtake.training.loss import (
    Shares,
    Velocity,
    Window,
    draw_window,
    least_sigma,
    progressive_loss,
    self_guided,
)
from longtake.training.pictures import draw_losses
from longtake.training.schedule import trapezoid
from longtake.training.weights import Weights

# What the embedded models are filmed with, at some size and rate.
EIGHT_STEPS = partial(
    ModelDefaults,
    num_inference_steps=8,
    steps_per_chunk=1,
    chunk_size=1,
    context_size=0,
    shift=2.0,
    guidance_scale=1.0,
)
DECAY = 0.3  # share of the steps in which the learning rate falls


@dataclass(frozen=True)
class Recipe(ABC):
    """Everything that a training run depends on.

    sampling is what the model will be filmed with; it is trained with context_size clean latents besides. The other
    fields of the windows are those of training/loss.py. Guidance becomes part of the weights while the learning rate
    falls. patch and prediction are those of Filmmaker.
    """

    steps: int
    latents_per_step: int
    warmup: int
    ema: float
    sampling: ModelDefaults
    shares: Shares
    patch: int
    save_every: int
    prediction: str = "flow_prediction"
    lr: float = 1e-3
    muon_lr: float = 0.02
    caption_drop: float = 0.1
    guidance: float = 2.0
    layers: int = 5
    heads: int = 5
    jitter: float = 0.4
    context_size: int = 3
    context_share: float = 0.3
    context_noise: float = 0.3
    seed: int = 1
    bf16: bool = False
    compiled: bool = False
    device: str = "cpu"

    FREE: ClassVar[tuple[str, ...]] = (
        "compiled",
        "device",
        "save_every",
    )  # what may change when a run goes on

    @abstractmethod
    def train(self, run: Path, gently: Gently = at_once) -> Path:
        """Train the model in `run`, going on where an earlier call stopped; returns its folder.

        OutputError for the folder of another recipe, OptionError for a device that is not there.
        """

    def claim(self, run: Path) -> None:
        """Make a folder the run of this recipe, or fail as `train` does."""
        check_device(self.device)
        claim(run, asdict(self), self.FREE)

    @property
    def sigmas(self) -> Tensor:
        """The sampler's table of noise levels."""
        return film_table(self.sampling, "flow")

    def window_sampling(self, generator: torch.Generator) -> ModelDefaults:
        """The sampling whose windows one batch sees."""
        return replace(self.sampling, context_size=self.context_size)


class Captioned(NamedTuple):
    """A batch: clean latents and noise (B, C, F, H, W), noise levels (B, F), captions.

    text: which of the captions each window has (B,), or each of its latents (B, F). empty: where the empty one is.
    """

    latents: Tensor
    sigma: Tensor
    noise: Tensor
    captions: list[str]
    text: Tensor | slice
    empty: int


class CaptionedFilm:
    """Clips in memory as Footage for the trainer, captioned anew in every batch."""

    def __init__(
        self,
        draw: Callable[[Window, int, torch.Generator, float], tuple[Tensor, list[str], Tensor | slice]],
        model: Path,
        sampling: ModelDefaults,
    ) -> None:
        """draw: of window, batch size, generator and the share of empty captions makes latents (B, C, F, H, W),
        captions, and `text` as in Captioned. model: whose text encoder they go through."""
        self.draw, self.sampling = draw, sampling
        self.encode = load_encoders(model).encode_prompt
        self.null_text = self.encode([""]).to(dtype=torch.float32)

    def batch(
        self, window: Window, batch: int, generator: torch.Generator, caption_drop: float
    ) -> tuple[Tensor, Text]:
        latents, captions, text = self.draw(window, batch, generator, caption_drop)
        return latents.cpu(), self.encode(captions).to(dtype=torch.float32)[text]


def strewn(caption: str, rng: random.Random) -> str:
    """A caption, now and then with unknown words strewn in."""
    words = caption.split()
    for _ in range(rng.choice((0, 0, 0, 0, 1, 2))):
        words.insert(rng.randrange(len(words) + 1), "[UNK]")
    return " ".join(words)


def train_filmmaker(
    run: Path,
    recipe: Recipe,
    vae: Any,
    words: Iterable[str],
    draw: Callable[[Window, int, torch.Generator], Captioned],
    strip: Callable[[LongTake, Path], None],
    start: Path | None = None,
    muon_dtype: torch.dtype | None = None,
    gently: Gently = at_once,
) -> Path:
    """Train text encoder and transformer with the progressive loss; writes run/model, losses and sample strips.

    words: every word of the world's captions. draw: so many windows, which follow from the generator alone.
    strip: draws what a model films. start: a model folder of the same shape, whose weights this one begins with.
    muon_dtype: that of Muon's products.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer(words)
    filmmaker = Filmmaker(
        len(tokenizer), vae.config["z_dim"], recipe.layers, recipe.heads, recipe.patch, recipe.prediction
    ).to(recipe.device)
    if start:
        filmmaker.begin_as(start)
    averaged = copy.deepcopy(filmmaker).requires_grad_(False)
    optimizers = filmmaker.optimizers(recipe.lr, recipe.muon_lr, muon_dtype)
    weights = Weights(filmmaker.named_parameters(), optimizers, averaged.parameters())
    if recipe.compiled:
        filmmaker.compile_blocks()
    device, sigmas = torch.device(recipe.device), recipe.sigmas
    least = least_sigma(recipe.prediction, sigmas)

    def learn(step: int) -> Loss:
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        sampling = recipe.window_sampling(generator)
        window = draw_window(generator, sampling, recipe.shares, recipe.jitter, recipe.context_share)
        batch = draw(window, max(1, recipe.latents_per_step // window.num_latents), generator)
        tokens = tokenizer(batch.captions, padding="max_length", return_tensors="pt")
        velocity: Velocity = filmmaker.velocity
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bf16):
            text = filmmaker.encode(tokens.input_ids.to(device), tokens.attention_mask.to(device))
            if step >= (1 - DECAY) * recipe.steps:
                velocity = self_guided(velocity, text[batch.empty :][:1], recipe.guidance)
            latents, sigma, noise = (x.to(device) for x in (batch.latents, batch.sigma, batch.noise))
            loss = progressive_loss(velocity, latents, text[batch.text], sigma, noise, least)
        loss.backward()
        weights.clip(1.0)
        # The average begins as the weights after the first step.
        weights.move(trapezoid(step, recipe.steps, recipe.warmup, DECAY), recipe.ema if step else 0.0)
        return Loss(step, window.kind, loss.item())

    def draw_pictures(step: int) -> Path:
        draw_losses(run / "losses.jsonl", run / "losses.png")
        picture = run / f"strips-{step:06d}.png"
        strip(LongTake.from_pretrained(run / "model", recipe.device), picture)
        return picture

    loop = Loop(
        learn,
        weights,
        recipe.steps,
        Checkpoints(run / "filmmaker"),
        recipe.save_every,
        partial(Log, run),
        export=lambda: export(run / "model", vae, averaged, tokenizer, recipe.sampling),
        draw=draw_pictures,
        draw_every=recipe.save_every,
    )
    loop.resume(loop.checkpoints.newest())
    loop.run("training the transformer", gently)
    return run / "model"
