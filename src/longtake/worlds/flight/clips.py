"""Clips of drone flights to train on: rendered, mirrored, and kept as latents, each latent with its own caption.

B batch, C channels, F latent frames, H W latent height and width
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from longtake.files import beside, write_text, writing
from longtake.models.small.lapped import FRAMES, LAP_FRAMES, AutoencoderLapped
from longtake.pictures import to_tensor
from longtake.progress import track
from longtake.runs import processes, write_tensors
from longtake.training.loss import Window
from longtake.training.recipe import strewn
from longtake.worlds.flight.flight import (
    GENTLY,
    HEIGHT,
    WIDTH,
    Change,
    Film,
    Flight,
    random_changes,
)
from longtake.worlds.flight.scene import LANDS, Scene, random_scene

WITH_CHANGES = ("steady", "drain")  # windows that meet changes that began before them, as a film's do
CHANGING = 0.35  # share of clips in which something changes
START_FRAMES = 1200  # a clip starts this far into its flight at the most
MIRRORED = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class Clip:
    """Some latents of a flight, from frame `first` on."""

    flight: Flight
    first: int
    latents: int

    @property
    def frames(self) -> int:
        return self.latents * FRAMES + LAP_FRAMES

    def scenes(self, mirrored: bool = False) -> list[Scene]:
        """What each latent shows."""
        scenes = [self.flight.scene_at(self.first + FRAMES * i) for i in range(self.latents)]
        return [replace(s, motion=MIRRORED.get(s.motion, s.motion)) for s in scenes] if mirrored else scenes

    def changing(self) -> NDArray[np.bool_]:
        """Which latents are on the way from one scene to another."""
        frames = self.first + np.arange(self.latents * FRAMES)
        under_way: NDArray[np.bool_] = np.zeros(len(frames), bool)
        for change in self.flight.changes:
            under_way |= (frames >= change.at) & (frames < change.at + change.frames)
        return np.any(under_way.reshape(-1, FRAMES), axis=1)


@dataclass(frozen=True)
class Drawing:
    """How clips are drawn: so many groups of `together`, which share a land, since one takes as long to grow as a clip
    to draw; each of `latents`, of pictures of a size."""

    groups: int
    together: int
    latents: int
    seed: int
    width: int = WIDTH
    height: int = HEIGHT

    def clips(self, group: int) -> list[Clip]:
        """The clips of a group, a function of the drawing; none shows a scene that is held out."""
        return drawn_clips(self.seed, group, self.together, self.latents)

    def rendered(self, device: str, clip: Clip) -> NDArray[np.uint8]:
        """The pictures (4F + 2, height, width, 3) of a clip, on one thread or an accelerator."""
        torch.set_num_threads(1)
        return Film(clip.flight, self.width, self.height, device).frames(clip.first, clip.frames)

    @property
    def every(self) -> list[Clip]:
        return [clip for group in range(self.groups) for clip in self.clips(group)]


def drawn_clips(seed: int, group: int, count: int, latents: int) -> list[Clip]:
    """Clips of one land, a function of the seed and the group's number; none shows a scene that is held out."""
    rng = random.Random(f"{seed}/{group}")
    land, ground = rng.choice(list(LANDS)), rng.randrange(64)
    clips = []
    for _ in range(count):
        scene = replace(random_scene(rng), land=land)
        while scene.held_out:
            scene = replace(random_scene(rng), land=land)
        first = rng.randrange(START_FRAMES)
        changes: tuple[Change, ...] = ()
        if rng.random() < CHANGING:
            at = max(1, first + rng.randrange(-GENTLY // 2, FRAMES * latents))
            changes = random_changes(rng, scene, [at])
        clips.append(Clip(Flight(scene, ground + 64 * rng.getrandbits(24), changes), first, latents))
    return clips


def footage(path: Path, drawing: Drawing, device: str) -> NDArray[np.uint8]:
    """Clips (clips, frames, height, width, 3) uint8 for an autoencoder, rendered on a device, as a read-only memory
    map."""
    if not path.exists():
        clips = drawing.every
        with processes("spawn") as pool, beside(path) as part:
            rendered = pool.map(partial(drawing.rendered, device), clips, chunksize=drawing.together)
            shown = np.stack(list(track(rendered, "rendering footage", total=len(clips))))
            with part.open("wb") as file:
                np.save(file, shown)
    return np.load(path, mmap_mode="r")


class FlightClips:
    """Clips as normalised latents in memory, and what each latent shows."""

    def __init__(self, latents: Tensor, scenes: list[list[Scene]], changing: NDArray[np.bool_]) -> None:
        """latents (clips, C, F, H, W) float16, scenes and `changing` (clips, F) as Clip has them."""
        self.latents, self.scenes = latents, scenes
        names = {
            scene: number for number, scene in enumerate(dict.fromkeys(s for row in scenes for s in row))
        }
        self._numbers = np.array([[names[scene] for scene in row] for row in scenes])
        self._all = list(names)
        self._changing = changing

    @lru_cache  # noqa: B019  # one object lives as long as a run
    def places(self, length: int, changing: bool) -> NDArray[np.int64]:
        """Where windows of a length begin, (places, 2) clip and latent: those that see a change under way, or those of
        one scene."""
        windows = np.lib.stride_tricks.sliding_window_view
        seen = windows(self._changing, length, axis=1).any(-1)
        numbers = windows(self._numbers, length, axis=1)
        mixed = (numbers != numbers[..., :1]).any(-1)
        return np.argwhere(seen if changing else ~seen & ~mixed)

    def batch(
        self, window: Window, batch: int, generator: torch.Generator, caption_drop: float, changing: bool
    ) -> tuple[Tensor, list[str], Tensor]:
        """Latents (B, C, F, H, W) float32, captions, and which of these each window has (B,) or, where something is
        changing, each latent (B, F).

        They follow from the generator alone. Phrasings are drawn anew; with a share of caption_drop a window has the
        empty caption throughout.
        """
        places = self.places(window.num_latents, changing)
        assert len(places), f"no window of {window.num_latents} latents in any clip"
        chosen = places[torch.randint(len(places), (batch,), generator=generator).numpy()]
        rng = random.Random(int(torch.randint(2**62, (), generator=generator)))
        captions, index, windows = [""], [], []
        for clip, start in chosen.tolist():
            end = start + window.num_latents
            windows.append(self.latents[clip, :, start:end])
            said: dict[int, int] = {}
            dropped = rng.random() < caption_drop
            for number in self._numbers[clip, start:end].tolist():
                if number not in said:
                    said[number] = 0 if dropped else len(captions)
                    if not dropped:
                        captions.append(strewn(self._all[number].caption(rng), rng))
            index.append([said[number] for number in self._numbers[clip, start:end].tolist()])
        text = torch.tensor(index)
        return torch.stack(windows).float(), captions, text if changing else text[:, 0]


def flight_clips(folder: Path, vae: AutoencoderLapped, drawing: Drawing) -> FlightClips:
    """Clips, and as many mirrored, rendered and encoded by a process a core on the device that the autoencoder is on.

    It goes on where an earlier call stopped. Fixes the autoencoder's mean and deviation. A file holds a group and its
    mirror images.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    missing = [group for group in range(drawing.groups) if not _shard(folder, group).exists()]
    device, vae = str(vae.device), vae.cpu()
    jobs = ((folder, vae, drawing, group, device) for group in missing)
    with processes("spawn") as pool:
        for _ in track(pool.map(_encode, jobs), "rendering and encoding clips", total=len(missing)):
            pass
    raw = torch.cat([load_file(_shard(folder, group))["latents"] for group in range(drawing.groups)])
    told = folder / "statistics.json"
    if not told.exists():
        std, mean = torch.std_mean(raw.float(), (0, 2, 3, 4))
        write_text(told, json.dumps({"latents_mean": mean.tolist(), "latents_std": std.tolist()}))
    statistics = json.loads(told.read_text(encoding="utf-8"))
    vae.register_to_config(**statistics)
    mean, std = (torch.tensor(row).view(1, -1, 1, 1, 1) for row in statistics.values())
    shown = drawing.every
    scenes = [clip.scenes(mirrored) for clip in shown for mirrored in (False, True)]
    changing = np.stack([clip.changing() for clip in shown for _ in (False, True)])
    return FlightClips(raw.sub_(mean.half()).div_(std.half()), scenes, changing)


def _shard(folder: Path, group: int) -> Path:
    return folder / f"clips-{group:05d}.safetensors"


def _encode(job: tuple[Path, AutoencoderLapped, Drawing, int, str]) -> None:
    folder, vae, drawing, group, device = job
    vae = vae.to(device)
    rows = [_latents(vae, drawing.rendered(device, clip)) for clip in drawing.clips(group)]
    write_tensors(_shard(folder, group), {"latents": torch.cat(rows)})


@torch.inference_mode()
def _latents(vae: AutoencoderLapped, pictures: NDArray[np.uint8]) -> Tensor:
    """Raw latents (2, C, F, H, W) float16 of a clip (4F + 2, height, width, 3) and of its mirror image."""
    frames = to_tensor(pictures[None]).to(vae.device)
    both = torch.cat([frames, frames.flip(-1)])
    padded = torch.cat([both, both[:, :, -1:].expand(-1, -1, FRAMES - LAP_FRAMES, -1, -1)], dim=2)
    return vae.encode(padded)[:, :, :-1].half().cpu()
