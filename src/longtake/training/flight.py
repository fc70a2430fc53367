"""The recipe of the flight model: footage, autoencoder, latents, then text encoder and transformer.

`train_flight(run, …)` does whatever of it is not done yet in the folder `run`, and ends with a complete diffusers
folder, run/model. Every batch is a function of its step, so a run that was stopped goes on as if it had not been.

B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import PreTrainedTokenizerFast

from longtake.files import beside, writing
from longtake.models.base import ModelDefaults
from longtake.models.device import check_device
from longtake.models.lapped import AutoencoderLapped
from longtake.models.load import read_spec
from longtake.noise import sigma_table
from longtake.pipeline import LongTake
from longtake.progress import track
from longtake.runs import claim, new_folder
from longtake.training.checkpoint import State, restore, save
from longtake.training.distil import distilling
from longtake.training.filmmaker import Filmmaker, build_tokenizer, export
from longtake.training.flight_clips import (
    WITH_CHANGES,
    Drawing,
    FlightClips,
    FlightFilm,
    flight_clips,
    footage,
)
from longtake.training.lapped import train_lapped
from longtake.training.loss import (
    Shares,
    Velocity,
    Window,
    draw_sigma,
    draw_window,
    least_sigma,
    progressive_loss,
    roughen_context,
    self_guided,
)
from longtake.training.options import DistilOptions
from longtake.training.report import cut_log
from longtake.training.schedule import trapezoid
from longtake.training.stopping import Gently, Stop, at_once
from longtake.training.trainer import Trainer
from longtake.worlds.flight.flight import FPS, HEIGHT, WIDTH
from longtake.worlds.flight.scene import every_caption_word

# What may change of a recipe when a run goes on.
FREE = ("compiled", "device", "save_every", "steps", "vae_steps", "distil_steps")
DECAY = 0.3  # share of the steps in which the learning rate falls
DEFAULTS = ModelDefaults(
    width=WIDTH,
    height=HEIGHT,
    fps=FPS,
    num_inference_steps=8,
    steps_per_chunk=1,
    chunk_size=1,
    context_size=0,
    shift=2.0,
    guidance_scale=1.0,
)
# By latents to a chunk, which is also the passes between two: how often a batch sees windows of such chunks. All have
# eight noisy latents.
CHUNKS = {1: 0.6, 2: 0.25, 4: 0.15}
SHARES = Shares(steady=0.45, start=0.2, extend=0.05, drain=0.05, level=0.1, still=0.15)
STRIPS = (
    "a drone flight low over green islands at noon",
    "a drone flight high over snowy mountains, turning left, at sunset under a cloudy sky",
    "a drone flight low over a red canyon, turning right, at dawn",
    "a drone flight low over desert dunes, climbing, at sunset",
    "a drone flight high over a pine forest at dusk in fog",
    "a drone flight low over mountain lakes, fast, at night",
)


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on.

    sampling is what the model will be filmed with; it is trained with chunks of other sizes and context_size clean
    latents besides. Guidance becomes part of the weights while the learning rate falls. More or fewer steps may be
    asked for while it has not begun to fall.
    """

    groups: int = 100
    together: int = 16
    latents: int = 16
    channels: int = 128
    vae_groups: int = 20
    vae_steps: int = 3000
    vae_batch: int = 4
    vae_lr: float = 1e-3
    steps: int = 12000
    latents_per_step: int = 112
    warmup: int = 100
    lr: float = 1e-3
    muon_lr: float = 0.02
    ema: float = 0.998
    caption_drop: float = 0.1
    changing: float = 0.3
    guidance: float = 2.0
    layers: int = 5
    heads: int = 5
    prediction: str = "sample"
    sampling: ModelDefaults = DEFAULTS
    shares: Shares = SHARES
    jitter: float = 0.4
    context_size: int = 3
    context_share: float = 0.3
    context_noise: float = 0.3
    seed: int = 1
    distil_steps: int = 2000
    distil_batch: int = 8
    distil_lr: float = 2e-4
    bf16: bool = False
    compiled: bool = False
    device: str = "cpu"
    save_every: int = 250

    @property
    def drawing(self) -> Drawing:
        """The clips that the filmmaker learns from."""
        size = self.sampling.width, self.sampling.height
        return Drawing(self.groups, self.together, self.latents, self.seed, *size)

    @property
    def sigmas(self) -> Tensor:
        """The sampler's table of noise levels."""
        return sigma_table(self.sampling.num_inference_steps, self.sampling.shift)

    def draw_window(self, generator: torch.Generator) -> Window:
        """What the windows of one batch look like."""
        sizes, weights = torch.tensor(list(CHUNKS)), torch.tensor(list(CHUNKS.values()))
        size = int(sizes[torch.multinomial(weights, 1, generator=generator)])
        sampling = replace(
            self.sampling, chunk_size=size, steps_per_chunk=size, context_size=self.context_size
        )
        return draw_window(generator, sampling, self.shares, self.jitter, self.context_share)


