"""Methods side by side: the same weights, prompts, seeds and steps, a film at a time, measured while it streams by.

A run is a folder with a JSON file a film. It goes on where it was stopped, and may grow: more prompts, seeds or methods
in a later call add films to those that are there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from statistics import fmean
from typing import Any

from longtake.errors import LongTakeError, OptionError
from longtake.evaluation.benchmark import read_benchmark
from longtake.evaluation.films import left_over, read_film
from longtake.evaluation.jobs import Job, Prompt, Took, film
from longtake.evaluation.registry import load_vbench
from longtake.evaluation.report import Origin, write_report
from longtake.evaluation.summary import Summary, summarise
from longtake.evaluation.variants import ABLATIONS, EQUAL_COST, REAL, TABLE1, Setting, Variant
from longtake.evaluation.world import World, check_judge, judge_of, sizes_of
from longtake.files import write_text, writing
from longtake.models.load import check_prompts, load_model
from longtake.models.places import model_folder
from longtake.names import Finder, repeated
from longtake.presets import preset_model
from longtake.runs import CONFIG, check_claim, claim, processes
from longtake.start import read_start
from longtake.training.data import weights_hash

SHOWN = 1  # prompts whose first films are kept as small mp4
TIMES = "times.jsonl"
COMMANDS = "commands.txt"


def film_all(
    run: Path,
    setting: Setting,
    prompts: Sequence[Prompt],
    seeds: int,
    variants: Sequence[Variant],
    done: Callable[[int, int], None],
) -> None:
    """Make and measure every film that is not in `run` yet, a film a core on a CPU, one after the other elsewhere: all
    variants of the first prompt, then those of the next. `done(films, of)` is called at the start and after every film.

    Where prompts are of a world, real film of them is one more. OutputError if `run` is another comparison's."""
    if setting.world is not None:
        _check_world(setting, setting.world)
        variants = [Variant(REAL), *variants]
    _check(run, setting, prompts, variants)
    _claim(run, setting, prompts)
    jobs = [
        Job(run, setting, variant, prompt, seed, _is_shown(variant, number, seed))
        for number, prompt in enumerate(prompts)
        for seed in range(seeds)
        for variant in variants
    ]
    missing = [job for job in jobs if not job.path.exists()]
    if setting.world is not None and missing:
        judge_of(run, setting.world, setting.judge)
    done(len(jobs) - len(missing), len(jobs))
    with (run / TIMES).open("a", encoding="utf-8") as times:
        for number, took in enumerate(films_of(missing, setting.device), start=len(jobs) - len(missing) + 1):
            with writing(run / TIMES):
                times.write(json.dumps(asdict(took)) + "\n")
                times.flush()
            done(number, len(jobs))


def films_of(jobs: Sequence[Job], device: str) -> Iterator[Took]:
    """Make and measure films, one a core on a CPU, else one after the other; each is told of when it is done."""
    if device != "cpu":
        yield from map(film, jobs)
        return
    with processes("spawn") as pool:
        for future in as_completed([pool.submit(film, job) for job in jobs]):
            yield future.result()


def table1(file: Path, setting: Setting, fit_start: bool = False) -> tuple[Setting, list[Prompt]]:
    """The paper's comparison (its Table 1, the rows of Open-Sora v1.2) on a benchmark of the form prompt||clip, whose
    clips lie beside it. The setting's model is Open-Sora v1.2 if it names none.

    OptionError, before anything is filmed, for a clip that is not there or that no film can begin with."""
    model = preset_model("pa-o-base") if setting.model is None else setting.model
    setting = replace(setting, model=model, clips=file.parent, fit_start=fit_start)
    finder, prompts = Finder(file.parent), list[Prompt]()
    for item in read_benchmark(file):
        clips = finder.find(str(item.video)) or [str(item.video)]
        if len(clips) > 1:
            raise OptionError(f"{item.video} is there {repeated(clips)}")
        prompt = Prompt(item.prompt, start=PurePosixPath(clips[0]))
        if prompt in prompts:
            raise OptionError(f"{file} has {prompt.name} twice: keep one of them")
        prompts.append(prompt)
    for variant in TABLE1:
        plan = setting.film(variant, from_clip=True)
        for prompt in prompts:
            assert prompt.start is not None
            read_start(file.parent / prompt.start, plan, "crop" if fit_start else None)
    return setting, prompts


