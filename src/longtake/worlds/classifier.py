"""Reads attributes off what a film shows: an absolute judge of it, for worlds that know what they show.

A small convolutional network, trained on renders that no generator was trained on. What it reads, and off how many
frames at a time, is a `Lesson`. Its blind spot is everything else: a frame can be ugly and still be read right.

Shapes: B looks, each of one frame or of some on top of each other, C channels, 3 a frame, H W picture height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from longtake.progress import track
from longtake.runs import write_tensors
from longtake.training.schedule import trapezoid

UNSEEN = 20_002  # the seed of renders that no classifier is trained on
UNREAD = -100  # the label of an attribute that a look does not show; what torch's cross entropy passes over
Frames = NDArray[np.uint8]  # looks (B, H, W, C)
Labels = dict[str, Tensor]  # of each attribute, the number of its value in each look, or UNREAD


@dataclass(frozen=True)
class Lesson:
    """What a classifier learns, and off how much.

    values: of each attribute. render: makes so many looks and their labels from a seed; held-out combinations, others,
    or, for None, both, one in ten held out. size: width and height of a look, frames: how many it has. count: looks
    that are learnt from. steps: of training. mirrored: the values that become others where pictures are turned left to
    right, if these may be turned.
    """

    values: Mapping[str, Sequence[str]]
    render: Callable[[int, int, bool | None], tuple[Frames, Labels]]
    size: tuple[int, int]
    frames: int = 1
    count: int = 6000
    steps: int = 500
    mirrored: Mapping[str, Mapping[str, str]] | None = None

    def turned(self, name: str) -> Tensor:
        """The number of the value that each value of an attribute becomes in a mirror."""
        values, becomes = list(self.values[name]), (self.mirrored or {}).get(name, {})
        return torch.tensor([values.index(becomes.get(value, value)) for value in values])


def labels_of(shown: Sequence[Mapping[str, str]], values: Mapping[str, Sequence[str]]) -> Labels:
    """The labels of looks that show these attributes; one that is not there is UNREAD."""
    return {
        name: torch.tensor([list(known).index(one[name]) if name in one else UNREAD for one in shown])
        for name, known in values.items()
    }


class AttributeClassifier(nn.Module):
    """Looks (B, C, H, W) in [-1, 1], of the size of its lesson, to one row of logits an attribute."""

    def __init__(self, lesson: Lesson) -> None:
        super().__init__()
        self.lesson = lesson
        layers: list[nn.Module] = []
        for inputs, outputs in ((3 * lesson.frames, 32), (32, 64), (64, 96), (96, 128)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
                nn.GroupNorm(8, outputs),
                nn.GELU(),
            ]
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2))
        width, height = lesson.size
        size = 128 * (height // 16) * (width // 16)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(size, len(values)) for name, values in lesson.values.items()}
        )

    def forward(self, looks: Tensor) -> dict[str, Tensor]:
        features = self.trunk(looks)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, looks: Frames) -> dict[str, str]:
        """The attributes that these looks (B, H, W, C), taken together, most likely show. NumberError if the network
        makes no finite numbers of them."""
        logits = {name: require_finite(rows, *SEEN) for name, rows in self(pictures(looks)).items()}
        return {
            name: self.lesson.values[name][int(rows.log_softmax(1).sum(0).argmax())]
            for name, rows in logits.items()
        }

    def read_right(self, count: int) -> dict[str, float]:
        """Of each attribute, the share that is read right of `count` looks at renders of held-out combinations."""
        return accuracy(self, *self.lesson.render(count, UNSEEN, True))


def pictures(looks: Frames) -> Tensor:
    """Looks (B, H, W, C) uint8 to (B, C, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(looks)).permute(0, 3, 1, 2).float() / 127.5 - 1


def trained_classifier(path: Path, lesson: Lesson, batch: int = 64) -> AttributeClassifier:
    """The classifier stored at `path`, trained and stored there first if need be (minutes on two cores)."""
    classifier = AttributeClassifier(lesson)
    if path.exists():
        try:
            load_model(classifier, path)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                f"{path} holds no classifier of this version: delete it, to train it anew"
            ) from error
        return classifier.eval()
    torch.manual_seed(0)
    _teach(classifier, lesson, batch)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, classifier.state_dict())
    return classifier.eval()


def _teach(classifier: AttributeClassifier, lesson: Lesson, batch: int) -> None:
    looks, labels = lesson.render(lesson.count, 10_001, None)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=2e-3, weight_decay=0.02)
    for step in track(range(lesson.steps), "training the attribute classifier"):
        optimizer.param_groups[0]["lr"] = 2e-3 * trapezoid(step, lesson.steps, warmup=30)
        chosen = torch.randint(len(looks), (batch,))
        x, wanted = pictures(looks[chosen.numpy()]), {name: labels[name][chosen] for name in lesson.values}
        if lesson.mirrored is not None and torch.rand(()) < 0.5:
            x, wanted = x.flip(3), {name: _turned(rows, lesson.turned(name)) for name, rows in wanted.items()}
        logits = classifier(x + 0.05 * torch.rand(batch, 1, 1, 1) * torch.randn_like(x))
        losses = [
            functional.cross_entropy(logits[name], wanted[name], ignore_index=UNREAD) for name in wanted
        ]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()


def _turned(labels: Tensor, becomes: Tensor) -> Tensor:
    return torch.where(labels == UNREAD, labels, becomes[labels.clamp_min(0)])


@torch.no_grad()
def accuracy(classifier: AttributeClassifier, looks: Frames, labels: Labels) -> dict[str, float]:
    """Share of single looks whose attribute is read right, of those that show it."""
    chunks = [classifier(pictures(looks[i : i + 256])) for i in range(0, len(looks), 256)]
    right = {name: torch.cat([chunk[name] for chunk in chunks]).argmax(1) == labels[name] for name in labels}
    return {name: float(rows[labels[name] != UNREAD].float().mean()) for name, rows in right.items()}
