"""Methods side by side: the same weights, prompts, seeds and steps, a film at a time, measured while it streams by.

A run is a folder with a JSON file a film. It goes on where it was stopped, and may grow: more prompts, seeds or methods
in a later call add films to those that are there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from statistics import fmean

from pydantic import ValidationError

from longtake.errors import LongTakeError, OptionError
from longtake.evaluation.benchmark import read_benchmark
from longtake.evaluation.films import read_film, remarks
from longtake.evaluation.jobs import Job, Prompt, Took, film, world_prompts
from longtake.evaluation.options import ABLATIONS, COMPARED, DEFAULT_SEEDS, TABLE1_SEEDS, CompareOptions
from longtake.evaluation.prompts import read_prompts
from longtake.evaluation.record import Model
from longtake.evaluation.registry import load_vbench
from longtake.evaluation.report.page import Origin, write_report
from longtake.evaluation.report.summary import Summary, summarise
from longtake.evaluation.variants import EQUAL_COST, REAL, TABLE1, Setting, Variant, variants_of
from longtake.evaluation.vbench.dimensions import unmeasured
from longtake.evaluation.world import World, check_judge, judge_of, sizes_of
from longtake.files import write_text, writing
from longtake.models.base import LoraName, ModelDefaults
from longtake.models.load import check_prompts, load_model
from longtake.models.places import open_model, with_weights
from longtake.names import Finder, repeated
from longtake.presets import added_to, preset_model
from longtake.runs import CONFIG, check_claim, claim, processes
from longtake.start import read_start

SHOWN = 1  # prompts whose first films are kept as small mp4
TIMES = "times.jsonl"
COMMANDS = "commands.txt"


@dataclass(frozen=True)
class Comparison:
    """What is filmed: every variant of each prompt, so many films of it. `notes`: what of it is not as it was asked
    for, in words."""

    setting: Setting
    prompts: Sequence[Prompt]
    seeds: int
    variants: Sequence[Variant]
    notes: Sequence[str] = ()

    def jobs(self, run: Path) -> list[Job]:
        """All variants of the first prompt, then those of the next."""
        return [
            Job(run, self.setting, variant, prompt, seed, _is_shown(variant, number, seed))
            for number, prompt in enumerate(self.prompts)
            for seed in range(self.seeds)
            for variant in self.variants
        ]


class RunConfig(Model):
    """What all films of a run share, which its folder is claimed by."""

    model: str
    weights: str = ""
    lora: tuple[LoraName, ...] | LoraName | None = None
    dtype: str | None = None
    quantize: str | None = None
    tile: bool = False
    settings: ModelDefaults
    seconds: float
    prompts: str = ""
    fit_start: bool = False
    weights_dir: bool = False


def comparison(options: CompareOptions, setting: Setting) -> Comparison:
    """What the options ask for. The setting's seconds, weights and judge are theirs, and its world the one that they
    name. OptionError for options that exclude each other, LongTakeError for prompts that cannot be read."""
    if (options.prompts is None) == (options.world is None):
        raise OptionError("give either --prompts FILE or --world WORLD")
    assert (options.world is None) == (setting.world is None)
    setting = replace(setting, seconds=options.seconds, weights_dir=options.weights_dir, judge=options.judge)
    notes = unmeasured(options.weights_dir) if options.weights_dir else []
    if options.preset is None:
        chosen = _by_methods(options, setting)
    elif options.prompts is None or options.methods or options.equal_steps:
        raise OptionError(f"preset {options.preset} takes --prompts FILE; its methods and steps are its own")
    else:
        chosen = table1(options.prompts, setting, options.seeds or TABLE1_SEEDS)
    first = [note for variant in chosen.variants[:1] for note in chosen.setting.film(variant).notes]
    return replace(chosen, notes=[*notes, *chosen.notes, *first])


def _by_methods(options: CompareOptions, setting: Setting) -> Comparison:
    variants, notes = variants_of(options.methods or COMPARED, setting, not options.equal_steps)
    seeds = options.seeds or DEFAULT_SEEDS
    if setting.world is not None:
        return Comparison(setting, world_prompts(setting.world, options.num_prompts), seeds, variants, notes)
    assert options.prompts is not None
    texts, passed = read_prompts(options.prompts)
    if passed:
        notes.append(f"{passed} blank lines and comments of {options.prompts} are passed over")
    return Comparison(setting, [Prompt(text) for text in texts], seeds, variants, notes)


def film_all(run: Path, films: Comparison, done: Callable[[int, int], None]) -> None:
    """Make and measure every film that is not in `run` yet, a film a core on a CPU, one after the other elsewhere.
    `done(films, of)` is called at the start and after every film.

    Where prompts are of a world, real film of them is one more. OutputError if `run` is another comparison's."""
    setting = films.setting
    if setting.world is not None:
        _check_world(setting, setting.world)
        films = replace(films, variants=[Variant(REAL), *films.variants])
    config = _config(films).model_dump(mode="json") | {"settings": films.setting.spec.defaults.told}
    _check(run, config, films)
    claim(run, config)
    (run / "films").mkdir(exist_ok=True)
    jobs = films.jobs(run)
    missing = [job for job in jobs if not job.path.exists()]
    if setting.world is not None and missing:
        judge_of(run, setting.world, setting.judge)
    there = len(jobs) - len(missing)
    done(there, len(jobs))
    with (run / TIMES).open("a", encoding="utf-8") as times:
        for number, took in enumerate(films_of(missing, setting.device), start=there + 1):
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


