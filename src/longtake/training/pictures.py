"""Pictures of a training run: its loss curves, and strips of what it films."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from longtake.files import beside
from longtake.pipeline import LongTake
from longtake.worlds.tracking_shot.shot import Shot

STRIP_SHOTS = (
    Shot("car", "red", "mountains", "dawn", "clear", "steady"),
    Shot("train", "yellow", "city", "night", "rainy", "fast"),
    Shot("sailboat", "blue", "desert", "sunset", "cloudy", "slow"),
    Shot("tractor", "green", "hills", "noon", "foggy", "steady"),
)


def draw_strips(model: Path, picture: Path, seconds: int = 4, columns: int = 8) -> None:
    """Film every one of STRIP_SHOTS with a model folder and lay moments of each out in a row."""
    film = LongTake.from_pretrained(model)
    rows = []
    for shot in STRIP_SHOTS:
        frames = film.generate(shot.caption(), seconds=seconds, seed=7)
        rows.append(
            np.concatenate(list(frames[np.linspace(0, len(frames) - 1, columns).astype(int)]), axis=1)
        )
    with beside(picture) as part:
        Image.fromarray(np.concatenate(rows)).save(part, format="PNG")


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
