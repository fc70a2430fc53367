"""A comparison from the command line to the page, on a tiny model; and the sums of its tables, on numbers made up."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_model

from longtake.errors import OptionError
from longtake.evaluation import compare
from longtake.evaluation.jobs import Job, Took, film
from longtake.evaluation.options import Given
from longtake.evaluation.variants import Setting, Variant, joints_of, variants_of
from longtake.models.open_sora.presets import PRESETS
from longtake.video import VideoWriter
from longtake.worlds.classifier import AttributeClassifier, Lesson
from longtake.worlds.flight.judge import FLIGHT
from longtake.worlds.tracking_shot.judge import TRACKING_SHOT
from portable import in_two_processes

pytestmark = pytest.mark.slow

VOID = {"meta", "img", "input", "br", "line"}
COMMAND = (
    "compare",
    "--seeds",
    "1",
    "--seconds",
    "2",
    "--equal-steps",
    "--methods",
    "progressive,replacement",
)

WORLD = ("--world", "tracking-shot", "--num-prompts", "1")

Cli = Callable[..., tuple[int, str, str]]


@dataclass
class Page(HTMLParser):
    """What a browser would find on a page."""

    html: str
    open: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "poster", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def films(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "films").glob("*.json")}


def numbers(run: Path) -> dict[str, dict[str, object]]:
    """All that the films' files hold but the state of the checkout, which may change meanwhile."""
    return {name: json.loads(text) | {"made": None} for name, text in films(run).items()}


def in_this_process(stop_after: int | None = None) -> Callable[[Sequence[Job], str], Iterator[Took]]:
    """Films without processes of their own; interrupted, as by Ctrl-C, once so many are made."""

    def all_of(jobs: Sequence[Job], device: str) -> Iterator[Took]:
        yield from map(film, jobs[:stop_after])
        if stop_after is not None:
            raise KeyboardInterrupt

    return all_of