def table1(file: Path, setting: Setting, seeds: int = TABLE1_SEEDS) -> Comparison:
    """The paper's comparison (its Table 1, the rows of Open-Sora v1.2) on a benchmark of the form prompt||clip, whose
    clips lie beside it. The setting's model is Open-Sora v1.2 if it names none.

    OptionError, before anything is filmed, for a clip that is not there or that no film can begin with."""
    model = preset_model("pa-o-base") if setting.model is None else setting.model
    setting = replace(setting, model=model, clips=file.parent)
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
            read_start(file.parent / prompt.start, plan, "crop" if setting.fit_start else None)
    adds = "".join(dict.fromkeys(filter(None, (added_to(prompt.text) for prompt in prompts))))
    notes = [f'presets add "{adds}" to prompts that name no score'] if adds else []
    return Comparison(setting, prompts, seeds, TABLE1, notes)


def report(run: Path, commands: Sequence[str] = ()) -> tuple[Summary, Path]:
    """Sum up the films that are in a run so far, and write its report. `commands` are added to those that were given
    for it before. LongTakeError if there are no films."""
    films = [read_film(path) for path in sorted((run / "films").glob("*.json"))]
    if not films:
        raise LongTakeError(f"{run} holds no measured film yet")
    config, summary = _read_config(run), summarise(films)
    model, settings = config.model, config.settings
    subject = (
        f"longtake compare · {model}, {settings.width}x{settings.height} · {config.seconds:g} s a film ·"
        f" {len(films)} films"
    )
    origin = Origin(subject, _told_commands(run, commands), _notes(summary, config), _took(run))
    return summary, write_report(run, summary, origin)


def _notes(summary: Summary, config: RunConfig) -> list[str]:
    """What is to be said about a report."""
    notes = list[str]()
    if summary.real is None:
        notes.append(
            "No adherence, no time to drift and no distances from real film: these need prompts of a world"
            " (--world), where it is known what right is."
        )
    notes += [
        f"{name} is left out: {config.model} is filmed so anyway"
        for name, options in ABLATIONS.items()
        if options.items() <= asdict(config.settings).items()
    ]
    return [*notes, *dict.fromkeys(note for film in summary.films for note in remarks(film.record))]


def _told_commands(run: Path, commands: Sequence[str]) -> list[str]:
    """The commands that were given for a run, and these, which are written down with them."""
    given = run / COMMANDS
    lines = given.read_text(encoding="utf-8").splitlines() if given.exists() else []
    lines += [command for command in commands if command not in lines]
    write_text(given, "".join(f"{line}\n" for line in lines))
    return lines


def _read_config(run: Path) -> RunConfig:
    """LongTakeError for a folder that is no comparison."""
    try:
        return RunConfig.model_validate_json((run / CONFIG).read_bytes())
    except (OSError, ValidationError) as error:
        raise LongTakeError(
            f"{run} is not the folder of a comparison: give that of longtake compare"
        ) from error


def _took(run: Path) -> dict[str, tuple[float, float]]:
    """The mean seconds that the films of each row took to make and to measure."""
    by_row: dict[str, list[Took]] = {}
    if (run / TIMES).exists():
        for line in (run / TIMES).read_text(encoding="utf-8").splitlines():
            took = Took(**json.loads(line))
            by_row.setdefault(took.row, []).append(took)
    return {
        row: (fmean(took.making for took in films), fmean(took.measuring for took in films))
        for row, films in by_row.items()
    }


def _check(run: Path, config: dict[str, object], films: Comparison) -> None:
    """Raise now, with nothing written, what would be raised when the first films are made."""
    check_claim(run, config)
    setting = films.setting
    if setting.world is not None:
        check_judge(run, setting.world, setting.judge)
    plans = (setting.film(v, p.text, 0, p.start is not None) for v in films.variants for p in films.prompts)
    check_prompts(setting.folder, {plan.prompt for plan in plans})
    if not os.path.exists(run / CONFIG):
        load_model(setting.folder, setting.device, setting.dtype, setting.lora, setting.placement)
        if setting.weights_dir:
            load_vbench(setting.weights_dir, setting.device)


def _config(films: Comparison) -> RunConfig:
    setting, spec = films.setting, films.setting.spec
    return RunConfig(
        model=spec.name,
        weights=with_weights(open_model(setting.folder)).sha256,
        lora=spec.loras or None,
        dtype=setting.dtype,
        quantize=spec.quantize,
        tile=spec.tile,
        settings=spec.defaults,
        seconds=setting.seconds,
        prompts=_kind(setting, films.prompts[0]),
        fit_start=setting.fit_start,
        weights_dir=setting.weights_dir is not None,
    )


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
