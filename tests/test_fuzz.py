"""What people and disks write, parsed to its end: the right thing or one line, never a traceback."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from longtake.batch import read_batch
from longtake.cli import main
from longtake.cues import Cue, read_script
from longtake.errors import LongTakeError, StateError
from longtake.joins import Beginning
from longtake.models.base import ModelSpec
from longtake.models.load import read_spec
from longtake.models.places import open_model
from longtake.options import FilmOptions, options_of
from longtake.said import Said, said
from longtake.start import given_in
from longtake.states import HEADER, SCHEMA, About, _digest, read_state
from longtake.video import VideoWriter, probe
from longtake.video.reader import METADATA_PREFIX, _told

pytestmark = pytest.mark.slow

FIELDS = list(FilmOptions.model_fields)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSONS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TIMES = (
    st.floats()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from(["1s", "0:01", "1m", "2", "1e400", "9" * 400, "1h1h", "٣s", "-1", ".5", "1:99"])
)
CUES = st.fixed_dictionaries(
    {"at": TIMES}, optional={name: TIMES | JSONS for name in Cue.model_fields if name != "at"}
)
SAID = st.sampled_from([*FIELDS, *Said.model_fields, "made"]) | st.text(max_size=4)
FILMS = st.fixed_dictionaries(
    {"prompt": st.text(max_size=8) | st.just("a car")},
    optional={
        "cues": st.lists(CUES, max_size=3) | JSONS,
        **{name: SCALARS for name in FIELDS if name not in ("prompt", "cues")},
    },
)
few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def spec(tubelet_folder: Path) -> ModelSpec:
    return read_spec(open_model(tubelet_folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def in_one_line(error: LongTakeError) -> bool:
    return len(str(error).splitlines()) == 1


@given(film=FILMS)
def test_any_script_is_a_film_or_a_line(film: dict[str, Any], spec: ModelSpec, folder: Path) -> None:
    """Guards what comes behind the parser too: options, times and cues of every kind, fitted to a model."""
    path = folder / "take.yaml"
    path.write_text(yaml.safe_dump(film, allow_unicode=True), encoding="utf-8")
    try:
        FilmOptions(**read_script(path, FIELDS)).resolved(spec)
    except LongTakeError as error:
        assert in_one_line(error)


def test_a_script_that_is_small_and_unfolds_to_billions_is_a_line(folder: Path) -> None:
    """Guards memory: YAML's references, which people's tools print in full."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefghi", "bcdefghij", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    for key in ("cues", "prompt", "seconds", "fps"):
        path = folder / "bomb.yaml"
        path.write_text("\n".join([*lines, f"{key}: *j"]))
        with pytest.raises(LongTakeError) as error:
            FilmOptions(**{"prompt": "a", **read_script(path, [*FIELDS, *"abcdefghij"])})
        assert in_one_line(error.value) and len(str(error.value)) < 500


