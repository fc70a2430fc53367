"""A file of options for train, distil and prepare: what it holds, what holds before it, and what is wrong in one."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from longtake.errors import DataError, OptionError
from longtake.models.load import read_spec
from longtake.training.batches import window_of
from longtake.training.data import MANIFEST, PreparedFilm, hashes, latents_needed
from longtake.training.options import TrainOptions

Cli = Callable[..., Any]

QUICK = {"steps": 1, "batch_size": 2, "warmup": 0, "sample_every": 0, "save_every": 1}


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards equal results against a GPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def test_a_file_of_options_trains(
    cli: Cli, captioned_film: Path, tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards the whole way: places, numbers, lists and switches of a file; and that what is given holds before it."""
    told = QUICK | {"data": "film", "output": "run", "model": str(tubelet_folder), "bf16": True, "lr": "1e-3"}
    (tmp_path / "a.json").write_text(
        json.dumps(told | {"chunk_sizes": [1, 2, 2], "sample_prompts": ["a bus"]})
    )
    trained = cli("train", "--config", "a.json", "--no-bf16", "--seed", "7")
    assert (trained.code, trained.out) == (0, "run/model\n"), trained.err
    config = json.loads(Path("run/config.json").read_text())
    names = ("bf16", "lr", "seed", "chunk_sizes", "sample_prompts", "steps")
    assert [config[name] for name in names] == [False, 0.001, 7, [1, 2, 2], ["a bus"], 1]
    again = cli(
        "train", "--config", "a.json", "--no-bf16", "--seed", "7", "-o", "other", "--chunk-sizes", "1"
    )
    assert again.code == 0 and json.loads(Path("other/config.json").read_text())["chunk_sizes"] == [1]


def test_the_same_file_prepares_and_distils(
    cli: Cli, captioned_film: Path, tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards prepare, which takes the film, the model and the windows of what train is to take, and no more."""
    lines = [f"model: {tubelet_folder}", "output: run", "data: film", "steps: 1", "context_size: 2"]
    (tmp_path / "a.yaml").write_text("\n".join(lines))
    made = cli("prepare", "--config", "a.yaml", "-o", "prepared")
    assert made.code == 0 and not Path("run").exists(), made.err
    spec = read_spec(tubelet_folder)
    needed = latents_needed(spec, replace(spec.defaults, context_size=2))
    assert json.loads((Path("prepared") / MANIFEST).read_text())["min_latents"] == needed
    plan = cli("distil", "--config", "a.yaml", "--data", "prepared", "--dry-run")
    assert plan.code == 0 and "latents" in plan.out, plan.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "data: film\nchunk_size: 1\nlora_rnk: 4",
            "a.yaml: there is no option lora_rnk; did you mean lora_rank?",
        ),
        ("data: film\nouput: run", "a.yaml: there is no option ouput; did you mean output?"),
        ("data: film", "give --output, or a --config that says it"),
        ("data: film\noutput: run\ndata: other", "a.yaml: data is given twice: give it once"),
        ("data: film\noutput: run\nsteps: many", "steps should be a valid integer"),
        ("data: film\noutput: [run]", "output is not a valid path"),
        ("data: film\noutput: run\nown_film: 1", "there is no option own_film"),
        ("- data", "a.yaml: it must map names to values, such as data: …"),
        ("data: [", "a.yaml, line 1 is no YAML"),
        ("data: film\noutput: run\nchunk_sizes: [2, 4]", "chunk_sizes must hold 1, the chunk_size"),
        ("data: film\noutput: run\nchunk_sizes: 2,x", "chunk_sizes should be a valid integer"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line(
    cli: Cli, tubelet_folder: Path, tmp_path: Path, text: str, says: str
) -> None:
    """Guards names that do nothing, and files that are none, before anything is written."""
    (tmp_path / "a.yaml").write_text(text)
    result = cli("train", "--config", "a.yaml", "--model", tubelet_folder)
    assert (result.code, result.err.count("\n")) == (2, 1) and says in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_a_file_that_is_not_there(cli: Cli) -> None:
    assert "cannot read the options no.yaml" in cli("train", "--config", "no.yaml").err
    assert "give --data and --output" in cli("train").err
    assert "or a --config that has data" in cli("prepare", "-o", "out").err


def test_chunks_of_several_sizes_are_mixed(tubelet_folder: Path) -> None:
    """Guards StreamDiT's mixture: every size is met, one named twice about twice as often, and windows stay as long;
    with one size nothing is drawn besides, so that older runs go on."""
    sampling = replace(read_spec(tubelet_folder).defaults, num_inference_steps=8, steps_per_chunk=1)
    options = TrainOptions(chunk_sizes="1,1,2,4", steady=1, start=0, extend=0, drain=0, level=0)
    windows = [window_of(torch.Generator().manual_seed(i), options, sampling) for i in range(400)]
    counts = {size: sum(window.chunk_size == size for window in windows) for size in (1, 2, 4)}
    assert 160 < counts[1] < 240 and all(70 < counts[size] < 130 for size in (2, 4))
    assert {window.num_latents - window.context for window in windows} == {8}
    alone = TrainOptions(chunk_sizes=(1,)), TrainOptions()
    seeds = [torch.Generator().manual_seed(3) for _ in alone]
    assert window_of(seeds[0], alone[0], sampling) == window_of(seeds[1], alone[1], sampling)


def test_the_longest_of_the_windows_finds_a_place(
    cli: Cli, captioned_film: Path, tubelet_folder: Path, tmp_path: Path
) -> None:
    """Guards film that only some of the windows fit: 2 chunks of 16 latents do not fit two seconds."""
    spec = read_spec(tubelet_folder)
    cli("prepare", "film", "-o", "prepared", "--model", tubelet_folder)
    options = TrainOptions(chunk_sizes=(1, 16))
    sampling = options.sampling(spec)
    widest = options.windows(sampling)
    with pytest.raises(DataError, match=r"take longer film$"):
        PreparedFilm(tmp_path / "prepared", spec, hashes(tubelet_folder), sampling, widest)
    assert [each.chunk_size for each in widest] == [1, 16]
    assert widest[1].steps_per_chunk == spec.defaults.num_inference_steps
    with pytest.raises(OptionError, match="chunk_sizes must hold 1"):
        TrainOptions(chunk_sizes=(2,)).sampling(spec)
