"""The end of the embedded model's recipe: the trainer that people use, on the world's footage in memory.

Shapes: B batch, C channels, F latent frames, H W latent height and width, L text tokens, D text width.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from torch import Tensor

from longtake.models.base import ModelDefaults, VideoModel
from longtake.models.load import load_encoders, read_spec
from longtake.progress import track
from longtake.training.loss import Window
from longtake.training.options import TrainOptions
from longtake.training.stopping import Gently, at_once
from longtake.training.trainer import Trainer
from longtake.worlds.tracking_shot.shot import Shot

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


class WorldFilm:
    """Clips as Footage for the trainer: its latents (clips, C, F, H, W), captioned anew in every batch.

    model: encodes the captions.
    """

    def __init__(
        self, latents: Tensor, shots: list[Shot], model: VideoModel, sampling: ModelDefaults
    ) -> None:
        self.latents, self.shots, self.model, self.sampling = latents, shots, model, sampling
        self.null_text = model.encode_prompt([""]).float()

    def batch(
        self, window: Window, batch: int, generator: torch.Generator, caption_drop: float
    ) -> tuple[Tensor, Tensor]:
        """Latents (B, C, F, H, W) for the window and text (B, L, D), drawn with the generator."""
        latents, captions = draw_clips(self.latents, self.shots, window, batch, generator, caption_drop)
        return latents, self.model.encode_prompt(captions).float()


def draw_clips(
    latents: Tensor,
    shots: list[Shot],
    window: Window,
    batch: int,
    generator: torch.Generator,
    caption_drop: float,
) -> tuple[Tensor, list[str]]:
    """Latents (B, C, F, H, W), float32, for a window anywhere in clips (clips, C, F, H, W), and captions of theirs."""
    clips = torch.randint(len(latents), (batch,), generator=generator).tolist()
    places = latents.shape[2] - window.num_latents + 1
    starts = torch.randint(places, (batch,), generator=generator).tolist()
    rng = random.Random(int(torch.randint(2**62, (), generator=generator)))
    windows = [
        latents[clip, :, start : start + window.num_latents]
        for clip, start in zip(clips, starts, strict=True)
    ]
    return torch.stack(windows).float(), [_caption(shots[clip], rng, caption_drop) for clip in clips]


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
    film = WorldFilm(latents, shots, load_encoders(model), options.sampling(spec))
    trainer = Trainer(model, film, run, options, filmed=spec.defaults)
    with gently(trainer.stop):
        for _ in track(trainer.steps(), "training with the trainer", total=options.steps - trainer.step):
            pass
    if trainer.step < options.steps:
        raise KeyboardInterrupt
    return trainer.result


def _caption(shot: Shot, rng: random.Random, drop: float) -> str:
    """A caption in some phrasing; empty with probability `drop`; now and then with unknown words strewn in."""
    if rng.random() < drop:
        return ""
    words = shot.caption(rng).split()
    for _ in range(rng.choice((0, 0, 0, 0, 1, 2))):
        words.insert(rng.randrange(len(words) + 1), "[UNK]")
    return " ".join(words)
