"""Named values with bounds, as users give them: options, cues, lines of a script. Imports no torch."""

import difflib
import reprlib
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from longtake.errors import OptionError

BRIEFLY = reprlib.Repr()
BRIEFLY.maxlevel = 2  # of what is nested, which a short script may repeat without end


def _number_of(rate: Any) -> Any:
    """A rate that is written as a fraction, as a number; anything else as it is."""
    if isinstance(rate, str) and "/" in rate:
        with suppress(ValueError, ArithmeticError):
            return float(Fraction(rate))
    return rate


Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, BeforeValidator(_number_of), Field(gt=0, le=240, allow_inf_nan=False)]


class Options(BaseModel):
    """Named values with bounds. OptionError, in one line, for a value out of its bounds or an unknown option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    if not TYPE_CHECKING:  # checkers know the options by name

        def __init__(self, **options: Any) -> None:
            try:
                super().__init__(**options)
            except ValidationError as error:
                raise OptionError(_one_line(error, type(self).model_fields)) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say behind a name that is not known: the known one that is most like it, if any is."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {found[0]}?" if found else ""


def _one_line(error: ValidationError, known: Iterable[str]) -> str:
    first = error.errors()[0]
    name = first["loc"][0] if first["loc"] else "options"
    if first["type"] == "extra_forbidden":
        return f"there is no option {name}{nearest(str(name), known)}"
    if first["type"] == "missing":
        return f"{name} is missing"
    requirement = first["msg"].removeprefix("Input ")
    return f"{name} {requirement}, not {BRIEFLY.repr(first['input'])}"
