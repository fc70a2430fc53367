"""The recipe of the embedded model: footage, autoencoder, latents, then text encoder and transformer.

`train_default(run, …)` does whatever of it is not done yet in the folder `run`, and ends with a complete diffusers
folder, run/finish/model, which the trainer has made of run/model. Every batch is a function of its step, so a run
that was stopped goes on as if it had not been.

Shapes: B batch, C channels, F latent frames, H W latent height and width, L text tokens.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import PreTrainedTokenizerFast

from longtake.files import beside, write_text, writing
from longtake.models.base import ModelDefaults
from longtake.models.device import check_device
from longtake.models.tubelet import AutoencoderTubelet
from longtake.noise import sigma_table
from longtake.progress import track
from longtake.runs import claim
from longtake.training.autoencoder import to_tensor, train_autoencoder
from longtake.training.checkpoint import State, restore, save
from longtake.training.filmmaker import Filmmaker, build_tokenizer, export
from longtake.training.finish import FINISH, draw_clips, finish
from longtake.training.footage import footage
from longtake.training.loss import (
    Shares,
    Velocity,
    Window,
    draw_sigma,
    draw_window,
    progressive_loss,
    roughen_context,
    self_guided,
)
from longtake.training.report import cut_log
from longtake.training.schedule import trapezoid
from longtake.training.stopping import Gently, Stop, at_once
from longtake.worlds.tracking_shot.shot import FPS, HEIGHT, WIDTH, Shot, every_caption_word

FREE = ("device", "save_every")  # what may change of a recipe when a run goes on
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
SHARES = Shares(steady=0.3, start=0.3, extend=0.05, drain=0.05, level=0.1, still=0.2)


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on. The defaults take three to four hours on two CPU cores.

    sampling is what the model will be filmed with; it is trained with context_size clean latents besides, which
    docs/log.md finds no good by default. The other fields of the windows are those of training/loss.py. Guidance
    becomes part of the weights while the learning rate falls.
    """

    clips: int = 2000
    frames: int = 64
    vae_steps: int = 1300
    steps: int = 2080
    latents_per_step: int = 110
    warmup: int = 60
    lr: float = 1e-3
    muon_lr: float = 0.02
    ema: float = 0.99
    caption_drop: float = 0.1
    guidance: float = 2.0
    layers: int = 5
    heads: int = 5
    sampling: ModelDefaults = DEFAULTS
    shares: Shares = SHARES
    jitter: float = 0.4
    context_size: int = 3
    context_share: float = 0.3
    context_noise: float = 0.3
    seed: int = 1
    bf16: bool = False
    device: str = "cpu"
    save_every: int = 150

    @property
    def sigmas(self) -> Tensor:
        """The sampler's table of noise levels."""
        return sigma_table(self.sampling.num_inference_steps, self.sampling.shift)

    def draw_window(self, generator: torch.Generator) -> Window:
        """What the windows of one batch look like."""
        sampling = replace(self.sampling, context_size=self.context_size)
        return draw_window(generator, sampling, self.shares, self.jitter, self.context_share)


def train_default(run: Path, recipe: Recipe, gently: Gently = at_once) -> Path:
    """Train the embedded model in `run`, going on where an earlier call stopped; returns its folder.

    OutputError for the folder of another recipe, OptionError for a device that is not there.
    """
    check_device(recipe.device)
    claim(run, asdict(recipe), FREE)
    pixels, shots = footage(run / "footage", recipe.clips, recipe.frames, recipe.seed)
    vae = AutoencoderTubelet().to(recipe.device)
    train_autoencoder(vae, pixels, recipe.vae_steps, run / "vae", gently=gently)
    latents = encoded(run / "latents", vae, pixels)
    model = train_filmmaker(run, recipe, vae, latents, shots, gently=gently)
    options = FINISH.model_copy(update={"bf16": recipe.bf16})
    return finish(model, run / "finish", latents, shots, options, gently)


