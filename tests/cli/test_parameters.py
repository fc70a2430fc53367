"""Options of a command that come from a model: their types, names, defaults and descriptions."""

import inspect
from collections.abc import Callable
from typing import Any, get_args

import pytest
from pydantic import Field

from longtake.cli.compare import compare, evaluate
from longtake.cli.film import FIELDS, film_options, generate
from longtake.cli.parameters import SHORT, given_of, takes
from longtake.evaluation.options import CompareOptions, EvaluateOptions
from longtake.options import Count, FilmOptions, Options, Rate


class Few(Options):
    """Options of each kind."""

    number: Count = Field(3, description="A number.")
    maybe: float | None = Field(None, description="Perhaps.")
    rate: Rate | None = Field(None, description="A rate.")
    many: tuple[str, ...] = Field((), description="Words.")
    flag: bool = Field(False, description="A flag.")


def test_each_field_is_an_option() -> None:
    """Its type is what the command line reads, its help the description, and its default is shown, not given."""

    @takes(Few, names={"number": ("--n",)})
    def command(folder: str, extra: str = "", **given: Any) -> None: ...

    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["folder", *Few.model_fields, "extra"]
    found = {name: get_args(parameters[name].annotation) for name in Few.model_fields}
    kinds = {name: kind for name, (kind, _) in found.items()}
    assert kinds == {
        "number": int | None,
        "maybe": float | None,
        "rate": str | None,
        "many": list[str] | None,
        "flag": bool | None,
    }
    assert all(option.help == Few.model_fields[name].description for name, (_, option) in found.items())
    assert found["number"][1].default == "--n" and found["number"][1].show_default == "3"
    assert {parameters[name].default for name in Few.model_fields} == {None}
    assert found["flag"][1].default == "--flag/--no-flag"


def test_what_is_given() -> None:
    """What is left out is the model's default, or a preset's; 0 is given."""
    assert given_of({"a": None, "b": False, "c": 0, "d": [], "e": True, "f": ""}) == {
        "b": False,
        "c": 0,
        "e": True,
        "f": "",
    }
    assert film_options("a car", "64x32", seed=0, fps="24000/1001", context_size=None).model_fields_set == {
        "prompt",
        "width",
        "height",
        "seed",
        "fps",
    }


def test_every_option_of_a_film_is_an_option_of_generate() -> None:
    """Guards fields that nobody can give."""
    parameters = inspect.signature(generate).parameters
    assert set(FIELDS) | {"prompt", "cues"} == set(FilmOptions.model_fields) - {"width", "height"}
    assert set(FIELDS) <= set(parameters) and set(SHORT) <= set(FIELDS)


@pytest.mark.parametrize(("command", "kind"), [(compare, CompareOptions), (evaluate, EvaluateOptions)])
def test_every_option_of_a_comparison_is_one_of_its_command(
    command: Callable[..., None], kind: type[Options]
) -> None:
    """Guards fields that nobody can give, and ones without a word on what they are."""
    assert set(kind.model_fields) <= set(inspect.signature(command).parameters)
    assert all(field.description for field in kind.model_fields.values())


def test_methods_are_names_between_commas() -> None:
    """As the command line gives them, and as a script does."""
    given = CompareOptions(methods="fifo, no-context")
    assert given.methods == CompareOptions(methods=("fifo", "no-context")).methods == ("fifo", "no-context")
