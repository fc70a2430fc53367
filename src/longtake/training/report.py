"""What a person sees of a run of the trainer: losses.jsonl, TensorBoard, and a folder to film with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from longtake.files import write_text
from longtake.models.base import ModelDefaults
from longtake.models.lora import CONFIG, lora_config, lora_key, targets_of
from longtake.models.lora import WEIGHTS as LORA_WEIGHTS
from longtake.models.places import open_model
from longtake.models.weights import OF_DIFFUSERS, part_files
from longtake.runs import new_folder, write_tensors
from longtake.training.loop import Log, Loss

LEVELS = 10  # bins of noise levels whose losses are told apart


@dataclass(frozen=True)
class Step(Loss):
    """What one step has been. The loss is the mean of a noisy latent frame over the whole batch, `levels` that of each
    tenth of noise levels that was in it; grad_norm the length of the gradient before it was clipped; lr the learning
    rate; num_latents the latent frames in the batch; seconds the time it took."""

    levels: dict[int, float]
    grad_norm: float
    lr: float
    num_latents: int
    seconds: float

    LOGGED = (*Loss.LOGGED, "grad_norm", "lr")

    @property
    def latents_per_second(self) -> float:
        return self.num_latents / self.seconds


class Report(Log[Step]):
    """Writes losses.jsonl and tensorboard/ in a run. What an earlier try wrote of steps from `first` on is dropped."""

    def __init__(self, run: Path, first: int) -> None:
        super().__init__(run, first)
        self._board = SummaryWriter(run / "tensorboard", purge_step=first)

    def add(self, told: Step) -> None:
        super().add(told)
        values = {"loss/all": told.loss, f"loss/{told.kind}": told.loss}
        values |= {f"sigma/{low / LEVELS:.1f}": loss for low, loss in told.levels.items()}
        values |= {"train/grad_norm": told.grad_norm, "train/lr": told.lr}
        values |= {"train/latents_per_second": told.latents_per_second}
        for name, value in values.items():
            self._board.add_scalar(name, value, told.step)

    def show(self, picture: Path, step: int) -> None:
        """Put a picture among TensorBoard's."""
        self._board.add_image("film", np.asarray(Image.open(picture)), step, dataformats="HWC")

    def close(self) -> None:
        super().close()
        with suppress(OSError):  # on a full disk; what filled it has been told of
            self._board.close()


def export_model(folder: Path, source: Path, weights: Mapping[str, Tensor], sampling: ModelDefaults) -> None:
    """Write the model folder `source` with other weights of the transformer, in the precision they had there, and with
    what it is to be filmed with. A folder that is there already keeps all but its weights."""
    precision = _precision(source)
    weights = {name: tensor.to(precision[name]) for name, tensor in weights.items()}
    if folder.exists():
        write_tensors(folder / "transformer" / OF_DIFFUSERS, weights, {"format": "pt"})
        return
    with new_folder(folder) as part:
        for place in ("", *open_model(source).parts):
            (part / place).mkdir(exist_ok=True)
            for file in (source / place).iterdir():
                if file.is_file() and (place != "transformer" or file.name == "config.json"):
                    shutil.copyfile(file, part / place / file.name)
        write_tensors(part / "transformer" / OF_DIFFUSERS, weights, {"format": "pt"})
        write_text(part / "longtake.json", json.dumps(sampling.told, indent=2) + "\n")


def export_lora(
    folder: Path, weights: Mapping[str, Tensor], rank: int, alpha: float, base: str, sampling: ModelDefaults
) -> None:
    """Write a LoRA of the model `base` as peft does, with what it is to be filmed with."""
    folder.mkdir(exist_ok=True)
    targets = targets_of(name.partition(".lora_")[0] for name in weights)
    write_text(folder / CONFIG, lora_config(rank, alpha, base, targets))
    write_text(folder / "longtake.json", json.dumps(sampling.told, indent=2) + "\n")
    write_tensors(folder / LORA_WEIGHTS, {lora_key(name): tensor for name, tensor in weights.items()})


def _precision(source: Path) -> dict[str, torch.dtype]:
    """The type of each of the weights of a model folder's transformer."""
    types: dict[str, torch.dtype] = {}
    for file in part_files(source, "transformer").files:
        with safe_open(file, "pt") as weights:
            types |= {name: weights.get_slice(name)[:0].dtype for name in weights.keys()}  # noqa: SIM118
    return types