@torch.no_grad()
def encoded(folder: Path, vae: AutoencoderTubelet, pixels: np.ndarray) -> Tensor:
    """All clips as normalised latents (clips, C, F, H, W) float16; fixes the autoencoder's mean and deviation."""
    store = folder / "latents.npy"
    if not store.exists():
        folder.mkdir(parents=True, exist_ok=True)
        clips = (to_tensor(pixels[i : i + 1]).to(vae.device) for i in range(len(pixels)))
        raw = torch.cat(
            [vae.encode(clip).cpu() for clip in track(clips, "encoding footage", total=len(pixels))]
        )
        mean, std = raw.mean((0, 2, 3, 4)), raw.std((0, 2, 3, 4))
        shape = (1, -1, 1, 1, 1)
        statistics = {"latents_mean": mean.tolist(), "latents_std": std.tolist()}
        write_text(folder / "statistics.json", json.dumps(statistics))
        with beside(store) as part, part.open("wb") as file:
            np.save(file, ((raw - mean.view(shape)) / std.view(shape)).half().numpy())
    vae.register_to_config(**json.loads((folder / "statistics.json").read_text(encoding="utf-8")))
    return torch.from_numpy(np.load(store))


def train_filmmaker(
    run: Path,
    recipe: Recipe,
    vae: AutoencoderTubelet,
    latents: Tensor,
    shots: list[Shot],
    start: Path | None = None,
    gently: Gently = at_once,
) -> Path:
    """Train text encoder and transformer with the progressive loss; writes run/model, losses and sample strips.

    start: the folder of another run, whose averaged weights this one begins with.
    """
    from longtake.training.pictures import draw_losses, draw_strips

    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer(every_caption_word())
    filmmaker = Filmmaker(len(tokenizer), latents.shape[1], recipe.layers, recipe.heads).to(recipe.device)
    average = AveragedModel(filmmaker, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
    if start is not None:
        restore(start / "filmmaker", {"average": average})
        filmmaker.load_state_dict(average.module.state_dict())
    optimizers = filmmaker.optimizers(recipe.lr, recipe.muon_lr)
    state: State = {"filmmaker": filmmaker, "average": average, **optimizers}
    first = restore(run / "filmmaker", state)
    rates = {id(group): group["lr"] for group in _groups(optimizers)}
    run.mkdir(parents=True, exist_ok=True)
    cut_log(run / "losses.jsonl", first)
    stop = Stop()
    with gently(stop):
        for step in track(range(first, recipe.steps), "training the transformer"):
            for group in _groups(optimizers):
                group["lr"] = rates[id(group)] * trapezoid(step, recipe.steps, recipe.warmup, DECAY)
            kind, loss = _step(filmmaker, recipe, tokenizer, latents, shots, step)
            for optimizer in optimizers.values():
                optimizer.step()
                optimizer.zero_grad()
            average.update_parameters(filmmaker)
            log_path = run / "losses.jsonl"
            with writing(log_path), log_path.open("a", encoding="utf-8") as log:
                log.write(json.dumps({"step": step, "kind": kind, "loss": loss}) + "\n")
            shown = (step + 1) % recipe.save_every == 0 or step + 1 == recipe.steps
            if shown:
                export(run / "model", vae, average.module, tokenizer, recipe.sampling)
            if shown or stop.asked:
                save(run / "filmmaker", state, step + 1)
            if stop.asked:
                raise KeyboardInterrupt
            if shown:
                draw_losses(run / "losses.jsonl", run / "losses.png")
                draw_strips(run / "model", run / f"strips-{step + 1:06d}.png")
    return run / "model"


def _step(
    filmmaker: Filmmaker,
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerFast,
    latents: Tensor,
    shots: list[Shot],
    step: int,
) -> tuple[str, float]:
    """Forward and backward on the batch of a step; returns its window's kind and its loss."""
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    window = recipe.draw_window(generator)
    batch = max(1, recipe.latents_per_step // window.num_latents)
    sigma = draw_sigma(window, batch, recipe.sigmas, generator)
    x, captions = draw_clips(latents, shots, window, batch, generator, recipe.caption_drop)
    x = roughen_context(x, window.context, recipe.context_noise, generator)
    noise = torch.randn(x.shape, generator=generator)
    tokens = tokenizer([*captions, ""], padding="max_length", return_tensors="pt")
    device = recipe.device
    velocity: Velocity = filmmaker.velocity
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.bf16):
        text = filmmaker.encode(tokens.input_ids.to(device), tokens.attention_mask.to(device))
        if step >= (1 - DECAY) * recipe.steps:
            velocity = self_guided(velocity, text[-1:], recipe.guidance)
        loss = progressive_loss(velocity, x.to(device), text[:-1], sigma.to(device), noise.to(device))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(filmmaker.parameters(), 1.0)
    return window.kind, loss.item()


def _groups(optimizers: dict[str, torch.optim.Optimizer]) -> list[dict[str, float]]:
    return [group for optimizer in optimizers.values() for group in optimizer.param_groups]
