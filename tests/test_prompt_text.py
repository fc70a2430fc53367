"""What may be a prompt."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.errors import LongTakeError, OptionError
from longtake.evaluation.benchmark import parse_benchmark
from longtake.evaluation.prompts import read_prompts
from longtake.options import FilmOptions
from longtake.prompts import decoded, flaw
from longtake.training.options import TrainOptions

Cli = Callable[..., Any]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\n\r ")))
def test_text_of_any_script_is_a_prompt(text: str) -> None:
    """Guards against refusing what can be filmed; and that a locale that reads no bytes changes nothing."""
    assert flaw(text) is None and decoded(text) == text
    assert decoded(text.encode().decode("ascii", "surrogateescape")) == text


@given(st.text(st.characters()))
def test_what_passes_can_be_written(text: str) -> None:
    """Guards files, tokenizers and terminals: whatever is no flaw is UTF-8 and moves no cursor."""
    if flaw(text) is None:
        assert text.encode().decode() == text
        assert all(c.isspace() for c in text if unicodedata.category(c) == "Cc")


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"in UTF-8 \(character 4 is the byte E9\)"),
        ("a \ud83d car", r"in UTF-8 \(character 3 is half of one, U\+D83D\)"),
        ("a\0car", r"without control characters \(character 2 is U\+0000\)"),
        ("\x1b[2Ja car", r"without control characters \(character 1 is U\+001B\)"),
    ],
)
def test_what_is_wrong_with_a_prompt_is_told(prompt: str, words: str) -> None:
    """Guards every way that a prompt comes in, and that the line is named where it comes from a file."""
    with pytest.raises(OptionError, match=f"^prompt must be text {words}, not "):
        FilmOptions(prompt=prompt)
    with pytest.raises(OptionError, match=f"^negative_prompt must be text {words}"):
        FilmOptions(prompt="a car", negative_prompt=prompt)
    with pytest.raises(OptionError, match=f"^sample_prompts must be text {words}"):
        TrainOptions(sample_prompts=("a car", prompt))
    with pytest.raises(OptionError, match=f"^line 2 must be text {words}"):
        parse_benchmark(f"a car||a.mp4\n{prompt}||b.mp4")


def test_a_file_of_prompts_names_the_line(tmp_path: Path) -> None:
    """Guards --prompts: lines are counted as an editor counts them, and comments may hold anything."""
    file = tmp_path / "prompts.txt"
    file.write_bytes(b"# a \x07 comment\n\na car\na\x00b\n")
    with pytest.raises(LongTakeError, match=r"^line 4 of .* control characters \(character 2 is U\+0000\)"):
        read_prompts(file)


def test_a_prompt_that_is_not_utf8_writes_nothing(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards bytes from the command line: one line, and an untouched folder."""
    for arguments in (["caf\udce9"], ["a car", "--negative", "\udcff"]):
        result = cli("generate", *arguments, "--model", tubelet_folder)
        assert result.code == 2 and "must be text in UTF-8" in result.err and result.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_paths_that_are_not_utf8_are_paths(cli: Cli, tubelet_folder: Path, tmp_path: Path) -> None:
    """Guards names in the bytes of another encoding: filmed to, evaluated, and told of with question marks."""
    name = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    result = cli(
        "generate",
        "a car",
        "--frames",
        "9",
        "--steps",
        "2",
        "--size",
        "32x32",
        "--model",
        tubelet_folder,
        "-o",
        name,
        "--json",
    )
    assert result.code == 0 and json.loads(result.out)["file"] == r"caf\xe9.mp4"
    assert (tmp_path / name).exists()