@given(words=st.lists(st.text(max_size=6) | st.sampled_from(["--at", "1s", "a car", "--", "-1"]), max_size=4))
@few
def test_any_words_behind_at_are_a_plan_or_a_line(
    words: list[str],
    tubelet_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards --at, the option of two words, at the end of a command too."""
    told = ["longtake", "plan", "--model", str(tubelet_folder), "--seconds", "5", "--at", *words]
    monkeypatch.setattr(sys, "argv", [word.replace("\0", "") for word in told])
    with pytest.raises(SystemExit) as exit_:
        main()
    err = capsys.readouterr().err
    assert exit_.value.code in (0, None) or (exit_.value.code == 2 and err and "Traceback" not in err)


@given(start=st.text(min_size=1, max_size=300), end=st.none() | st.text(min_size=1, max_size=9))
def test_any_name_of_a_clip_in_a_batch_is_a_line(
    start: str, end: str | None, spec: ModelSpec, folder: Path
) -> None:
    """Guards names that no file has, or none can have."""
    path = folder / "films.jsonl"
    path.write_text(json.dumps({"prompt": "a", "start": start, "end": end, "context_size": 2}))
    with pytest.raises(LongTakeError) as error:
        read_batch(path, spec)[0].metadata()
    assert in_one_line(error.value)


def header(film: Any) -> dict[str, Any]:
    told = {"film": film, "model": None, "lora": None, "made": {}}
    return {**told, "passes": 1, "num_frames": 4, "num_written": 0}


def save_state(path: Path, film: dict[str, Any], draft: str | None = None) -> None:
    told = {"schema": SCHEMA, **header(film), "draft": draft, "sha256": "0"}
    save_file({"clean": torch.zeros(3)}, path, metadata={HEADER: json.dumps(told)})


@given(
    film=st.dictionaries(SAID, JSONS, max_size=5).map(lambda told: {"prompt": "a car", **told}),
    draft=st.none() | st.just("draft.mp4"),
)
def test_any_film_of_a_state_is_gone_on_from_or_a_line(
    film: dict[str, Any], draft: str | None, spec: ModelSpec, folder: Path
) -> None:
    """Guards states that are whole, and tell of films that cannot be, or of a draft of which the film says nothing."""
    path = folder / "a.state"
    save_state(path, film, draft)
    try:
        Beginning.read(path, folder / "a.mp4", spec)
    except LongTakeError as error:
        assert in_one_line(error)


NAMES = st.sampled_from(
    ["clean", "noisy", "pending", "memory.0", "memory.1", "decoder.a", "draft.x", "end", "?"]
)


@given(names=st.sets(NAMES), size=st.integers(0, 3))
def test_a_state_without_all_of_its_tensors_is_a_line(names: set[str], size: int, folder: Path) -> None:
    """Guards states of which parts are missing and the checksum is right."""
    path, tensors = folder / "b.state", {name: torch.zeros(size) for name in names}
    about = About(**header({"prompt": "a"}))
    told = {"schema": SCHEMA, **about.model_dump(), "sha256": _digest(tensors, about)}
    save_file(tensors, path, metadata={HEADER: json.dumps(told)})
    try:
        read_state(path)
    except StateError as error:
        assert in_one_line(error)
    else:
        assert {"clean", "noisy", "pending"} <= names


@given(
    said_of=st.dictionaries(
        SAID, JSONS.map(json.dumps) | st.sampled_from(["[" * 5000, "1e999", "NaN", "9" * 5000]), max_size=6
    ),
    prompt=st.none() | st.just('"a car"'),
)
def test_any_words_of_a_film_are_followed_or_a_line(said_of: dict[str, str], prompt: str | None) -> None:
    """Guards films of others, whatever stands under the keys of ours: what is repeated or finished has read it."""
    told = {name: _told(text) for name, text in {**said_of, **({"prompt": prompt} if prompt else {})}.items()}
    json.loads(json.dumps(told, allow_nan=False, indent=1))
    try:
        followed = said(told, "film.mp4")
        options_of(followed)
        given_in(followed)
    except LongTakeError as error:
        assert in_one_line(error)


DEEP = "[" * 1000 + "]" * 1000
CRAFTED: list[dict[str, str]] = [
    {"draft": "7"},
    {"draft": '{"name": null}'},
    {"draft": "null", "start": "null"},
    {"model": "[1]"},
    {"cues": '"soon"'},
    {"cues": '[{"at": NaN}]', "seed": "1e999"},
    {"seed": "9" * 5000, "width": "9" * 30},
    {"lora": '{"sha256": 3}', "retake": "1", "parent": DEEP, "made": DEEP},
    {"prompt": DEEP, "guidance_scale": "NaN"},
    {"prompt": '"\\ud800\\n"', "a\u0007": '"\\ud800"'},
]


@pytest.mark.parametrize("told", CRAFTED, ids=lambda told: ",".join(told).encode("unicode_escape").decode())
def test_a_crafted_film_is_no_traceback_on_the_command_line(
    told: dict[str, str], cli: Callable[..., Any], tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards every command that reads what a film says."""
    writer = VideoWriter(tmp_path / "film.mp4", 32, 32, 8, {})
    said_so = {"prompt": '"a car"', "num_frames": "9", "width": "32", "height": "32"} | told
    writer.metadata |= {METADATA_PREFIX + name: text for name, text in said_so.items()}
    with writer:
        writer.write(np.zeros((9, 32, 32, 3), np.uint8))
    assert probe(tmp_path / "film.mp4").metadata.keys() >= told.keys() - {"a\u0007"}
    small = ("-o", "new.mp4", "--overwrite", "--model", tubelet_folder)
    assert "Traceback" not in cli("extend", "film.mp4", *small).err
    (tmp_path / "film.mp4.states").mkdir()
    save_state(tmp_path / "film.mp4.states" / "1.state", {"prompt": "a car"}, draft="film.mp4")
    assert cli("info", "film.mp4").code == 0
    json.loads(cli("info", "film.mp4", "--json").out, parse_constant=pytest.fail)
    for words in (
        ("generate", "--like", "film.mp4", "--frames", "9", "--steps", "2", "--steps-per-chunk", "1", *small),
        ("finish", "film.mp4", "--steps", "4", "--steps-per-chunk", "1", "--seed", "1", *small),
        ("finish", "film.mp4", "-o", "new.mp4"),
        ("branch", "film.mp4", "--at", "1s", "-o", "new.mp4"),
        ("retake", "film.mp4", "--from", "0s", "--to", "1s", "-o", "new.mp4"),
        ("extend", "film.mp4", "-o", "new.mp4"),
    ):
        made = cli(*words)
        assert made.code == 0 or (made.code == 2 and len(made.err.splitlines()) >= 1), words
        assert "Traceback" not in made.err
