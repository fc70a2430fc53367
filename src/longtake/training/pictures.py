"""Pictures of a training run: its loss curves, and strips of what it films."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from longtake.files import beside
from longtake.pipeline import LongTake

STRIP_WIDTH = 2048  # of a strip, at most


def draw_strip(
    take: LongTake, picture: Path, prompts: tuple[str, ...], seconds: int = 4, columns: int = 8
) -> None:
    """Film every prompt for some seconds, and lay moments of each in a row."""
    num_frames = round(seconds * take.model.spec.defaults.fps)
    moments = np.linspace(0, num_frames - 1, columns).astype(int)
    rows = [
        np.concatenate(list(take.generate(prompt, num_frames=num_frames, seed=7)[moments]), axis=1)
        for prompt in prompts
    ]
    strip = Image.fromarray(np.concatenate(rows))
    strip.thumbnail((STRIP_WIDTH, strip.height))
    picture.parent.mkdir(exist_ok=True)
    with beside(picture) as part:
        strip.save(part, format="PNG")


def draw_losses(log: Path, picture: Path) -> None:
    """Plot the loss of every kind of window, smoothed, against the step."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in log.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        curves[row["kind"]].append((row["step"], row["loss"]))
    figure, axes = pyplot.subplots(figsize=(8, 4))
    for kind, points in sorted(curves.items()):
        steps, losses = np.array(points).T
        width = min(len(losses), 25)
        axes.plot(steps[width - 1 :], np.convolve(losses, np.ones(width) / width, "valid"), label=kind)
    axes.set(xlabel="step", ylabel="velocity loss", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    with beside(picture) as part:
        figure.savefig(part, format="png", dpi=110, bbox_inches="tight")
    pyplot.close(figure)
