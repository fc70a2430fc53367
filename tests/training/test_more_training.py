"""Training tiny relatives of Motif-Video and MiniMax-H3: film is prepared, a loss falls, the result films."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longtake.training.prepare import prepare
from longtake.video import VideoWriter
from more_folders import save_h3, save_motif

pytestmark = pytest.mark.slow

QUICK = (
    "--batch-size",
    "4",
    "--warmup",
    "0",
    "--schedule",
    "constant",
    "--ema",
    "0",
    "--level",
    "0",
    "--start",
    "0",
)
# The sides of a picture, the latents of a chunk and of the context.
KINDS = {"Motif-Video": (save_motif, 32, 1, 1), "MiniMax-H3": (save_h3, 32, 5, 5)}


@pytest.mark.parametrize(("kind", "rank"), [("Motif-Video", 0), ("Motif-Video", 4), ("MiniMax-H3", 2)])
def test_training_learns(
    kind: str, rank: int, cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole and as a LoRA."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    save, side, chunk, context = KINDS[kind]
    folder, source = save(tmp_path / "model"), tmp_path / "film"
    source.mkdir()
    (source / "one.txt").write_text("a red car")
    with VideoWriter(source / "one.mp4", side, side, 24, {}) as writer:
        rows = np.linspace(0, 150, side).astype(np.uint8)[:, None, None]
        for i in range(85):
            writer.write(np.broadcast_to(rows + np.uint8(i), (1, side, side, 3)))
    prepare(
        source,
        tmp_path / "data",
        folder,
        width=side,
        height=side,
        min_latents=3 * chunk,
        say=lambda line: None,
    )
    sampling = ("--num-inference-steps", "4", "--steps-per-chunk", "2", "--chunk-size", str(chunk))
    sampling += ("--context-size", str(context), *(("--lora-rank", str(rank)) if rank else ()))
    told = ("--steps", "40", "--lr", "2e-2" if rank else "3e-3", "--save-every", "40")
    made = cli("train", "--model", folder, "--data", "data", "-o", "run", *QUICK, *sampling, *told)
    assert made.code == 0, made.err
    losses = [json.loads(line)["loss"] for line in Path("run/losses.jsonl").read_text().splitlines()]
    assert sum(losses[-8:]) < 0.95 * sum(losses[:8]), losses
