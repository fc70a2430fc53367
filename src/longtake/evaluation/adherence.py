"""Does a film of the embedded model show what its prompt says, second by second, to its end?

`measure` films prompts of attribute combinations that training never saw, has the classifier read every second,
and keeps one JSON file a film, so that a run that was stopped goes on. `summarise` turns these into shares, first
against last ten seconds with a bootstrap interval over prompts.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from longtake.errors import OptionError
from longtake.evaluation.classifier import JUDGED, Frames, accuracy, rendered_stills, trained_classifier
from longtake.evaluation.codec import codec_report, load_autoencoder
from longtake.evaluation.drift import bootstrap, by_prompt
from longtake.evaluation.measures.adherence import Adherence
from longtake.files import beside, write_text
from longtake.models.places import model_folder
from longtake.pipeline import LongTake
from longtake.progress import track
from longtake.runs import claim, processes
from longtake.training.data import weights_hash
from longtake.worlds.tracking_shot import ATTRIBUTES, FPS, Shot, is_held_out, random_shot

Summary = dict[str, Any]

CLASSIFIER = "classifier.safetensors"
MOMENTS = 8  # of a film, in its strip


def held_out_shots(count: int, seed: int = 5) -> list[Shot]:
    """`count` distinct shots of combinations that training never sees. OptionError if there are not so many."""
    every = (dict(zip(ATTRIBUTES, values, strict=True)) for values in product(*ATTRIBUTES.values()))
    known = len({tuple(shot.values())[:5] for shot in every if is_held_out(Shot(**shot, seed=0))})
    if count > known:
        raise OptionError(
            f"training leaves {known} combinations of attributes out: {count} prompts are too many"
        )
    rng = random.Random(seed)
    shots: dict[tuple[str, ...], Shot] = {}
    while len(shots) < count:
        shot = random_shot(rng, held_out=True)
        shots.setdefault(tuple(shot.attributes.values())[:5], shot)
    return list(shots.values())


def captioned_shots(count: int) -> list[tuple[Shot, str]]:
    """The same with a caption each; fewer are the first of more."""
    rng = random.Random(6)
    return [(shot, shot.caption(rng)) for shot in held_out_shots(count)]


def measure(run: Path, model: str | None, prompts: int, seeds: int, seconds: int) -> Summary:
    """Films read and summarised, with the scores of judge and autoencoder; writes run/summary.json and summary.md.

    ModelError as of load_model, OutputError for a folder of other films."""
    spec, weights = (
        LongTake.from_pretrained(model).model.spec,
        weights_hash(model_folder(model), "transformer"),
    )
    claim(run, {"model": spec.name, "weights": weights, "seeds": seeds, "seconds": seconds})
    classifier = trained_classifier(run / CLASSIFIER)
    summary = film_prompts(run, model, prompts, seeds, seconds)
    frames, labels = rendered_stills(1200, seed=20_002, held_out=True)
    summary["classifier_accuracy_on_renders"] = accuracy(classifier, frames, labels)
    summary["codec"] = codec_report(load_autoencoder(model))
    write_text(run / "summary.json", json.dumps(summary, indent=2) + "\n")
    write_text(run / "summary.md", as_table(summary))
    return summary


def as_table(summary: Summary) -> str:
    """The summary of `measure` for people, in Markdown: a row an attribute, then the autoencoder."""
    lines = [
        f"{summary['films']} films of {summary['prompts']} unseen prompts, 95 % intervals over prompts",
        "",
        "| read right in | all seconds | first 10 s | last 10 s | last − first | worst 10 s | renders |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in summary["attributes"].items():
        low, high = (100 * bound for bound in row["change_interval"])
        shares = [row["share"], row["first"], row["last"]]
        rest = [min(row["slices"]), summary["classifier_accuracy_on_renders"][name]]
        cells = [f"{share:.1%}" for share in shares], [f"{share:.1%}" for share in rest]
        change = f"{low:+.1f} … {high:+.1f} points"
        lines.append(f"| {' | '.join([name, *cells[0], change, *cells[1]])} |")
    codec = summary["codec"]
    lines += ["", "| PSNR on held-out renders | frame 0 | frame 200 |", "|---|---|---|"]
    for title, key in (("tubelet autoencoder", "autoencoder"), ("PCA of the same size", "pca")):
        cells_db = [f"{codec[f'{key}_db_at_frame_{frame}']:.1f} dB" for frame in (0, 200)]
        lines.append(f"| {title} | {' | '.join(cells_db)} |")
    return "\n".join(lines) + "\n"


def film_prompts(run: Path, model: str | None, prompts: int, seeds: int, seconds: int) -> Summary:
    """Film, read and summarise on all cores, a film a core; goes on where an earlier call stopped.

    Writes run/films/NNN.json and NNN.png (a strip of MOMENTS), and run/sheet.png.
    """
    (run / "films").mkdir(parents=True, exist_ok=True)
    trained_classifier(run / CLASSIFIER)
    jobs = [
        Job(run, number * seeds + seed, model, shot, prompt, seed, seconds)
        for number, (shot, prompt) in enumerate(captioned_shots(prompts))
        for seed in range(seeds)
    ]
    missing = [job for job in jobs if not job.path.exists()]
    with processes("spawn") as pool:
        for _ in track(pool.map(film_and_read, missing), "filming and reading", total=len(missing)):
            pass
    strips = [np.asarray(Image.open(job.path.with_suffix(".png"))) for job in jobs]
    with beside(run / "sheet.png") as part:
        Image.fromarray(np.concatenate(strips)).save(part, format="PNG")
    return summarise([json.loads(job.path.read_text(encoding="utf-8")) for job in jobs])


@dataclass(frozen=True)
class Job:
    """One film to make and read."""

    run: Path
    number: int
    model: str | None
    shot: Shot
    prompt: str
    seed: int
    seconds: int

    @property
    def path(self) -> Path:
        return self.run / "films" / f"{self.number:03d}.json"


def film_and_read(job: Job) -> None:
    """Make one film on one core and write down what the classifier read in every second of it."""
    torch.set_num_threads(1)
    judge = Adherence(trained_classifier(job.run / CLASSIFIER), job.shot)
    strip: list[Frames] = []
    seen, every = 0, job.seconds * FPS // MOMENTS
    take = LongTake.from_pretrained(job.model)
    for pictures in take.stream(job.prompt, seconds=job.seconds, seed=job.seed):
        judge.push(pictures)
        strip += [pictures[i] for i in range(-seen % every, len(pictures), every)]
        seen += len(pictures)
    assert len(judge.read) == job.seconds
    with beside(job.path.with_suffix(".png")) as part:
        Image.fromarray(np.concatenate(strip, axis=1)).save(part, format="PNG")
    record = {"prompt": job.prompt, "seed": job.seed, "shot": asdict(job.shot), "read": judge.read}
    write_text(job.path, json.dumps(record))


def summarise(records: list[dict[str, Any]], ends: int = 10) -> Summary:
    """Shares of seconds read right: of all, of each slice of `ends` seconds, of the first and the last of these, with a
    95 % interval of last - first.

    The bootstrap draws prompts with replacement, the films of a prompt together.
    """
    right = np.array([[[second[n] == r["shot"][n] for n in JUDGED] for second in r["read"]] for r in records])
    change = by_prompt(
        right[:, -ends:].mean(1) - right[:, :ends].mean(1), [record["prompt"] for record in records]
    )
    interval = bootstrap(change)
    attributes = {
        name: {
            "share": round(float(right[:, :, i].mean()), 4),
            "slices": [
                round(float(right[:, start : start + ends, i].mean()), 4)
                for start in range(0, right.shape[1], ends)
            ],
            "first": round(float(right[:, :ends, i].mean()), 4),
            "last": round(float(right[:, -ends:, i].mean()), 4),
            "change_interval": [round(float(bound[i]), 4) for bound in (interval.low, interval.high)],
        }
        for i, name in enumerate(JUDGED)
    }
    return {"films": len(records), "prompts": len(change), "attributes": attributes}