LARGE = Recipe(
    groups=200,
    latents_per_step=1792,
    steps=3200,
    layers=6,
    heads=6,
    distil_steps=400,
    distil_batch=64,
    sampling=replace(DEFAULTS, width=192, height=112),
    save_every=800,
)
# The recipe at three sizes: to see that it works, for two processor cores over night, for an accelerator. And to finish
# on processor cores what an accelerator began.
EDITIONS = {
    "tiny": Recipe(
        groups=2,
        together=4,
        vae_groups=1,
        vae_steps=20,
        steps=20,
        latents_per_step=24,
        layers=1,
        heads=1,
        distil_steps=4,
        distil_batch=2,
        sampling=replace(DEFAULTS, width=96, height=64),
        save_every=10,
    ),
    "small": Recipe(),
    "large": LARGE,
    "finish": replace(
        LARGE,
        groups=40,
        latents_per_step=112,
        steps=1000,
        lr=2.5e-4,
        muon_lr=0.005,
        distil_batch=8,
        save_every=100,
        seed=2,
    ),
}


def train_flight(run: Path, recipe: Recipe, gently: Gently = at_once) -> Path:
    """Train the flight model in `run`, going on where an earlier call stopped; returns its folder, run/few/model, which
    films in half the steps of run/model.

    An autoencoder that stands in run/autoencoder, such as another run's, is not trained again. The model folder
    run/start, if there is one, is what the filmmaker begins as.
    OutputError for the folder of another recipe, OptionError for a device that is not there.
    """
    check_device(recipe.device)
    claim(run, asdict(recipe), FREE)
    if not (run / "autoencoder").exists():
        _train_autoencoder(run, recipe, gently)
    vae = AutoencoderLapped.from_pretrained(run / "autoencoder").to(recipe.device)
    clips = flight_clips(run / "clips", vae, recipe.drawing)
    train_filmmaker(run, recipe, vae, clips, gently)
    return distil_filmmaker(run, recipe, clips, gently)


def _train_autoencoder(run: Path, recipe: Recipe, gently: Gently) -> None:
    """Train it on footage that the filmmaker does not see; writes run/autoencoder."""
    others = replace(recipe.drawing, groups=recipe.vae_groups, seed=recipe.seed + 1_000_000)
    pixels = footage(run / "footage.npy", others, recipe.device)
    vae = AutoencoderLapped(recipe.channels).to(recipe.device)
    train_lapped(
        vae,
        pixels,
        recipe.vae_steps,
        run / "vae",
        batch=recipe.vae_batch,
        lr=recipe.vae_lr,
        bf16=recipe.bf16,
        gently=gently,
    )
    with new_folder(run / "autoencoder") as part:
        vae.save_pretrained(part)


