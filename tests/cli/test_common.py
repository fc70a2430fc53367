"""What all commands share: an option is given once, and an empty name is no name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from longtake.cli.app import app
from longtake.cli.common import Command

GENERATE = ("generate", "a red car", "--frames", "4")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ((*GENERATE, "--seed", "1", "--seed", "2"), "--seed"),
        ((*GENERATE, "--seed", "1", "--seed", "1"), "--seed"),
        ((*GENERATE, "--frames=8"), "--frames"),
        ((*GENERATE, "-o", "a.mp4", "--output", "b.mp4"), "-o"),
        (("plan", "--model", "a", "--model", "b"), "--model"),
        (("train", "--data", "a", "--data", "b", "-o", "run"), "--data"),
    ],
)
def test_an_option_is_given_once(
    cli: Callable[..., Any], tmp_path: Path, arguments: tuple[str, ...], option: str
) -> None:
    """Guards against the last of several that wins, unsaid: another seed."""
    code, out, err = cli(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{option} is given 2 times: give it once" in err and not list(tmp_path.iterdir())


def test_options_that_take_several_are_left_alone(cli: Callable[..., Any]) -> None:
    """Guards options that are lists, if there are any, and words that look like options after --."""
    code, _, err = cli("plan", "--frames", "4", "--", "--frames")
    assert code == 2 and "times" not in err


def test_every_command_is_of_that_kind() -> None:
    """Guards a command that is put on the application another way."""
    group = typer.main.get_command(app)
    assert all(isinstance(command, Command) for command in group.commands.values())  # type: ignore[attr-defined]


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        (GENERATE, "--model"),
        (GENERATE, "--lora"),
        (("plan",), "--model"),
        (("plan",), "--lora"),
        (("train", "--data", ".", "-o", "run"), "--model"),
        (("prepare", ".", "-o", "film"), "--model"),
        ((*GENERATE, "--preset", "pa-o-base", "--start", "text"), "--model"),
    ],
)
def test_an_empty_name_is_refused(
    cli: Callable[..., Any], tmp_path: Path, command: tuple[str, ...], option: str, empty: str
) -> None:
    """Guards a variable of a script that was not set: no film of the embedded model in its place."""
    code, out, err = cli(*command, option, empty)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    name = {"--model": "model", "--lora": "LoRA"}[option]
    assert f"the name of the {name} is empty" in err and not list(tmp_path.iterdir())
