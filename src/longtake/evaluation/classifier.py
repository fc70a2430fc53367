"""Reads the attributes of a tracking shot off a single frame: an absolute judge of what a film shows.

A small convolutional network, trained on renders that no generator was trained on. It judges vehicle, colour,
landscape, time and weather; speed cannot be seen in one frame. Its blind spot is everything else: a frame can be
ugly and still be read right.

Shapes: B pictures, H W picture height and width.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import Tensor, nn
from torch.nn import functional

from longtake.errors import ModelError
from longtake.finite import SEEN, require_finite
from longtake.processes import processes
from longtake.progress import track
from longtake.training.checkpoint import write_tensors
from longtake.training.schedule import trapezoid
from longtake.worlds.tracking_shot import ATTRIBUTES, HEIGHT, WIDTH, Shot, random_shot

JUDGED = ("vehicle", "colour", "landscape", "time", "weather")
Frames = NDArray[np.uint8]  # (B, H, W, 3)


class AttributeClassifier(nn.Module):
    """Frames (B, 3, HEIGHT, WIDTH) in [-1, 1] to one row of logits an attribute."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 96), (96, 128)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
                nn.GroupNorm(8, outputs),
                nn.GELU(),
            ]
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2))
        size = 128 * (HEIGHT // 16) * (WIDTH // 16)
        self.heads = nn.ModuleDict({name: nn.Linear(size, len(ATTRIBUTES[name])) for name in JUDGED})

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        features = self.trunk(frames)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, frames: Frames) -> dict[str, str]:
        """The attributes that these frames (B, H, W, 3), taken together, most likely show. NumberError if the network
        makes no finite numbers of them."""
        logits = {name: require_finite(rows, *SEEN) for name, rows in self(pictures(frames)).items()}
        return {
            name: list(ATTRIBUTES[name])[int(rows.log_softmax(1).sum(0).argmax())]
            for name, rows in logits.items()
        }


def pictures(frames: Frames) -> Tensor:
    """Frames (B, H, W, 3) uint8 to (B, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


def trained_classifier(
    path: Path, stills: int = 6000, steps: int = 500, batch: int = 64
) -> AttributeClassifier:
    """The classifier stored at `path`, trained and stored there first if need be (minutes on two cores)."""
    classifier = AttributeClassifier()
    if path.exists():
        try:
            load_model(classifier, path)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                f"{path} holds no classifier of this version: delete it, to train it anew"
            ) from error
        return classifier.eval()
    torch.manual_seed(0)
    frames, labels = rendered_stills(stills, seed=10_001)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=2e-3, weight_decay=0.02)
    for step in track(range(steps), "training the attribute classifier"):
        optimizer.param_groups[0]["lr"] = 2e-3 * trapezoid(step, steps, warmup=30)
        chosen = torch.randint(stills, (batch,))
        x = pictures(frames[chosen.numpy()])
        logits = classifier(x + 0.05 * torch.rand(batch, 1, 1, 1) * torch.randn_like(x))
        loss = torch.stack(
            [functional.cross_entropy(logits[name], labels[name][chosen]) for name in JUDGED]
        ).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, classifier.state_dict())
    return classifier.eval()


def rendered_stills(count: int, seed: int, held_out: bool | None = None) -> tuple[Frames, dict[str, Tensor]]:
    """`count` single frames of random shots (of either side of the hold-out, or both in turn) and their labels."""
    rng = random.Random(seed)
    sides = [i % 10 == 0 if held_out is None else held_out for i in range(count)]
    shots = [random_shot(rng, held_out=side) for side in sides]
    jobs = [(shot, rng.randrange(4000)) for shot in shots]
    with processes() as pool:
        frames = np.concatenate(list(pool.map(_still, jobs, chunksize=64)))
    labels = {
        name: torch.tensor([list(ATTRIBUTES[name]).index(shot.attributes[name]) for shot in shots])
        for name in JUDGED
    }
    return frames, labels


@torch.no_grad()
def accuracy(classifier: AttributeClassifier, frames: Frames, labels: dict[str, Tensor]) -> dict[str, float]:
    """Share of single frames whose attribute is read right."""
    chunks = [classifier(pictures(frames[i : i + 256])) for i in range(0, len(frames), 256)]
    return {
        name: float((torch.cat([chunk[name] for chunk in chunks]).argmax(1) == labels[name]).float().mean())
        for name in JUDGED
    }


def _still(job: tuple[Shot, int]) -> Frames:
    shot, frame = job
    return shot.render(frame, 1)
