"""What a finished film keeps of its draft, and what it adds to it.

    python benchmarks/finish.py --seconds 20                # a film of the embedded model, at twice its size
    python benchmarks/finish.py --of render --seconds 20    # a render at half the embedded model's size, at its size
    python benchmarks/finish.py --of wan --seconds 5        # a film of the tests' tiny Wan: random weights

Beside the finished films stand the draft scaled by the reader's bicubic, and what the autoencoder makes of that: a
finished film of no strength. Of a render its own picture at the larger size stands there too.

kept: the correlation of the luma of a picture, scaled down to the draft's size by areas, with the draft's; the mean
over pictures. sharpness: the mean of |Laplacian| of the luma, as `evaluate` has it, as a part of the bicubic film's.
frames a second: of filming, encoding of the draft and of the film included.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from longtake.drafts import EncodedDraft, enlarged
from longtake.evaluation.measures.picture import REC_709, statistics
from longtake.machine import processor
from longtake.options import FilmOptions, FilmPlan
from longtake.pictures import to_uint8
from longtake.pipeline import LongTake
from longtake.retakes import finished
from longtake.takes import Take
from longtake.video import Pictures, VideoWriter, read_frames
from longtake.worlds.tracking_shot.shot import FPS, HEIGHT, WIDTH, Shot

PROMPT = "a red car driving past snowy mountains at dawn"
SHOT = Shot("car", "red", "mountains", "dawn", "clear", "steady", seed=3)
SHOWN = 4  # pictures of each film on the sheet


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--of", choices=("film", "render", "wan"), default="film")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.3, 0.45, 0.6])
    parser.add_argument("--steps", type=int, help="of the whole table; the model's own if not given")
    parser.add_argument("--sheet", type=Path, help="a PNG: pictures of each row below one another")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with TemporaryDirectory() as name:
        folder = Path(name)
        model = LongTake.from_pretrained(tiny_wan(folder) if args.of == "wan" else None)
        draft, options = folder / "draft.mp4", {"num_inference_steps": args.steps} if args.steps else {}
        real = drawn(draft, args.seconds) if args.of == "render" else filmed(draft, model, args)
        takes = {
            strength: finished(draft, folder / f"{strength}.mp4", model.model.spec, strength, **options)
            for strength in args.strengths
        }
        film = next(iter(takes.values())).film
        print(f"{processor()[0]}, {args.threads} thread(s); {film.length.num_frames} frames\n")
        print("| | kept | sharpness | frames a second |\n|---|---|---|---|")
        small, plain = list(read_frames(draft)), float("nan")
        rows: list[Pictures] = []
        for row, pictures in {"the draft, bicubic": scaled(draft, film), **real}.items():
            plain = shown(row, pictures, small, rows, plain)
        shown("what the autoencoder makes of it", round_trip(draft, model, film), small, rows, plain)
        for strength, take in takes.items():
            speed = take.shoot(model).frames_per_second
            shown(f"strength {strength}", read_frames(take.path), small, rows, plain, f"{speed:.2f}")
    if args.sheet:
        cv2.imwrite(str(args.sheet), np.concatenate(rows)[..., ::-1])


def shown(
    row: str,
    pictures: Iterable[Pictures],
    draft: list[Pictures],
    rows: list[Pictures],
    plain: float,
    speed: str = "",
) -> float:
    """Print a row of the table and keep some of its pictures. plain: the sharpness of the first row, which is given
    back; that of this row if there is none."""
    kept, sharp, some = [], [], []
    places = set(np.linspace(0, len(draft) - 1, SHOWN).round().astype(int).tolist())
    for place, (picture, small) in enumerate(zip(pictures, draft, strict=True)):
        less = cv2.resize(grey(picture), small.shape[1::-1], interpolation=cv2.INTER_AREA)
        kept.append(np.corrcoef(less.ravel(), grey(small).ravel())[0, 1])
        sharp.append(statistics(picture)["sharpness"])
        some += [picture] if place in places else []
    rows.append(np.concatenate(some, axis=1))
    sharpness = float(np.mean(sharp))
    plain = sharpness if np.isnan(plain) else plain
    print(f"| {row} | {np.mean(kept):.3f} | {sharpness / plain:.2f} | {speed} |", flush=True)
    return plain


def grey(picture: Pictures) -> NDArray[Any]:
    """Luma (H, W), 0 to 1."""
    return picture @ (REC_709 / 255)


def filmed(path: Path, model: LongTake, args: Any) -> dict[str, Any]:
    """Make the draft with the model; nothing stands beside it."""
    own = {"width": 32, "height": 32, "fps": 8} if args.of == "wan" else {}
    options = FilmOptions(prompt=PROMPT, seconds=args.seconds, **own)
    Take(options.resolved(model.model.spec), path).shoot(model)
    return {}


def drawn(path: Path, seconds: float) -> dict[str, Any]:
    """Make the draft by scaling a render down by areas; the render stands beside it."""
    frames = SHOT.render(0, round(seconds * FPS))
    size = (WIDTH // 2, HEIGHT // 2)
    with VideoWriter(path, *size, FPS, {"prompt": PROMPT}) as writer:
        for frame in frames:
            writer.write(cv2.resize(frame, size, interpolation=cv2.INTER_AREA)[None])
    return {"the render": frames}


def scaled(draft: Path, film: FilmPlan) -> Iterator[Pictures]:
    """The draft at the film's size."""
    return (picture for picture, _ in zip(enlarged(draft, film), range(film.length.num_frames), strict=False))


def round_trip(draft: Path, model: LongTake, film: FilmPlan) -> Iterator[Pictures]:
    """The draft at the film's size, encoded and decoded."""
    encoded, decoder, left = (
        EncodedDraft(draft, model.model, film),
        model.model.decoder(),
        film.length.num_frames,
    )
    for first in range(film.length.num_latent_frames):
        with torch.inference_mode():
            pictures = to_uint8(decoder.push(encoded.latents(first, 1)))[0, :left]
        left -= len(pictures)
        yield from pictures


def tiny_wan(folder: Path) -> Path:
    """A folder with the tiny Wan of the tests."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from transformers import UMT5Config, UMT5EncoderModel

    from conftest import save_folder, tiny_text_encoder, tiny_wan_vae  # type: ignore[import-not-found]

    torch.manual_seed(1)
    vae = ["diffusers", "AutoencoderKLWan"]
    text_encoder = tiny_text_encoder(UMT5Config, UMT5EncoderModel)
    made: Path = save_folder(folder / "wan", vae, text_encoder, tiny_wan_vae(), end=True)
    return made


if __name__ == "__main__":
    main()
