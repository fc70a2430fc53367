"""The recipe of the tracking-shot model: footage, autoencoder, latents, then text encoder and transformer.

Training does whatever of it is not done yet in the folder `run`, and ends with a complete diffusers folder,
run/finish/model, which the trainer has made of run/model. Every batch is a function of its step, so a run that was
stopped goes on as if it had not been.

B batch, C channels, F latent frames, H W latent height and width
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longtake.files import beside, write_text
from longtake.models.base import ModelDefaults
from longtake.models.load import read_spec
from longtake.models.small.tubelet import AutoencoderTubelet
from longtake.pictures import to_tensor
from longtake.progress import track
from longtake.training.loop import Gently, at_once
from longtake.training.loss import Shares, Window, draw_sigma, roughen_context
from longtake.training.options import TrainOptions
from longtake.training.pictures import draw_strip
from longtake.training.recipe import EIGHT_STEPS, Captioned, CaptionedFilm, Recipe, strewn, train_filmmaker
from longtake.training.trainer import Trainer
from longtake.training.tubelet import train_tubelet
from longtake.worlds.tracking_shot.footage import footage
from longtake.worlds.tracking_shot.shot import FPS, HEIGHT, WIDTH, Shot, every_caption_word

DEFAULTS = EIGHT_STEPS(width=WIDTH, height=HEIGHT, fps=FPS)
SHARES = Shares(steady=0.3, start=0.3, extend=0.05, drain=0.05, level=0.1, still=0.2)
STRIP_SHOTS = (
    Shot("car", "red", "mountains", "dawn", "clear", "steady"),
    Shot("train", "yellow", "city", "night", "rainy", "fast"),
    Shot("sailboat", "blue", "desert", "sunset", "cloudy", "slow"),
    Shot("tractor", "green", "hills", "noon", "foggy", "steady"),
)

FINISH = TrainOptions(
    steps=250,
    batch_size=14,
    lr=2e-4,
    warmup=25,
    guidance=2.0,
    context_size=3,
    context_share=0.3,
    context_noise=0.3,
    save_every=50,
    sample_every=50,
    sample_prompts=(
        "a red car driving past snowy mountains at dawn",
        "a golden tractor in front of hills in the blue hour through heavy rain",
        "a white van driving through the city at night in light snow",
    ),
)


@dataclass(frozen=True)
class TrackingShotRecipe(Recipe):
    """The defaults take three to four hours on two CPU cores. docs/log.md finds filming with a context no good."""

    clips: int = 2000
    frames: int = 64
    vae_steps: int = 1300
    steps: int = 2080
    latents_per_step: int = 110
    warmup: int = 60
    ema: float = 0.99
    sampling: ModelDefaults = DEFAULTS
    shares: Shares = SHARES
    patch: int = 2
    save_every: int = 150

    def train(self, run: Path, gently: Gently = at_once) -> Path:
        self.claim(run)
        pixels, shots = footage(run / "footage", self.clips, self.frames, self.seed)
        vae = AutoencoderTubelet().to(self.device)
        train_tubelet(vae, pixels, self.vae_steps, run / "vae", gently=gently)
        latents = encoded(run / "latents", vae, pixels)
        model = self.train_filmmaker(run, vae, latents, shots, gently=gently)
        options = FINISH.model_copy(update={"bf16": self.bf16})
        return finish(model, run / "finish", latents, shots, options, gently)

    def train_filmmaker(
        self,
        run: Path,
        vae: AutoencoderTubelet,
        latents: Tensor,
        shots: list[Shot],
        start: Path | None = None,
        gently: Gently = at_once,
    ) -> Path:
        """Train on the latents (clips, C, F, H, W) of shots; see training.recipe.train_filmmaker."""

        def draw(window: Window, batch: int, generator: torch.Generator) -> Captioned:
            sigma = draw_sigma(window, batch, self.sigmas, generator)
            x, captions, _ = draw_clips(latents, shots, window, batch, generator, self.caption_drop)
            x = roughen_context(x, window.context, self.context_noise, generator)
            noise = torch.randn(x.shape, generator=generator)
            return Captioned(x, sigma, noise, [*captions, ""], slice(-1), -1)

        strip = partial(draw_strip, prompts=tuple(shot.caption() for shot in STRIP_SHOTS))
        return train_filmmaker(run, self, vae, every_caption_word(), draw, strip, start, gently=gently)


EDITIONS = {"small": TrackingShotRecipe()}


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


def draw_clips(
    latents: Tensor,
    shots: list[Shot],
    window: Window,
    batch: int,
    generator: torch.Generator,
    caption_drop: float,
) -> tuple[Tensor, list[str], slice]:
    """Latents (B, C, F, H, W), float32, for a window anywhere in clips (clips, C, F, H, W), and a caption for each."""
    clips = torch.randint(len(latents), (batch,), generator=generator).tolist()
    places = latents.shape[2] - window.num_latents + 1
    starts = torch.randint(places, (batch,), generator=generator).tolist()
    rng = random.Random(int(torch.randint(2**62, (), generator=generator)))
    windows = [
        latents[clip, :, start : start + window.num_latents]
        for clip, start in zip(clips, starts, strict=True)
    ]
    captions = [
        "" if rng.random() < caption_drop else strewn(shots[clip].caption(rng), rng) for clip in clips
    ]
    return torch.stack(windows).float(), captions, slice(None)


def finish(
    model: Path,
    run: Path,
    latents: Tensor,
    shots: list[Shot],
    options: TrainOptions,
    gently: Gently = at_once,
) -> Path:
    """Train the network of a model folder further in `run`, going on where an earlier call stopped; returns the result.

    It is to be filmed as `model` is, whatever context it met in training.
    """
    spec = read_spec(model)
    film = CaptionedFilm(partial(draw_clips, latents, shots), model, options.sampling(spec))
    trainer = Trainer(model, film, run, options, filmed=spec.defaults)
    trainer.loop.run("training with the trainer", gently)
    return trainer.result