@in_two_processes
def test_a_run_goes_on_where_it_stopped(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards the whole way: films by two methods, stopped after the first, gone on with to the same bytes as a run in
    a process of its own; a report of what is there at each end; a folder that takes no other comparison's films."""
    (tmp_path / "prompts.txt").write_text("# two\na red car at <night>\n\na blue bus\n")
    command = (*COMMAND, "--prompts", "prompts.txt", "--model", tubelet_folder)
    with monkeypatch.context() as patched:
        patched.setattr(compare, "films_of", in_this_process(stop_after=1))
        code, out, err = cli(*command, "-o", "run")
        assert code == 130 and "give the same command again" in err
        assert "2 blank lines and comments of prompts.txt are passed over" in err
        assert "| progressive | 1 |" in out and "replacement" not in out
        (first,) = films(tmp_path / "run").items()
        patched.setattr(compare, "films_of", in_this_process())
        code, out, _ = cli(*command, "-o", "run")
    assert code == 0 and "| replacement | 2 |" in out
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    cli(*command, "-o", "other")
    assert first in films(tmp_path / "run").items() and len(films(tmp_path / "run")) == 4
    assert numbers(tmp_path / "run") == numbers(tmp_path / "other")

    page = Page((tmp_path / "run" / "report.html").read_text())
    assert page.tags.count("video") == 2 and page.tags.count("img") == 4
    assert all(source.startswith("data:") for source in page.sources)
    assert "4 films" in page.html and "no adherence" in page.html.lower() and "<night>" not in page.html
    assert (tmp_path / "run" / "drift.svg").read_text().count('class="line') == 3 * 2
    assert "default-src 'none'" in page.html and "url(" not in page.html and "@import" not in page.html
    assert cli("compare", "--report-only", "-o", "run")[0] == 0
    longer = ("4" if word == "2" else word for word in command)
    code, _, err = cli(*longer, "-o", "run")
    assert code == 2 and "error: run is another run: its seconds is 2.0, not 4.0" in err


@pytest.mark.parametrize(("world", "lesson"), [("tracking-shot", TRACKING_SHOT), ("flight", FLIGHT)])
def test_the_world_knows_what_is_right(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    tubelet_folder: Path,
    tmp_path: Path,
    world: str,
    lesson: Lesson,
) -> None:
    """Guards real film as a row, the judge, and that what so few films cannot tell is said."""
    monkeypatch.setattr(compare, "films_of", in_this_process())
    model = shutil.copytree(tubelet_folder, tmp_path / "model")
    settings = json.loads((model / "longtake.json").read_text())
    (model / "longtake.json").write_text(json.dumps(settings | {"width": 128, "height": 80}))
    torch.manual_seed(0)
    save_model(AttributeClassifier(lesson), str(tmp_path / "judge.safetensors"))
    command = (*COMMAND[:-1], "progressive", "--world", world, "--num-prompts", "1", "--model", model)
    code, _, err = cli(*command, "--judge", "nobody.safetensors", "-o", "run")
    assert (
        code == 2 and f"no judge nobody.safetensors: longtake judge {world} nobody.safetensors trains" in err
    )
    code, out, err = cli(*command, "--judge", "judge.safetensors", "-o", "run")
    assert code == 0, err
    assert "attributes read right, last 10 s" in out and "time to drift" in out and "| real film | 1 |" in out
    real, made = sorted(
        (json.loads(text) for text in films(tmp_path / "run").values()), key=lambda film: "cost" in film
    )
    assert real["shot"] == made["shot"] and len(real["curves"]["adherence"]) == 1
    assert made["cost"]["evaluations_per_frame"] > 1
    assert "no distance of progressive from real film" in (tmp_path / "run" / "report.html").read_text()
    assert cli(*command, "-o", "run")[0] == 0
    code, _, err = cli(*COMMAND, *WORLD, "--model", tubelet_folder, "-o", "other")
    assert code == 2 and "the tracking-shot world is 128x80" in err


@pytest.fixture
def small_table1(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's presets, with fewer steps of smaller pictures."""
    monkeypatch.setattr(compare, "films_of", in_this_process())
    for name, preset in PRESETS.items():
        small = {"width": 64, "height": 48, "num_inference_steps": 4}
        if "steps_per_chunk" in preset.options:
            small["steps_per_chunk"] = 2 if preset.options["steps_per_chunk"] == 5 else 4
        monkeypatch.setitem(PRESETS, name, replace(preset, options={**preset.options, **small}))


@pytest.mark.usefixtures("small_table1")
def test_the_papers_comparison(cli: Cli, open_sora_folder: Path, tmp_path: Path) -> None:
    """Guards --preset table1-open-sora: a benchmark with a clip a line, two films of each by three presets, each begun
    with its own clip, however its name is spelt; what is left of Table 1's protocol is 60 seconds and weights."""
    shades = {"dark": 60, "light": 200}
    for name, shade in shades.items():
        with VideoWriter(tmp_path / f"{name}.mp4", 64, 48, 24, {}) as writer:
            writer.write(np.full((17, 48, 64, 3), shade, np.uint8))
    (tmp_path / "benchmark.txt").write_text("a red car||.\\dark.MP4\na red car||./light.mp4\n")
    command = ("compare", "--preset", "table1-open-sora", "--model", open_sora_folder, "--seconds", "2")
    code, out, err = cli(*command, "--prompts", "benchmark.txt", "-o", "run")
    assert code == 0, err
    assert 'note: presets add " aesthetic score: 6.5." to prompts that name no score\n' in err
    for row in ("progressive", "replacement", "replacement, as released"):
        assert f"| {row} | 4 of 2 prompts |" in out
    records = [json.loads(text) for text in films(tmp_path / "run").values()]
    assert {record["group"] for record in records} == {f"a red car || {name}.mp4" for name in shades}
    assert all(record["options"]["prompt"].endswith("aesthetic score: 6.5.") for record in records)
    starts = {record["start"]["name"]: record["start"]["sha256"] for record in records}
    assert starts.keys() == {"dark.mp4", "light.mp4"} and len(set(starts.values())) == 2
    first = {record["group"]: record["curves"]["luma"][0] for record in records if record["seed"] == 0}
    assert len(set(first.values())) == 2


@pytest.mark.usefixtures("small_table1")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--prompts", "one.txt"), "no clip nowhere.mp4 to begin with"),
        (("--prompts", "two.txt"), "line 1 is not PROMPT||VIDEO"),
        (("--prompts", "twice.txt"), "twice.txt has a || here.mp4 twice: keep one of them"),
        (WORLD, "takes --prompts FILE"),
        (("--prompts", "one.txt", "--methods", "fifo"), "its methods and steps are its own"),
    ],
)
def test_the_papers_comparison_says_what_it_lacks(
    cli: Cli, open_sora_folder: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    """Guards a comparison of hours that would fail at its last clip."""
    (tmp_path / "one.txt").write_text("a||nowhere.mp4\n")
    (tmp_path / "two.txt").write_text("a prompt\n")
    (tmp_path / "twice.txt").write_text("a||here.mp4\na||here.MP4\n")
    (tmp_path / "here.mp4").touch()
    command = ("compare", "--preset", "table1-open-sora", "--model", open_sora_folder, "-o", "run")
    code, _, err = cli(*command, *arguments)
    assert (code, err.count("\n")) == (2, 1) and says in err
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((*WORLD, "--methods", "magic"), "there is no method magic"),
        ((), "give either --prompts FILE or --world WORLD"),
        (("--prompts", "no.txt"), "cannot read no.txt"),
        (("--world", "moon"), "'moon' is not one of 'flight', 'tracking-shot'"),
        (("--prompts", "no.txt", "--judge", "no.safetensors"), "--judge FILE goes with --world WORLD"),
        (("--report-only",), "holds no measured film yet"),
    ],
)
def test_mistakes_are_one_line(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    """Guards errors that say what to do, and folders that are not made in vain."""
    command: tuple[str, ...] = ("compare",) if "--report-only" in arguments else COMMAND
    if "--methods" in arguments:
        command = COMMAND[: COMMAND.index("--methods")]
    code, _, err = cli(*command, *arguments, "-o", "run")
    assert (code, err.count("\n")) == (2, 1) and says in err
    assert not Path("run").exists()


def test_equal_cost_is_another_row(tubelet_folder: Path) -> None:
    """Guards the coin: what costs otherwise than ours comes again, at a number of steps that costs nearly the same;
    what the model does anyway is left out, and said."""
    setting = Setting(60.0, str(tubelet_folder))
    variants, notes = variants_of(["progressive", "chunk-by-chunk", "no-context", "no-chunks"], setting)
    names = [variant.name for variant in variants]
    assert (
        names[:3] == ["progressive", "chunk-by-chunk", "chunk-by-chunk, equal cost"] and "no-context" in names
    )
    assert notes == [f"no-chunks is left out: {tubelet_folder.name} is filmed so anyway"]
    costs = {variant.name: setting.film(variant).cost.latent_evaluations for variant in variants}
    dear, fair = (abs(costs[name] - costs["progressive"]) for name in names[1:3])
    assert fair < dear
    with pytest.raises(OptionError, match="there is no method"):
        variants_of(["replacements"], setting)


def test_pieces_meet_where_they_do(tubelet_folder: Path) -> None:
    """Guards seam scores against looking beside the seams: a latent of four frames each, a clip of two, a window."""
    setting = Setting(2.0, str(tubelet_folder))
    assert joints_of(setting.film(Variant("progressive")), setting.spec).shifts == set(range(4, 48, 4))
    clips = setting.film(Variant("replacement", {"method": "replacement"}))
    joints = joints_of(clips, setting.spec)
    assert joints.shifts == set(range(8, 48, 8)) and joints.latents == set(range(4, 48, 4))
    assert joints.patch == setting.spec.alignment


def test_pieces_begin_behind_the_clip(open_sora_folder: Path) -> None:
    """Guards seams of groups of 17 frames: the clip is one piece, then comes a group a chunk."""
    setting = Setting(2.0, str(open_sora_folder))
    options = Given(width=64, height=48)
    begun = setting.film(Variant("progressive", options), from_clip=True)
    joints = joints_of(begun, setting.spec)
    inside = {1, 5, 9, 13}
    assert joints.shifts == {17, 34}
    assert joints.latents == {start + frame for start in (0, 17, 34) for frame in {0, *inside}} - {0}
    assert joints_of(setting.film(Variant("progressive", options)), setting.spec).shifts == {17, 34}
