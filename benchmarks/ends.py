"""How well a model films toward an end that it is given: the beginning of its own film, a clip, or a photo.

    python benchmarks/ends.py --films 16 --frames 120

Films of prompts of the tracking-shot world, which the embedded model never saw, each four times with one noise: as it
is, as a loop, toward a clip of real film of its prompt, toward a photo from it. For each the seam score: how much the
picture changes where the film meets its end, over the median change between its frames. Beside it the score of the same
film where nothing leads to the end (its last picture against its first; the clip or photo cut to it), and the film's
own largest change, within which a seam would not be seen.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtake.evaluation.drift import bootstrap
from longtake.evaluation.measures.picture import change
from longtake.options import FilmOptions
from longtake.pictures import Pictures
from longtake.pipeline import LongTake
from longtake.progress import track
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


def measured(take: LongTake, prompt: str, shot: Any, options: dict[str, Any]) -> list[float]:
    """For a loop, a clip and a photo: the seam score, that of a cut, and the film's own largest change."""
    spec = take.model.spec
    plain, loop = (take.generate(prompt, **options, loop=loop) for loop in (False, True))
    count = loop_frames(take)
    clip = shot.render(REAL_FROM, count)
    found = scores(loop, loop[:1], plain)
    for end in (clip, clip[:1]):
        length = count if len(end) > 1 else spec.temporal_factor * spec.defaults.chunk_size
        film = take.generate(prompt, **options, end=end)
        found += scores(film[:-length], film[-length:], plain[:-length])
    return found


def loop_frames(take: LongTake) -> int:
    """The frames of a clip that a film ends with."""
    return FilmOptions(prompt="any").resolved(take.model.spec, end="clip").end_frames


def scores(film: Pictures, end: Pictures, plain: Pictures) -> list[float]:
    """Of a film and what stands behind it; and of another one in its place."""
    changes = between(film)
    middle = float(np.median(changes))
    return [
        change(film[-1], end[0]) / middle,
        change(plain[-1], end[0]) / float(np.median(between(plain))),
        float(changes.max()) / middle,
    ]


def between(film: Pictures) -> NDArray[np.float64]:
    """How much a film changes from frame to frame."""
    return np.array([change(a, b) for a, b in pairwise(film)])


if __name__ == "__main__":
    main()
