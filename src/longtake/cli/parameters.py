"""Options of a command that are fields of a model, where they are described, bounded and typed."""

import inspect
from collections.abc import Callable, Collection, Mapping
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin

import typer
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from longtake.values import Options
from longtake.worlds import WorldName

# What the commands that film call a field, where that is not its own name.
SHORT = {
    "num_frames": ("--frames",),
    "negative_prompt": ("--negative",),
    "num_inference_steps": ("--steps",),
    "context_size": ("--context",),
    "guidance_scale": ("--guidance",),
}
METAVARS = {
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
    return {
        name: value
        for name, value in keywords.items()
        if value is not None and value is not False and value != []
    }


def _parameter(name: str, field: FieldInfo, names: tuple[str, ...]) -> inspect.Parameter:
    kind, is_flag = CHOICES.get(name, _plain(field)), field.annotation is bool
    shown = "" if field.default in (None, "", ()) or is_flag else str(field.default)
    option = typer.Option(
        *names, help=field.description, metavar=METAVARS.get(name), show_default=shown or False
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if is_flag else None,
        annotation=Annotated[bool if is_flag else kind | None, option],
    )


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