def train_filmmaker(
    run: Path, recipe: Recipe, vae: AutoencoderLapped, clips: FlightClips, gently: Gently = at_once
) -> Path:
    """Train text encoder and transformer with the progressive loss; writes run/model, losses and sample strips."""
    from longtake.training.pictures import draw_losses

    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer(every_caption_word())
    filmmaker = Filmmaker(
        len(tokenizer),
        clips.latents.shape[1],
        recipe.layers,
        recipe.heads,
        patch=1,
        prediction=recipe.prediction,
    ).to(recipe.device)
    clips.latents = clips.latents.to(recipe.device)
    if (run / "start").exists():
        filmmaker.begin_as(run / "start")
    average = AveragedModel(filmmaker, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
    optimizers = filmmaker.optimizers(recipe.lr, recipe.muon_lr, torch.bfloat16 if recipe.bf16 else None)
    state: State = {"filmmaker": filmmaker, "average": average, **optimizers}
    first = restore(run / "filmmaker", state)
    if recipe.compiled:
        torch._dynamo.config.recompile_limit = 32
        for block in filmmaker.transformer.blocks:
            block.modulated = _compiled(block.modulated)
    groups = [group for optimizer in optimizers.values() for group in optimizer.param_groups]
    rates = [recipe.muon_lr] * len(optimizers["muon"].param_groups)
    rates += [recipe.lr] * len(optimizers["adam"].param_groups)
    with writing(run):
        run.mkdir(parents=True, exist_ok=True)
    cut_log(run / "losses.jsonl", first)
    stop, log_path = Stop(), run / "losses.jsonl"
    with gently(stop):
        for step in track(range(first, recipe.steps), "training the transformer"):
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate * trapezoid(step, recipe.steps, recipe.warmup, DECAY)
            kind, loss = _step(filmmaker, recipe, tokenizer, clips, step)
            for optimizer in optimizers.values():
                optimizer.step()
                optimizer.zero_grad()
            average.update_parameters(filmmaker)
            with writing(log_path), log_path.open("a", encoding="utf-8") as log:
                log.write(json.dumps({"step": step, "kind": kind, "loss": loss}) + "\n")
            shown = (step + 1) % recipe.save_every == 0 or step + 1 == recipe.steps
            if shown or stop.asked:
                save(run / "filmmaker", state, step + 1)
            if stop.asked:
                raise KeyboardInterrupt
            if shown:
                export(run / "model", vae, average.module, tokenizer, recipe.sampling)
                draw_losses(log_path, run / "losses.png")
                draw_strips(run / "model", run / f"strips-{step + 1:06d}.png", device=recipe.device)
    return run / "model"


def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of tokens and more, compiled for every shape. It is given a copy: views would be compiled again."""
    fast = torch.compile(function, dynamic=True)
    return lambda tokens, *others: fast(tokens.clone(), *others)


def distil_filmmaker(run: Path, recipe: Recipe, clips: FlightClips, gently: Gently = at_once) -> Path:
    """Halve the steps that run/model films with; returns the folder of what comes of it, run/few/model."""
    from longtake.training.pictures import draw_losses

    options = DistilOptions(
        steps=recipe.distil_steps,
        batch_size=recipe.distil_batch,
        lr=recipe.distil_lr,
        bf16=recipe.bf16,
        sample_every=0,
        save_every=recipe.save_every,
        seed=recipe.seed,
    )
    model = run / "model"
    film = FlightFilm(clips, model, options.sampling(read_spec(model)), recipe.changing)
    trainer = Trainer(model, film, run / "few", options, objective=distilling)
    with gently(trainer.stop):
        for _ in track(trainer.steps(), "halving its steps", total=options.steps - trainer.step):
            pass
    if trainer.step < options.steps:
        raise KeyboardInterrupt
    draw_losses(run / "few" / "losses.jsonl", run / "few" / "losses.png")
    draw_strips(trainer.result, run / "few" / "strips.png", device=recipe.device)
    return trainer.result


def _step(
    filmmaker: Filmmaker, recipe: Recipe, tokenizer: PreTrainedTokenizerFast, clips: FlightClips, step: int
) -> tuple[str, float]:
    """Forward and backward on the batch of a step; returns its window's kind and its loss."""
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    window = recipe.draw_window(generator)
    changing = bool(torch.rand((), generator=generator) < recipe.changing) and window.kind in WITH_CHANGES
    batch = max(1, recipe.latents_per_step // window.num_latents)
    sigma = draw_sigma(window, batch, recipe.sigmas, generator)
    x, captions, index = clips.batch(window, batch, generator, recipe.caption_drop, changing)
    device = recipe.device
    x = roughen_context(x.to(device), window.context, recipe.context_noise, generator)
    noisy = torch.Generator(device).manual_seed(2**40 + generator.initial_seed())
    noise = torch.randn(x.shape, generator=noisy, device=device)
    tokens = tokenizer(captions, padding="max_length", return_tensors="pt")
    velocity: Velocity = filmmaker.velocity
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.bf16):
        states = filmmaker.encode(tokens.input_ids.to(device), tokens.attention_mask.to(device))
        if step >= (1 - DECAY) * recipe.steps:
            velocity = self_guided(velocity, states[:1], recipe.guidance)
        text = states[index if changing else index[:, 0]]
        least = least_sigma(recipe.prediction, recipe.sigmas)
        loss = progressive_loss(velocity, x, text, sigma.to(device), noise, least)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(filmmaker.parameters(), 1.0)
    return window.kind, loss.item()


def draw_strips(model: Path, picture: Path, seconds: int = 8, columns: int = 9, device: str = "cpu") -> None:
    """Film every one of STRIPS with a model folder and lay moments of each out in a row."""
    film = LongTake.from_pretrained(model, device)
    rows = []
    for prompt in STRIPS:
        frames = film.generate(prompt, seconds=seconds, seed=7)
        moments = frames[np.linspace(0, len(frames) - 1, columns).astype(int)]
        rows.append(np.concatenate(list(moments), axis=1))
    with beside(picture) as part:
        Image.fromarray(np.concatenate(rows)).save(part, format="PNG")
