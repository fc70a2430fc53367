"""Files of options in YAML or JSON: scripts of films, and what commands take with --config. Imports no torch."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from longtake.errors import OptionError
from longtake.files import printable
from longtake.values import nearest


def read_options(path: Path, what: str, options_in: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """The options that a file holds: JSON by its suffix, else YAML.

    what: the file in a word, such as script. options_in: of what was read makes the options; its OptionErrors are told
    with the file's name. OptionError for what is neither YAML nor JSON, and for a name that is given twice.
    """
    name = printable(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise OptionError(f"cannot read the {what} {name}: {error.strerror}") from error
    except ValueError as error:
        raise OptionError(f"{name} is no {_kind(path)}") from error
    told = (_of_json if path.suffix == ".json" else _of_yaml)(text, name)
    try:
        return options_in(told)
    except OptionError as error:
        raise OptionError(f"{name}: {error}") from error


def named(told: Any, known: Iterable[str], such_as: str) -> dict[str, Any]:
    """What is told, if it maps names that are known to values. OptionError, with an example, for anything else, and
    with the nearest name for one that is not known."""
    if not isinstance(told, Mapping):
        raise OptionError(f"it must map names to values, such as {such_as}")
    names = list(known)
    for option in told:
        if option not in names:
            raise OptionError(f"there is no option {option}{nearest(str(option), names)}")
    return dict(told)


def _kind(path: Path) -> str:
    return "JSON" if path.suffix == ".json" else "YAML"


def _of_json(text: str, name: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, name))
    except OptionError:
        raise
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise OptionError(f"{name}{where} is no JSON") from error


def _of_yaml(text: str, name: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """One that refuses a name that is given twice, of which it would take the last."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            _once(((key.value, None) for key, _ in node.value if isinstance(key, yaml.ScalarNode)), name)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except OptionError:
        raise
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise OptionError(f"{name}{line} is no YAML: {error.problem}") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise OptionError(f"{name} is no YAML") from error


def _once(pairs: Iterable[tuple[str, Any]], name: str) -> dict[str, Any]:
    """The pairs as a mapping. OptionError for a name that is there twice."""
    told: dict[str, Any] = {}
    for key, value in pairs:
        if key in told:
            raise OptionError(f"{name}: {key} is given twice: give it once")
        told[key] = value
    return told
