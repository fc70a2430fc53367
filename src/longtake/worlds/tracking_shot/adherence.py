"""Does a film of the embedded model show what its prompt says, second by second, to its end?

A comparison of one method, `measure`, films prompts of attribute combinations that training never saw, beside real
film of them. `summarise` turns what was read into shares, first against last ten seconds with an interval over prompts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from longtake.evaluation.compare import Comparison, film_all
from longtake.evaluation.drift import SLICE_SECONDS, bootstrap, by_prompt
from longtake.evaluation.films import MeasuredFilm, read_film
from longtake.evaluation.jobs import world_prompts
from longtake.evaluation.variants import OURS, Setting, Variant
from longtake.evaluation.world import judge_of
from longtake.files import write_text
from longtake.worlds.tracking_shot.codec import codec_report
from longtake.worlds.tracking_shot.world import WORLD

Summary = dict[str, Any]
ENDS = round(10 / SLICE_SECONDS)  # slices


def measure(
    run: Path, model: str | None, prompts: int, seeds: int, seconds: int, done: Callable[[int, int], None]
) -> Summary:
    """Films read and summarised, with the scores of judge and autoencoder; writes run/summary.json and summary.md.

    `run` is that of a comparison, of which done(films, of) is told as film_all does. ModelError as of load_model,
    OutputError for a folder of other films."""
    chosen = world_prompts(WORLD, prompts)
    film_all(run, Comparison(Setting(seconds, model, world=WORLD), chosen, seeds, [Variant(OURS)]), done)
    films = [read_film(path) for path in sorted((run / "films").glob("*.json"))]
    keys = {(prompt.name, seed) for prompt in chosen for seed in range(seeds)}
    summary = summarise([film for film in films if film.row == OURS and film.key in keys])
    summary["classifier_accuracy_on_renders"] = judge_of(run, WORLD).read_right(1200)
    summary["codec"] = codec_report(model)
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


def summarise(films: Sequence[MeasuredFilm], ends: int = ENDS) -> Summary:
    """Shares of seconds read right: of all, of each part of `ends` slices, of the first and the last of these, with a
    95 % interval of last - first.

    The bootstrap draws prompts with replacement, the films of a prompt together.
    """
    right = np.array([[film.curves[name] for name in WORLD.attributes] for film in films]).swapaxes(1, 2)
    change = by_prompt(right[:, -ends:].mean(1) - right[:, :ends].mean(1), [film.group for film in films])
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
        for i, name in enumerate(WORLD.attributes)
    }
    return {"films": len(films), "prompts": len(change), "attributes": attributes}
