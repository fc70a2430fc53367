"""Options of a command that are fields of a model, where they are described, bounded and typed."""

import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin

import typer
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from longtake.option_files import named, read_options
from longtake.values import Options
from longtake.worlds import WorldName

# What the commands that film call a field, where that is not its own name.
SHORT = {
    "num_frames": ("--frames",),
    "negative_prompt": ("--negative",),
    "num_inference_steps": ("--steps",),
    "context_size": ("--context",),
    "guidance_scale": ("--guidance",),
    "guidance_scale_2": ("--guidance-2",),
}
METAVARS = {
    "chunk_sizes": "C,C,…",
    "fps": "RATE",
    "prompts": "FILE",
    "methods": "A,B,…",
    "real": "DIR",
    "clips": "DIR",
    "weights_dir": "DIR",
    "world": "|".join(WorldName),
    "judge": "FILE",
    "sigmas": "A,B,…|NAME",
}
# Of text that names one of a few, which the model does not know.
CHOICES: dict[str, type] = {"world": WorldName}

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Options in a file of YAML or JSON, by their names with underscores; those that are given here hold before"
        " it.",
    ),
]
Command = TypeVar("Command", bound=Callable[..., None])


def takes(
    kind: type[Options],
    fields: Collection[str] | None = None,
    names: Mapping[str, tuple[str, ...]] = SHORT,
) -> Callable[[Command], Command]:
    """Give a command an option for each field, or those named, behind what it requires, in place of its **keywords.
    These get them all; `given_of` says which were given. names: of options that are not called as their fields."""

    def with_options(command: Command) -> Command:
        signature = inspect.signature(command)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        chosen = kind.model_fields if fields is None else {name: kind.model_fields[name] for name in fields}
        added = [
            _parameter(name, field, names.get(name, ("--" + name.replace("_", "-"),)))
            for name, field in chosen.items()
        ]
        required = [p for p in own if p.default is p.empty]
        rest = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.default is not p.empty]
        command.__signature__ = signature.replace(parameters=[*required, *added, *rest])  # type: ignore[attr-defined]
        return command

    return with_options


def given_of(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, of the keywords of a command."""
    return {name: value for name, value in keywords.items() if value is not None and value != []}


def told_by(
    config: Path | None, known: Collection[str], keywords: Mapping[str, Any], aside: Collection[str] = ()
) -> dict[str, Any]:
    """The options that were given to a command, and before these hold those of a file of options.

    known: the names that a file may hold; those `aside` too, which are other commands' and are passed over. OptionError
    for a file that cannot be read, and for other names in it.
    """
    such_as = f"{next(iter(known))}: …"
    names = [*known, *aside]
    told = {} if config is None else read_options(config, "options", lambda read: named(read, names, such_as))
    return {name: value for name, value in told.items() if name in known} | given_of(keywords)


def _parameter(name: str, field: FieldInfo, names: tuple[str, ...]) -> inspect.Parameter:
    kind, is_flag = CHOICES.get(name, _plain(field)), field.annotation is bool
    shown = "" if field.default in (None, "", ()) or is_flag else str(field.default)
    option = typer.Option(
        *(map(_on_or_off, names) if is_flag else names),
        help=field.description,
        metavar=METAVARS.get(name),
        show_default=shown or False,
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _on_or_off(name: str) -> str:
    """A flag that can be taken back, where a file of options or a preset sets it."""
    return f"{name}/--no-{name.removeprefix('--')}"


def _plain(field: FieldInfo) -> Any:
    """The type that the command line reads: text for what the model reads itself."""
    if any(isinstance(each, BeforeValidator) for each in field.metadata):
        return str
    return _bare(field.annotation)


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        kind, *metadata = get_args(annotation)
        return str if any(isinstance(each, BeforeValidator) for each in metadata) else _bare(kind)
    if get_origin(annotation) is tuple:
        return list[str]
    given = [each for each in get_args(annotation) if each is not NoneType]
    return _bare(given[0]) if NoneType in get_args(annotation) else annotation
