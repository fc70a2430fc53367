"""Footage for training: many clips of a world, rendered once to disk by all cores."""

from __future__ import annotations

import json
import os
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from longtake.errors import OutputError
from longtake.worlds.tracking_shot import HEIGHT, WIDTH, Shot, random_shot

START_FRAMES = 4000  # a clip starts this far into its shot at the most


def footage(folder: Path, clips: int, frames: int, seed: int) -> tuple[NDArray[np.uint8], list[Shot]]:
    """Clips (clips, frames, HEIGHT, WIDTH, 3) uint8 as a read-only memory map, and each one's shot.

    Renders what is not there yet; a folder that holds other footage is an error, never overwritten.
    """
    wanted = {"clips": clips, "frames": frames, "seed": seed, "width": WIDTH, "height": HEIGHT}
    pixels, index = folder / "frames.npy", folder / "shots.json"
    if not index.exists():
        _render(folder, wanted)
    stored = json.loads(index.read_text())
    if stored["footage"] != wanted:
        raise OutputError(
            f"{folder} holds other footage ({stored['footage']}); choose another folder or remove it"
        )
    return np.load(pixels, mmap_mode="r"), [Shot(**shot) for shot in stored["shots"]]


def _render(folder: Path, wanted: dict[str, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(wanted["seed"])
    jobs = [(random_shot(rng), rng.randrange(START_FRAMES), wanted["frames"]) for _ in range(wanted["clips"])]
    part = folder / "frames.npy.part"
    shape = (wanted["clips"], wanted["frames"], wanted["height"], wanted["width"], 3)
    store = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rendered = pool.map(_clip, jobs, chunksize=8)
        for place, clip in track(enumerate(rendered), "rendering footage", total=len(jobs)):
            store[place] = clip
    store.flush()
    part.rename(folder / "frames.npy")
    text = json.dumps({"footage": wanted, "shots": [asdict(shot) for shot, _, _ in jobs]})
    (folder / "shots.json.part").write_text(text)
    (folder / "shots.json.part").rename(folder / "shots.json")


def _clip(job: tuple[Shot, int, int]) -> NDArray[np.uint8]:
    shot, first, frames = job
    return shot.render(first, frames)
