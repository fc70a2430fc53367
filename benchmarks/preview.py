"""What a preview costs: paired films of the embedded model, with and without, turn about; and the colours it ships.

python benchmarks/preview.py [--seconds S] [--pairs N] [--to terminal|FILE.png]
python benchmarks/preview.py --picture FILE.png | --error | --ship

Films are made as the command line makes them, pictures and file included, in one process. A ratio is of the seconds of
a film with a preview to those of the one without beside it; the median over all pairs is told, of the clock and of the
processor, which says more where other programs run. Their files must be equal, byte for byte.
--picture: what the window holds in the middle of a film. --error: how far the map's pictures are from the film's own,
at their size. --ship: fit the map of the embedded model's autoencoder and write it into its folder.
"""

import argparse
import io
import os
import time
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console

from longtake import LongTake
from longtake.cli.conveyor import Shown, png
from longtake.models.places import EMBEDDED
from longtake.models.weights import weights_hash
from longtake.options import FilmOptions, FilmPlan
from longtake.pictures import to_tensor
from longtake.preview import FILE, Conveyor, Preview, colour_map, fitted, write
from longtake.shot import Shot
from longtake.takes import Take
from longtake.video import Pictures, read_frames

PROMPTS = [
    "a red car driving past snowy mountains at dawn",
    "a blue bus driving through a city at night",
    "a green tractor driving through a desert at noon",
]


def picture(model: LongTake, film: FilmPlan, path: Path) -> None:
    """Write the conveyor of the pass in the middle of a film."""
    seen: list[Conveyor] = []
    colours = colour_map(model.model, model.folder)
    look = Preview(colours, film, model.model.spec, seen.append, every=0, share=float("inf"))
    shot = Shot(model.model, film, look=look)
    state, _ = shot.begin()
    for _ in islice(shot.passes(state), film.cost.passes // 2):
        pass
    path.write_bytes(png(seen[-1], film.cost.peak_window))


def error(model: LongTake, film: FilmPlan) -> float:
    """The root of the mean square error, in levels of 255, of what the map makes of a film's latents, encoded anew.

    A latent's picture is compared with the second of its four frames, in means over the pixels of each point.
    """
    pictures = np.concatenate([*model.shoot(film)])
    made = colour_map(model.model, model.folder)(model.model.encoder().push(to_tensor(pictures[None]))[0])
    count, height, width, _ = made.shape
    wanted = pictures[1::4][:count].reshape(count, height, pictures.shape[1] // height, width, -1, 3)
    return float(np.sqrt(np.square(made - wanted.mean((2, 4))).mean()))


def cost(model: LongTake, film: FilmPlan, pairs: int, to: str, folder: Path) -> None:
    """Print what a preview costs."""
    place = to if to == "terminal" else str(folder / to)
    # As wide as a terminal is; what is written to it is thrown away, as by one that is fast.
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=120)
    colours, shown = colour_map(model.model, model.folder), Shown(place, film.cost.peak_window, console.print)
    spent: list[float] = []  # seconds, a picture

    def show(conveyor: Conveyor) -> None:
        began = time.perf_counter()
        shown(conveyor)
        spent.append(time.perf_counter() - began)

    def run(look: Preview | None) -> tuple[float, float, list[Pictures]]:
        path = folder / "film.mp4"
        began, before = time.perf_counter(), time.process_time()
        Take(film, path, overwrite=True).shoot(model, look=look)
        seconds, on_processor = time.perf_counter() - began, time.process_time() - before
        return seconds, on_processor, list(read_frames(path))

    run(None)
    ratios, seconds = [], 0.0
    for i in range(pairs):
        order = [None, Preview(colours, film, model.model.spec, show)][:: 1 if i % 2 else -1]
        took = {look is not None: run(look) for look in order}
        same = map(np.array_equal, took[True][2], took[False][2])
        assert len(took[True][2]) == len(took[False][2]) and all(same), "the film is another one"
        seconds += took[True][0]
        ratios.append([took[True][j] / took[False][j] for j in (0, 1)])
    clock, processor = zip(*ratios, strict=True)
    print(
        f"{pairs} pairs of {float(film.length.num_frames / film.rate):g} s, {len(spent) / pairs:.1f} pictures a film,"
        f" to {to}: each is drawn in {1000 * median(spent):.0f} ms, all in {sum(spent) / seconds:.2%} of the time"
    )
    print("ratio of seconds with to without | median | least | most")
    for name, numbers in (("clock", clock), ("processor", processor)):
        print(f"{name} | {median(numbers):.4f} | {min(numbers):.4f} | {max(numbers):.4f}")
    print(f"pictures are equal in all pairs; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--to", default="preview.png", metavar="terminal|FILE.png")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    parser.add_argument("--error", action="store_true")
    parser.add_argument("--ship", action="store_true")
    args = parser.parse_args()
    model = LongTake.from_pretrained()
    films = [
        FilmOptions(prompt=prompt, seconds=args.seconds, seed=seed).resolved(model.model.spec)
        for seed, prompt in enumerate(PROMPTS)
    ]
    if args.ship:
        write(fitted(model.model), EMBEDDED / FILE, weights_hash(EMBEDDED, "vae"))
    elif args.error:
        for film in films:
            print(f"{film.prompt}: {error(model, film):.1f} levels of 255")
    elif args.picture:
        picture(model, films[0], args.picture)
    else:
        with TemporaryDirectory() as folder:
            cost(model, films[0], args.pairs, args.to, Path(folder))


if __name__ == "__main__":
    main()
