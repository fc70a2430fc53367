"""How well a film that is made longer hides its join.

    python benchmarks/extend.py --films 8 --seconds 6 --more 3

Films of prompts of the tracking-shot world, each made longer in two ways: through the state that was kept of it, and as
anybody's film, which has no states: encoded once more without a word of itself, it goes on through its last pictures,
one row for each of --contexts. Beside these: a cut to a film of the next seed.

For each the seam score: how much the picture changes at the join, over the median change between its frames. Beside it
the largest score at the film's other latent borders: within that the join lies in the film's own range. All changes are
those of the files, as they are seen. Of a film with states it is also counted how many are, picture for picture, the
film that was as long from the start.
"""

from __future__ import annotations

import argparse
import os
import platform
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from longtake.evaluation.drift import bootstrap
from longtake.evaluation.measures.picture import change
from longtake.given import decoded_frames
from longtake.machine import processor
from longtake.models.base import ModelSpec
from longtake.options import FilmOptions
from longtake.pictures import Pictures
from longtake.pipeline import LongTake
from longtake.progress import track
from longtake.retakes import ALWAYS, continued, extended
from longtake.takes import Take
from longtake.video import VideoWriter, read_frames
from longtake.worlds.tracking_shot.world import WORLD


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=6, help="whole seconds of each film")
    parser.add_argument("--more", type=int, default=3, help="seconds by which it is made longer")
    parser.add_argument("--contexts", type=int, nargs="+", default=[1, 2, 4], help="latents that are seen")
    parser.add_argument("--model", help="in place of the embedded one")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, same = LongTake.from_pretrained(args.model), 0
    rows: list[list[tuple[float, float]]] = []
    for seed, (prompt, _) in enumerate(track(WORLD.prompts(args.films), "films")):
        with TemporaryDirectory() as folder:
            is_same, row = measured(model, Path(folder), prompt, seed, args.seconds, args.more, args.contexts)
        same += is_same
        rows.append(row)
    scores = np.array(rows)  # (films, ways, 2): at the join, the largest elsewhere
    print(
        f"{args.films} films of {args.seconds} s and {args.more} s more; mean [95 % interval over films];"
        f" {processor()[0]}, {os.cpu_count()} cores, {args.threads} thread, {platform.system()}\n"
    )
    print(f"{same} of {args.films} with states are the films that were as long from the start\n")
    print("| made longer | seam score at the join | the largest at its other latent borders | within that |")
    print("|---|---|---|---|")
    ways = ["with its state", *(f"anybody's film, context {n}" for n in args.contexts), "a cut"]
    for place, way in enumerate(ways):
        found = bootstrap(scores[:, place])
        join, largest = (
            f"{v:.1f} [{a:.1f}, {b:.1f}]" for v, a, b in zip(found.value, found.low, found.high, strict=True)
        )
        within = int((scores[:, place, 0] <= scores[:, place, 1]).sum())
        print(f"| {way} | {join} | {largest} | {within} of {args.films} |")


def measured(
    model: LongTake,
    folder: Path,
    prompt: str,
    seed: int,
    seconds: int,
    more: int,
    contexts: list[int],
) -> tuple[bool, list[tuple[float, float]]]:
    """Whether a film with states is the one that was as long from the start, and the scores of each way."""
    spec, options = model.model.spec, FilmOptions(prompt=prompt, seconds=seconds, seed=seed)

    def filmed(name: str, options: FilmOptions, keep_every: float | None = None) -> Path:
        Take(options.resolved(spec), folder / name, keep_every=keep_every).shoot(model)
        return folder / name

    old = filmed("old.mp4", options, ALWAYS)
    whole = filmed("whole.mp4", options.model_copy(update={"seconds": seconds + more}))
    extended(old, folder / "longer.mp4", spec, more).shoot(model)
    longer, first = pictures(folder / "longer.mp4"), pictures(old)
    theirs = folder / "theirs.mp4"
    with VideoWriter(theirs, first.shape[2], first.shape[1], round(spec.defaults.fps), {}, crf=23) as writer:
        writer.write(first)
    found = [scores(longer, len(first), spec)]
    for context in contexts:
        path = folder / f"context-{context}.mp4"
        continued(theirs, path, spec, more, prompt, context).shoot(model)
        found.append(scores(pictures(path), len(first), spec))
    other = filmed("other.mp4", options.model_copy(update={"seconds": more, "seed": seed + 1}))
    found.append(scores(np.concatenate([first, pictures(other)]), len(first), spec))
    return np.array_equal(longer, pictures(whole)), found


def scores(film: Pictures, join: int, spec: ModelSpec) -> tuple[float, float]:
    """The change to frame `join`, and the largest to the first frame of any other latent, over the median change."""
    changes = np.array([change(a, b) for a, b in pairwise(film)])
    borders = {decoded_frames(n, spec) for n in range(1, len(film))} - {join}
    elsewhere = [changes[frame - 1] for frame in borders if 0 < frame < len(film)]
    middle = float(np.median(changes))
    return float(changes[join - 1]) / middle, float(max(elsewhere)) / middle


def pictures(path: Path) -> Pictures:
    return np.stack(list(read_frames(path)))


if __name__ == "__main__":
    main()
