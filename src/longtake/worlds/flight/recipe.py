"""The recipe of the flight model: footage, autoencoder, latents, text encoder and transformer, and half its steps.

Training does whatever of it is not done yet in the folder `run`. run/model films in eight steps; run/few/model, made
of it, in four. Every batch is a function of its step, so a run that was stopped goes on as if it had not been.

B batch, C channels, F latent frames, H W latent height and width
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from longtake.models.base import ModelDefaults
from longtake.models.load import read_spec
from longtake.models.small.lapped import AutoencoderLapped
from longtake.pipeline import LongTake
from longtake.runs import new_folder
from longtake.training.distil import distilling
from longtake.training.lapped import train_lapped
from longtake.training.loop import Gently, at_once
from longtake.training.loss import Shares, Window, draw_sigma, roughen_context
from longtake.training.options import DistilOptions
from longtake.training.pictures import draw_losses, draw_strip
from longtake.training.recipe import EIGHT_STEPS, Captioned, CaptionedFilm, Recipe, train_filmmaker
from longtake.training.trainer import Trainer
from longtake.worlds.flight.clips import WITH_CHANGES, Drawing, FlightClips, flight_clips, footage
from longtake.worlds.flight.flight import FPS, HEIGHT, WIDTH
from longtake.worlds.flight.scene import every_caption_word

DEFAULTS = EIGHT_STEPS(width=WIDTH, height=HEIGHT, fps=FPS)
# By latents to a chunk, which is also the passes between two: how often a batch sees windows of such chunks. All have
# eight noisy latents.
CHUNKS = {1: 0.6, 2: 0.25, 4: 0.15}
SHARES = Shares(steady=0.45, start=0.2, extend=0.05, drain=0.05, level=0.1, still=0.15)
STRIP: Callable[[LongTake, Path], None] = partial(
    draw_strip,
    seconds=8,
    columns=9,
    prompts=(
        "a drone flight low over green islands at noon",
        "a drone flight high over snowy mountains, turning left, at sunset under a cloudy sky",
        "a drone flight low over a red canyon, turning right, at dawn",
        "a drone flight low over desert dunes, climbing, at sunset",
        "a drone flight high over a pine forest at dusk in fog",
        "a drone flight low over mountain lakes, fast, at night",
    ),
)


@dataclass(frozen=True)
class FlightRecipe(Recipe):
    """It is trained with chunks of other sizes too. More or fewer steps may be asked for while the learning rate has
    not begun to fall.

    An autoencoder that stands in run/autoencoder, such as another run's, is not trained again. The model folder
    run/start, if there is one, is what the filmmaker begins as.
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
    ema: float = 0.998
    changing: float = 0.3
    prediction: str = "sample"
    sampling: ModelDefaults = DEFAULTS
    shares: Shares = SHARES
    patch: int = 1
    distil_steps: int = 2000
    distil_batch: int = 8
    distil_lr: float = 2e-4
    save_every: int = 250

    FREE = (*Recipe.FREE, "steps", "vae_steps", "distil_steps")

    def train(self, run: Path, gently: Gently = at_once) -> Path:
        self.claim(run)
        if not (run / "autoencoder").exists():
            self._train_autoencoder(run, gently)
        vae = AutoencoderLapped.from_pretrained(run / "autoencoder").to(self.device)
        clips = flight_clips(run / "clips", vae, self.drawing)
        self.train_filmmaker(run, vae, clips, gently)
        return self._halve_steps(run, clips, gently)

    @property
    def drawing(self) -> Drawing:
        """The clips that the filmmaker learns from."""
        size = self.sampling.width, self.sampling.height
        return Drawing(self.groups, self.together, self.latents, self.seed, *size)

    def window_sampling(self, generator: torch.Generator) -> ModelDefaults:
        sizes, weights = torch.tensor(list(CHUNKS)), torch.tensor(list(CHUNKS.values()))
        size = int(sizes[torch.multinomial(weights, 1, generator=generator)])
        return replace(super().window_sampling(generator), chunk_size=size, steps_per_chunk=size)

    def train_filmmaker(
        self, run: Path, vae: AutoencoderLapped, clips: FlightClips, gently: Gently = at_once
    ) -> Path:
        """Train on clips; see training.recipe.train_filmmaker."""
        clips.latents = clips.latents.to(self.device)

        def draw(window: Window, batch: int, generator: torch.Generator) -> Captioned:
            changing = self._changing(window, generator)
            sigma = draw_sigma(window, batch, self.sigmas, generator)
            x, captions, text = clips.batch(window, batch, generator, self.caption_drop, changing)
            x = roughen_context(x, window.context, self.context_noise, generator)
            noisy = torch.Generator(x.device).manual_seed(2**40 + generator.initial_seed())
            noise = torch.randn(x.shape, generator=noisy, device=x.device)
            return Captioned(x, sigma, noise, captions, text, 0)

        start = run / "start" if (run / "start").exists() else None
        muon_dtype = torch.bfloat16 if self.bf16 else None
        return train_filmmaker(run, self, vae, every_caption_word(), draw, STRIP, start, muon_dtype, gently)

    def _changing(self, window: Window, generator: torch.Generator) -> bool:
        """Whether the windows of a batch see something change."""
        return bool(torch.rand((), generator=generator) < self.changing) and window.kind in WITH_CHANGES

    def _train_autoencoder(self, run: Path, gently: Gently) -> None:
        """Train it on footage that the filmmaker does not see; writes run/autoencoder."""
        others = replace(self.drawing, groups=self.vae_groups, seed=self.seed + 1_000_000)
        pixels = footage(run / "footage.npy", others, self.device)
        vae = AutoencoderLapped(self.channels).to(self.device)
        train_lapped(
            vae,
            pixels,
            self.vae_steps,
            run / "vae",
            batch=self.vae_batch,
            lr=self.vae_lr,
            bf16=self.bf16,
            gently=gently,
        )
        with new_folder(run / "autoencoder") as part:
            vae.save_pretrained(part)

    def _halve_steps(self, run: Path, clips: FlightClips, gently: Gently) -> Path:
        """Halve the steps that run/model films with; returns the folder of what comes of it, run/few/model."""
        options = DistilOptions(
            steps=self.distil_steps,
            batch_size=self.distil_batch,
            lr=self.distil_lr,
            bf16=self.bf16,
            sample_every=0,
            save_every=self.save_every,
            seed=self.seed,
        )
        model, few = run / "model", run / "few"
        film = CaptionedFilm(
            lambda window, batch, generator, drop: clips.batch(
                window, batch, generator, drop, self._changing(window, generator)
            ),
            model,
            options.sampling(read_spec(model)),
        )
        trainer = Trainer(model, film, few, options, objective=distilling)
        trainer.loop.run("halving its steps", gently)
        draw_losses(few / "losses.jsonl", few / "losses.png")
        STRIP(LongTake.from_pretrained(trainer.result, self.device), few / "strips.png")
        return trainer.result


LARGE = FlightRecipe(
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
    "tiny": FlightRecipe(
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
    "small": FlightRecipe(),
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
