"""What a person sees of a training run: losses.jsonl, TensorBoard, strips of film, and a folder to film with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from longtake.files import beside, write_text, writing
from longtake.models.base import ModelDefaults
from longtake.models.folder import CONFIGS
from longtake.models.lora import CONFIG, lora_config, lora_key
from longtake.models.lora import WEIGHTS as LORA_WEIGHTS
from longtake.models.weights import WEIGHTS, part_files
from longtake.pipeline import LongTake
from longtake.runs import new_folder, write_tensors

LEVELS = 10  # bins of noise levels whose losses are told apart
STRIP_SECONDS, STRIP_COLUMNS, STRIP_WIDTH = 4, 8, 2048


@dataclass(frozen=True)
class Step:
    """What one step has been: its number from 0, the kind of window, the mean loss of a noisy latent frame over the
    whole batch and for each tenth of noise levels that was in it, the length of the gradient before it was clipped,
    the learning rate, the latent frames in the batch and the seconds it took."""

    step: int
    kind: str
    loss: float
    levels: dict[int, float]
    grad_norm: float
    lr: float
    num_latents: int
    seconds: float

    @property
    def latents_per_second(self) -> float:
        return self.num_latents / self.seconds


def cut_log(log: Path, first: int) -> None:
    """Drop what an earlier try wrote of steps from `first` on, of a log of a line a step; it need not be there yet."""
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
    write_text(log, "".join(lines[:first]))


class Report:
    """Writes losses.jsonl and tensorboard/ in a run. What an earlier try wrote of steps from `first` on is dropped."""

    def __init__(self, run: Path, first: int) -> None:
        log = run / "losses.jsonl"
        cut_log(log, first)
        self._log = log.open("a", encoding="utf-8")
        self._board = SummaryWriter(run / "tensorboard", purge_step=first)

    def add(self, step: Step) -> None:
        row = {key: getattr(step, key) for key in ("step", "kind", "loss", "grad_norm", "lr")}
        with writing(Path(self._log.name)):
            self._log.write(json.dumps(row) + "\n")
            self._log.flush()
        values = {"loss/all": step.loss, f"loss/{step.kind}": step.loss}
        values |= {f"sigma/{low / LEVELS:.1f}": loss for low, loss in step.levels.items()}
        values |= {"train/grad_norm": step.grad_norm, "train/lr": step.lr}
        values |= {"train/latents_per_second": step.latents_per_second}
        for name, value in values.items():
            self._board.add_scalar(name, value, step.step)

    def show(self, strip: Path, step: int) -> None:
        """Put a picture among TensorBoard's."""
        self._board.add_image("film", np.asarray(Image.open(strip)), step, dataformats="HWC")

    def close(self) -> None:
        with suppress(OSError):  # on a full disk; what filled it has been told of
            self._log.close()
            self._board.close()


def draw_strip(take: LongTake, prompts: tuple[str, ...], picture: Path) -> None:
    """Film every prompt for a few seconds, and lay moments of each in a row."""
    num_frames = round(STRIP_SECONDS * take.model.spec.defaults.fps)
    moments = np.linspace(0, num_frames - 1, STRIP_COLUMNS).astype(int)
    rows = [
        np.concatenate(list(take.generate(prompt, num_frames=num_frames, seed=7)[moments]), axis=1)
        for prompt in prompts
    ]
    strip = Image.fromarray(np.concatenate(rows))
    strip.thumbnail((STRIP_WIDTH, strip.height))
    picture.parent.mkdir(exist_ok=True)
    with beside(picture) as part:
        strip.save(part, format="PNG")


def export_model(folder: Path, source: Path, weights: Mapping[str, Tensor], sampling: ModelDefaults) -> None:
    """Write the model folder `source` with other weights of the transformer, in the precision they had there, and with
    what it is to be filmed with. A folder that is there already keeps all but its weights."""
    precision = _precision(source)
    weights = {name: tensor.to(precision[name]) for name, tensor in weights.items()}
    if folder.exists():
        write_tensors(folder / "transformer" / WEIGHTS["transformer"], weights, {"format": "pt"})
        return
    with new_folder(folder) as part:
        for place in ("", *CONFIGS):
            (part / place).mkdir(exist_ok=True)
            for file in (source / place).iterdir():
                if file.is_file() and (place != "transformer" or file.name == "config.json"):
                    shutil.copyfile(file, part / place / file.name)
        write_tensors(part / "transformer" / WEIGHTS["transformer"], weights, {"format": "pt"})
        write_text(part / "longtake.json", json.dumps(asdict(sampling), indent=2) + "\n")


def export_lora(
    folder: Path, weights: Mapping[str, Tensor], rank: int, alpha: float, base: str, sampling: ModelDefaults
) -> None:
    """Write a LoRA of the model `base` as peft does, with what it is to be filmed with."""
    folder.mkdir(exist_ok=True)
    write_text(folder / CONFIG, lora_config(rank, alpha, base))
    write_text(folder / "longtake.json", json.dumps(asdict(sampling), indent=2) + "\n")
    write_tensors(folder / LORA_WEIGHTS, {lora_key(name): tensor for name, tensor in weights.items()})


def _precision(source: Path) -> dict[str, torch.dtype]:
    """The type of each of the weights of a model folder's transformer."""
    types: dict[str, torch.dtype] = {}
    for file in part_files(source, "transformer").files:
        with safe_open(file, "pt") as weights:
            types |= {name: weights.get_slice(name)[:0].dtype for name in weights.keys()}  # noqa: SIM118
    return types
