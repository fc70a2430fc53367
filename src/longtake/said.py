"""What a film says of itself, read with types: what films of others, and files made to confuse, say is refused here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from longtake.errors import OptionError
from longtake.files import printable
from longtake.values import BRIEFLY

DRAFT = "draft"


class NamedFile(BaseModel):
    """A file that a film grew out of."""

    name: str
    sha256: str


class NamedLora(NamedFile):
    """A LoRA that it was filmed with."""

    weight: float


NONE = NamedFile(name="", sha256="")


class Said(BaseModel):
    """The keys of a film's metadata that are read by name. A key may lack, and none is null.

    Those of options are bounded by FilmOptions; provenance reads `made`, and takes none that is wrong.
    """

    prompt: str = ""
    model: str = ""
    seed: int = 0
    strength: float = 0
    retake: dict[str, Any] = {}
    lora: NamedFile = NONE
    loras: list[NamedLora] = []
    start: NamedFile = NONE
    end: NamedFile = NONE
    draft: NamedFile = NONE
    parent: NamedFile = NONE
    continues: NamedFile = NONE


def said(metadata: Mapping[str, Any], film: str | os.PathLike[str]) -> dict[str, Any]:
    """The same metadata, whose values are of the kinds that a film of longtake says. OptionError, which names the file,
    for others."""
    try:
        Said.model_validate(metadata)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        why = first["msg"].removeprefix("Input ").partition(" or instance of")[0].lower()
        raise OptionError(
            f"{printable(os.fspath(film))} says of itself what no film of longtake does: {key} {why},"
            f" not {BRIEFLY.repr(first['input'])}"
        ) from None
    return dict(metadata)
