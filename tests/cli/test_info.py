"""What films say of themselves: shown, compared when one is repeated, and honest about what is not said."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longtake.provenance import WORDS, followed
from longtake.video import VideoWriter, probe
from packets import packets, same_film

pytestmark = pytest.mark.slow

WAS_OTHER = "was made with other weights than {} has now, and is filmed again"

Cli = Callable[..., Any]
OPTIONS = ("--size", "32x32", "--steps", "3", "--steps-per-chunk", "1", "--fps", "8", "--seconds", "3")


@pytest.fixture
def film(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> Path:
    """film.mp4, with a cue."""
    arguments = ("a red car", "--at", "1s", "a blue bus", "--model", tubelet_folder, *OPTIONS)
    assert cli("generate", *arguments, "-o", "film.mp4").code == 0
    return tmp_path / "film.mp4"


def saying(path: Path, told: dict[str, Any]) -> Path:
    """A film of three black seconds that says this of itself."""
    with VideoWriter(path, 32, 32, 8, told) as writer:
        writer.write(np.zeros((24, 32, 32, 3), np.uint8))
    return path


def changed(film: Path, name: str, **made: Any) -> Path:
    """A film that says the same, but for what it was made with."""
    told = probe(film).metadata
    return saying(film.with_name(name), told | {"made": told["made"] | made})


def test_info_shows_all_that_a_film_says(cli: Cli, film: Path) -> None:
    """Guards both forms: everything is in the JSON, and in the text under what it is."""
    told = json.loads(cli("info", "film.mp4", "--json").out)
    assert told["prompt"] == "a red car" and told["cues"] == [{"at": 1.0, "prompt": "a blue bus"}]
    assert told["made"].keys() >= WORDS.keys() and told["made"]["wall_seconds"] > 0
    text = cli("info", "film.mp4").out
    head, follows, made = text.split("\n\n")
    assert head.splitlines()[1] == "length                 3 s, 24 frames at 8 fps"
    assert follows.splitlines()[:3] == [
        "follows from",
        "  prompt                 a red car",
        "  at 1 s                 a blue bus",
    ]
    assert made.splitlines()[1] == f"  model's weights        {told['made']['model_sha256']}"
    assert made.count("\n") == len(WORDS) + 2 and "filming took" in made


def test_info_of_films_that_say_less_or_anything(cli: Cli, film: Path, tmp_path: Path) -> None:
    """Guards films by an older version, by others, and whatever stands under our keys: what is there is shown."""
    saying(tmp_path / "old.mp4", followed(probe(film).metadata))
    old = cli("info", "old.mp4").out
    assert "a blue bus" in old and "not said, as films by an older longtake" in old
    odd = {"cues": ["x", {"seed": 3}], "made": 7, "parent": [1], "retake": {}, "start": {"name": "a\nb"}}
    saying(tmp_path / "odd.mp4", odd)
    shown = cli("info", "odd.mp4")
    assert (
        shown.code == 0 and "  goes on from           [1]" in shown.out and "a\\nb, sha256 null" in shown.out
    )
    saying(tmp_path / "plain.mp4", {})
    plain = cli("info", "plain.mp4").out
    assert plain.startswith("file ") and "follows from" not in plain


def test_like_says_what_is_other(cli: Cli, film: Path, tubelet_folder: Path) -> None:
    """Guards repetition: the same film and no word if nothing is other; a line with all that is, and with all that a
    film of an older version does not say."""
    like = ("generate", "--model", tubelet_folder, "--overwrite", "-o", "again.mp4", "--like")
    same = cli(*like, "film.mp4")
    assert (same.code, same.err) == (0, "") and same_film(film, film.with_name("again.mp4"))
    changed(film, "odd.mp4", torch="1.0", device="cuda", dtype="bfloat16", longtake="0.0.1")
    odd = cli(*like, "odd.mp4")
    assert odd.code == 0 and odd.err.startswith("note: the pictures may differ: longtake was 0.0.1 and is ")
    assert "; torch was 1.0 and is " in odd.err and "; the device was cuda and is cpu; " in odd.err
    assert odd.err.endswith("; the precision was bfloat16 and is float32\n") and odd.err.count("\n") == 1
    saying(film.with_name("old.mp4"), followed(probe(film).metadata))
    old = cli(*like, "old.mp4")
    assert old.code == 0 and packets(film) == packets(film.with_name("again.mp4"))
    assert old.err.startswith(
        "note: the pictures may differ: the film does not say the model's weights, longtake, torch, diffusers,"
    )
    assert old.err.count("\n") == 1


def test_like_with_other_weights_and_without_its_lora(cli: Cli, film: Path, tubelet_folder: Path) -> None:
    """Guards films against models of the same name, and against a LoRA that is forgotten."""
    other = shutil.copytree(tubelet_folder, film.parent / "model" / tubelet_folder.name)
    (other / "vae" / "config.json").write_text((other / "vae" / "config.json").read_text() + "\n")
    result = cli("generate", "--like", "film.mp4", "--model", other, "-o", "again.mp4")
    assert (
        result.code == 0 and result.err == "note: the pictures may differ: the model's weights are others\n"
    )
    told = probe(film).metadata | {"lora": {"name": "snow", "sha256": "0f"}}
    saying(film.with_name("lora.mp4"), told)
    result = cli("generate", "--like", "lora.mp4", "--model", tubelet_folder, "-o", "no.mp4")
    assert result.code == 2 and "lora.mp4 was made with LoRA snow: give it with --lora" in result.err


def test_a_film_goes_on_where_it_was_made(cli: Cli, film: Path, tubelet_folder: Path) -> None:
    """Guards --device of what goes on: left out, it is the film's; another kind is refused in a line."""
    from longtake.states import read_about, read_state, states_folder, write_state

    arguments = ("a red car", "--model", tubelet_folder, *OPTIONS, "--keep-states", "1s")
    assert cli("generate", *arguments, "-o", "kept.mp4").code == 0
    for path in sorted(states_folder(film.with_name("kept.mp4")).iterdir()):
        about = read_about(path)
        made = about.made.model_copy(update={"device": "cuda", "torch": "1.0"})
        write_state(path, read_state(path), about.model_copy(update={"made": made}))
    extend = ("extend", "kept.mp4", "--seconds", "1", "-o", "longer.mp4")
    refused = cli(*extend, "--device", "cpu")
    assert refused.code == 2 and refused.err.count("\n") == 1
    assert "kept.mp4 was begun on cuda, and would go on on cpu" in refused.err
    for path in states_folder(film.with_name("kept.mp4")).iterdir():
        about = read_about(path)
        made = about.made.model_copy(update={"device": "cpu"})
        write_state(path, read_state(path), about.model_copy(update={"made": made}))
    said = cli(*extend)
    assert said.code == 0 and said.err.startswith("note: the pictures may differ: torch was 1.0 and is ")


def test_a_batch_says_which_films_it_makes_again(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards a model that was trained on under its name: its films are made again, in words; films that do not say
    their weights are left, in words."""
    other = shutil.copytree(tubelet_folder, tmp_path / "model" / tubelet_folder.name)
    (other / "vae" / "config.json").write_text((other / "vae" / "config.json").read_text() + "\n")
    (tmp_path / "lines.jsonl").write_text('{"prompt": "a red car", "name": "x"}')
    command = ("batch", "lines.jsonl", "-o", "films", *OPTIONS, "--model")
    assert cli(*command, tubelet_folder).out.endswith("1 filmed\n")
    again = cli(*command, other)
    assert again.code == 0 and again.out.endswith("1 filmed\n")
    assert again.err == f"note: x.mp4: it {WAS_OTHER.format(tubelet_folder.name)}\n"
    whole = cli(*command, other)
    assert whole.out.endswith("1 whole\n") and whole.err == ""
    path = tmp_path / "films" / "x.mp4"
    told = followed(probe(path).metadata)
    path.unlink()
    saying(path, told)
    left = cli(*command, other)
    assert left.out.endswith("1 whole\n")
    assert left.err == "note: x.mp4: it does not say with which weights it was made, and is left\n"
