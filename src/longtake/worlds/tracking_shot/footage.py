"""Footage for training: many clips of a world, rendered once to disk by all cores."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longtake.errors import OutputError
from longtake.files import beside, write_text, writing
from longtake.progress import track
from longtake.runs import processes
from longtake.worlds.tracking_shot.shot import HEIGHT, WIDTH, Shot, random_shot

START_FRAMES = 4000  # a clip starts this far into its shot at the most


def footage(folder: Path, clips: int, frames: int, seed: int) -> tuple[NDArray[np.uint8], list[Shot]]:
    """Clips (clips, frames, HEIGHT, WIDTH, 3) uint8 as a read-only memory map, and each one's shot.

    Renders what is not there yet; a folder that holds other footage is an error, never overwritten.
    """
    wanted = {"clips": clips, "frames": frames, "seed": seed, "width": WIDTH, "height": HEIGHT}
    pixels, index = folder / "frames.npy", folder / "shots.json"
    if not index.exists():
        _render(folder, wanted)
    stored = json.loads(index.read_text(encoding="utf-8"))
    if stored["footage"] != wanted:
        raise OutputError(
            f"{folder} holds other footage ({stored['footage']}); choose another folder or remove it"
        )
    return np.load(pixels, mmap_mode="r"), [Shot(**shot) for shot in stored["shots"]]


def _render(folder: Path, wanted: dict[str, int]) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(wanted["seed"])
    jobs = [(random_shot(rng), rng.randrange(START_FRAMES), wanted["frames"]) for _ in range(wanted["clips"])]
    shape = (wanted["clips"], wanted["frames"], wanted["height"], wanted["width"], 3)
    head = {"descr": "|u1", "fortran_order": False, "shape": shape}
    # Not through a memory map: on a full disk, that is a signal which nobody can catch.
    with processes() as pool, beside(folder / "frames.npy") as part, part.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, head)
        for clip in track(pool.map(_clip, jobs, chunksize=8), "rendering footage", total=len(jobs)):
            file.write(clip.tobytes())
    text = json.dumps({"footage": wanted, "shots": [asdict(shot) for shot, _, _ in jobs]})
    write_text(folder / "shots.json", text)


def _clip(job: tuple[Shot, int, int]) -> NDArray[np.uint8]:
    shot, first, frames = job
    return shot.render(first, frames)
