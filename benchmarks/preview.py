"""What a preview costs: paired films of the embedded model, with and without, turn about; and the colours it ships.

python benchmarks/preview.py [--seconds S] [--pairs N] [--to terminal|FILE.png] [--ship]

The film is made by the same functions as the command line's, pictures and encoding included, in one process. A ratio is
of the seconds of a film with a preview to those of the one without beside it; the median over all pairs is told, of the
clock and of the processor, which says more where other programs run. Films must be the same, byte for byte.
--ship: write the map of the embedded model's autoencoder into its folder, instead.
"""

import argparse
import io
import os
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console

from longtake import LongTake
from longtake.cli.conveyor import Shown
from longtake.models.places import EMBEDDED
from longtake.models.weights import weights_hash
from longtake.options import FilmOptions
from longtake.preview import FILE, Conveyor, Preview, colour_map, fitted, write
from longtake.takes import Take

PROMPT = "a red car driving past snowy mountains at dawn"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--to", default="preview.png", metavar="terminal|FILE.png")
    parser.add_argument("--ship", action="store_true")
    args = parser.parse_args()
    model = LongTake.from_pretrained()
    if args.ship:
        write(fitted(model.model), EMBEDDED / FILE, weights_hash(EMBEDDED, "vae"))
        return
    film = FilmOptions(prompt=PROMPT, seconds=args.seconds).resolved(model.model.spec)
    colours = colour_map(model.model, model.folder)
    with TemporaryDirectory() as folder:
        place = args.to if args.to == "terminal" else str(Path(folder) / args.to)
        # As wide as a terminal is; what is written to it is thrown away, as by one that is fast.
        console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=120)
        shown = Shown(place, film.cost.peak_window, console.print)
        spent: list[float] = []  # seconds, a picture

        def show(conveyor: Conveyor) -> None:
            began = time.perf_counter()
            shown(conveyor)
            spent.append(time.perf_counter() - began)

        def run(look: Preview | None) -> tuple[float, float, bytes]:
            path = Path(folder) / "film.mp4"
            began, before = time.perf_counter(), time.process_time()
            Take(film, path, overwrite=True).shoot(model, look=look)
            return time.perf_counter() - began, time.process_time() - before, path.read_bytes()

        run(None)
        ratios, seconds = [], 0.0
        for i in range(args.pairs):
            order = [None, Preview(colours, film, model.model.spec, show)][:: 1 if i % 2 else -1]
            took = {look is not None: run(look) for look in order}
            assert took[True][2] == took[False][2], "the film is another one"
            seconds += took[True][0]
            ratios.append([took[True][j] / took[False][j] for j in (0, 1)])
    clock, processor = zip(*ratios, strict=True)
    print(
        f"{args.pairs} pairs of {args.seconds:g} s, {len(spent) / args.pairs:.1f} pictures a film, to {args.to}:"
        f" each is drawn in {1000 * median(spent):.0f} ms, all in {sum(spent) / seconds:.2%} of the time"
    )
    print("ratio of seconds with to without | median | least | most")
    for name, numbers in (("clock", clock), ("processor", processor)):
        print(f"{name} | {median(numbers):.4f} | {min(numbers):.4f} | {max(numbers):.4f}")
    print(f"files are equal in all pairs, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
