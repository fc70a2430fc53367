"""Trains on film in memory, for tests that need processes: `python tiny_run.py MODEL '{"RUN": {OPTIONS}, …}'`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor

from longtake.models.base import ModelDefaults
from longtake.models.load import read_spec
from longtake.models.text import Text
from longtake.training.distil import distilling
from longtake.training.loss import Window
from longtake.training.objectives import Denoising
from longtake.training.options import DistilOptions, RunOptions, TrainOptions
from longtake.training.trainer import Trainer

LATENTS, CHANNELS, TEXT = 9, 4, (12, 16)


class MemoryFilm:
    """Two captioned clips of 9 latents of 4 × 4; what moves in them is a wave, and another one in each."""

    def __init__(self, sampling: ModelDefaults) -> None:
        self.sampling = sampling
        place = (
            torch.linspace(0, 6, LATENTS)[:, None, None]
            + torch.linspace(0, 3, 4)[:, None]
            + torch.linspace(0, 3, 4)
        )
        waves = torch.stack([torch.sin(place * (1 + c / 2)) for c in range(CHANNELS)])
        self.clips = torch.stack([waves, -waves.flip(1)])
        self.texts = torch.randn(2, *TEXT, generator=torch.Generator().manual_seed(9))
        self.null_text = Text.of_zero_padded(torch.zeros(1, *TEXT))

    def batch(
        self, window: Window, batch: int, generator: torch.Generator, caption_drop: float
    ) -> tuple[Tensor, Text]:
        clips = torch.randint(2, (batch,), generator=generator)
        starts = torch.randint(LATENTS - window.num_latents + 1, (batch,), generator=generator)
        kept = torch.rand(batch, 1, 1, generator=generator) >= caption_drop
        windows = [
            self.clips[clip, :, start : start + window.num_latents]
            for clip, start in zip(clips.tolist(), starts.tolist(), strict=True)
        ]
        return torch.stack(windows), Text.of_zero_padded(self.texts[clips] * kept)


def trainer(
    model: Path | str, run: Path, kind: type[MemoryFilm] = MemoryFilm, distil: bool = False, **given: Any
) -> Trainer:
    options: RunOptions = DistilOptions(**given) if distil else TrainOptions(**given)
    film = kind(options.sampling(read_spec(model)))
    return Trainer(model, film, run, options, objective=distilling if distil else Denoising)


def main(model: str, runs: str) -> None:
    for run, options in json.loads(runs).items():
        for step in trainer(model, Path(run), **options).steps():
            print(step.step, flush=True)
    PartialState().destroy_process_group()  # or its threads may abort a process that ends


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("LONGTAKE_THREADS", "1")))  # as the tests that start it
    main(*sys.argv[1:])
