"""How long the program takes from its start to its end for a film of one latent of the embedded model: its start-up.

python benchmarks/startup.py [--against SRC] [--times N]

--against: the src of another checkout, whose runs alternate with ours. Processor seconds say more than those of the
clock where other programs run beside it. `python -X importtime -m longtake generate …` says which imports take them.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

OURS = Path(__file__).parents[1] / "src"
COMMAND = ("-m", "longtake", "generate", "a red car driving past snowy mountains at dawn", "--frames", "1")


def run(source: Path, folder: str) -> tuple[float, float]:
    """The seconds of the clock and of the processor that one film takes."""
    command = [sys.executable, *COMMAND, "-o", f"{folder}/film.mp4", "--overwrite"]
    began, before = time.perf_counter(), os.times()
    subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(source)}, check=True, stdout=subprocess.DEVNULL
    )
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, used


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, metavar="SRC")
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    sources = [OURS, *filter(None, [args.against])]
    took: dict[Path, list[tuple[float, float]]] = {source: [] for source in sources}
    with TemporaryDirectory() as folder:
        for source in sources:
            run(source, folder)  # the first reads the libraries from the disk
        for _ in range(args.times):
            for source in sources:
                took[source].append(run(source, folder))
    print("src | seconds, least | median | processor seconds, least | median")
    for source, pairs in took.items():
        clock, processor = zip(*pairs, strict=True)
        numbers = (min(clock), median(clock), min(processor), median(processor))
        print(f"{source} | " + " | ".join(f"{number:.2f}" for number in numbers))


if __name__ == "__main__":
    main()