def report(run: Path, commands: Sequence[str] = ()) -> tuple[Summary, Path]:
    """Sum up the films that are in a run so far, and write its report. `commands` are added to those that were given
    for it before. LongTakeError if there are no films."""
    films = [read_film(path) for path in sorted((run / "films").glob("*.json"))]
    if not films:
        raise LongTakeError(f"{run} holds no measured film yet")
    config, given = _told(run), run / COMMANDS
    lines = given.read_text(encoding="utf-8").splitlines() if given.exists() else []
    lines += [command for command in commands if command not in lines]
    write_text(given, "".join(f"{line}\n" for line in lines))
    summary, notes = summarise(films), list[str]()
    if summary.row(REAL) is None:
        notes.append(
            "No adherence, no time to drift and no distances from real film: these need prompts of a world"
            " (--world), where it is known what right is."
        )
    notes += [
        f"{name} is left out: {config['model']} is filmed so anyway"
        for name, options in ABLATIONS.items()
        if options.items() <= config["settings"].items()
    ]
    notes += dict.fromkeys(note for film in films for note in left_over(film.record))
    model, settings = config["model"], config["settings"]
    subject = (
        f"longtake compare · {model}, {settings['width']}x{settings['height']} · {config['seconds']:g} s a film ·"
        f" {len(films)} films"
    )
    return summary, write_report(run, summary, Origin(subject, lines, notes, _took(run)))


def _told(run: Path) -> dict[str, Any]:
    """What all films of a run share. LongTakeError for a folder that is no comparison."""
    try:
        config = json.loads((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        config = None
    if not isinstance(config, dict) or not {"model", "settings", "seconds"} <= config.keys():
        raise LongTakeError(f"{run} is not the folder of a comparison: give that of longtake compare")
    return config


def _took(run: Path) -> dict[str, tuple[float, float]]:
    """The mean seconds that the films of each row took to make and to measure."""
    by_row: dict[str, list[tuple[float, float]]] = {}
    if (run / TIMES).exists():
        for line in (run / TIMES).read_text(encoding="utf-8").splitlines():
            took = json.loads(line)
            by_row.setdefault(took["row"], []).append((took["making"], took["measuring"]))
    return {row: (fmean(m for m, _ in times), fmean(m for _, m in times)) for row, times in by_row.items()}


def _check(run: Path, setting: Setting, prompts: Sequence[Prompt], variants: Sequence[Variant]) -> None:
    """Raise now, with nothing written, what would be raised when the first films are made."""
    check_claim(run, _config(setting, prompts))
    if setting.world is not None:
        check_judge(run, setting.world, setting.judge)
    films = (setting.film(variant, p.text, 0, p.start is not None) for variant in variants for p in prompts)
    check_prompts(setting.folder, {film.prompt for film in films})
    if not os.path.exists(run / CONFIG):
        load_model(setting.folder, setting.device, setting.dtype, setting.lora)
        if setting.weights_dir:
            load_vbench(setting.weights_dir, setting.device)


def _claim(run: Path, setting: Setting, prompts: Sequence[Prompt]) -> None:
    claim(run, _config(setting, prompts))
    (run / "films").mkdir(exist_ok=True)


def _config(setting: Setting, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """What all films of a run share, as JSON values."""
    parts = "transformer", "vae", "text_encoder", "tokenizer"
    spec = setting.spec
    return {
        "model": spec.name,
        "weights": weights_hash(model_folder(setting.folder), *parts),
        "lora": asdict(spec.lora) if spec.lora else None,
        "dtype": setting.dtype,
        "settings": asdict(spec.defaults),
        "seconds": setting.seconds,
        "prompts": _kind(setting, prompts[0]),
        "fit_start": setting.fit_start,
        "weights_dir": setting.weights_dir is not None,
    }


def _kind(setting: Setting, prompt: Prompt) -> str:
    """What prompts are, in words; those of a comparison are of one kind."""
    if setting.world is not None:
        return f"{setting.world.name} world"
    return "with a clip each, from a file" if prompt.start is not None else "from a file"


def _is_shown(variant: Variant, prompt: int, seed: int) -> bool:
    """Whether a small mp4 is kept for the report: of the first prompts, at equal steps."""
    return prompt < SHOWN and seed == 0 and not variant.name.endswith(EQUAL_COST)


def _check_world(setting: Setting, world: World) -> None:
    model, own = setting.spec.name, setting.spec.defaults
    if (own.width, own.height) not in world.sizes or own.fps != world.fps:
        raise OptionError(
            f"the {world.name} world is {sizes_of(world)} at {world.fps} frames a second, {model}"
            f" {own.width}x{own.height} at {own.fps:g}: give a file of --prompts instead"
        )
