"""How well a model films toward an end that it is given: the beginning of its own film, a clip, or a photo.

    python benchmarks/ends.py --films 16 --frames 120

Films of prompts of the tracking-shot world, which the embedded model never saw, each four times with one noise: as it
is, as a loop, toward a clip of real film of its prompt, toward a photo from it. For each the seam score, `Take.seam`'s:
how much the picture changes where the film meets its end, over the median change elsewhere, as the file shows it.
Beside it the score of the same film where nothing leads to the end (its last picture against its first; the clip or
photo cut to it), and the film's own largest change, within which a seam would not be seen. The last line is what the
model's longtake.json may say of it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from longtake.evaluation.drift import bootstrap
from longtake.frames import exact_fps
from longtake.models.base import Ends, ModelSpec
from longtake.options import FilmOptions
from longtake.pictures import Pictures
from longtake.pipeline import LongTake
from longtake.progress import track
from longtake.seams import Seam, seam_at
from longtake.video import VideoWriter
from longtake.worlds.tracking_shot.world import WORLD

REAL_FROM = 240  # the frame of real film with which the end begins


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("films", 16), ("frames", 120)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--model", help="in place of the embedded one")
    arguments = parser.parse_args()
    take = LongTake.from_pretrained(arguments.model)
    rows = np.array(
        [
            measured(take, prompt, shot, {"num_frames": arguments.frames, "seed": seed})
            for seed, (prompt, shot) in enumerate(track(WORLD.prompts(arguments.films), "films"))
        ]
    )
    mean = bootstrap(rows)
    cells = [f"{v:.1f} [{a:.1f}, {b:.1f}]" for v, a, b in zip(mean.value, mean.low, mean.high, strict=True)]
    print(f"{arguments.films} films of {arguments.frames} frames; mean [95 % interval over films]\n")
    print("| end | seam score | where nothing leads there | the film's own largest | films within that |")
    print("|---|---|---|---|---|")
    for place, name in enumerate(("loop", "clip", "photo")):
        led, cut, own = (3 * place + column for column in range(3))
        within = int((rows[:, led] <= rows[:, own]).sum())
        print(f"| {name} | {cells[led]} | {cells[cut]} | {cells[own]} | {within} of {len(rows)} |")
    loop, clip, photo = (round(float(mean.value[3 * place]), 1) for place in range(3))
    ends = Ends(len(rows), loop, clip, photo, round(float(mean.value[2::3].mean()), 1))
    print(f'\n"ends": {json.dumps(asdict(ends))}')


def measured(take: LongTake, prompt: str, shot: Any, options: dict[str, Any]) -> list[float]:
    """For a loop, a clip and a photo: the seam score, that of a cut, and the film's own largest change."""
    spec = take.model.spec
    plain, loop = (take.generate(prompt, **options, loop=loop) for loop in (False, True))
    found = scores(loop, plain, 0, spec)
    count = FilmOptions(prompt="any").resolved(spec, end="clip").end_frames
    clip = shot.render(REAL_FROM, count)
    for end in (clip, clip[:1]):
        length = count if len(end) > 1 else spec.temporal_factor * spec.defaults.chunk_size
        film = take.generate(prompt, **options, end=end)
        cut = np.concatenate([plain[:-length], film[-length:]])
        found += scores(film, cut, len(film) - length, spec)
    return found


def scores(film: Pictures, cut: Pictures, frame: int, spec: ModelSpec) -> list[float]:
    """Of a film that meets its end at `frame`, and of one that is cut to it there."""
    led, not_led = (seam_of(pictures, frame, spec) for pictures in (film, cut))
    return [led.score, not_led.score, led.largest]


def seam_of(pictures: Pictures, frame: int, spec: ModelSpec) -> Seam:
    """The seam of a film, as its file shows it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        _, height, width, _ = pictures.shape
        with VideoWriter(path, width, height, exact_fps(spec.defaults.fps), {}) as writer:
            writer.write(pictures)
        seam = seam_at(path, frame)
    assert seam is not None, "a film has more than two pictures"
    return seam


if __name__ == "__main__":
    main()
