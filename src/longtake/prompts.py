"""What may be a prompt: text, whatever it came through. Imports the standard library and pydantic alone."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError


def decoded(text: str) -> str:
    """A text whose bytes the terminal's locale could not read, read as UTF-8 if it is that; any other as it is."""
    try:
        return text.encode(errors="surrogateescape").decode()
    except UnicodeError:
        return text


def flaw(text: str) -> str | None:
    """What a prompt must be that this one is not, in words. White space of any kind, line breaks too, is no flaw."""
    for place, character in enumerate(text, 1):
        match unicodedata.category(character):
            case "Cs" if "\udc80" <= character <= "\udcff":
                return f"must be text in UTF-8 (character {place} is the byte {ord(character) - 0xDC00:02X})"
            case "Cs":
                return f"must be text in UTF-8 (character {place} is half of one, U+{ord(character):04X})"
            case "Cc" if not character.isspace():
                return (
                    f"must be text without control characters (character {place} is U+{ord(character):04X})"
                )
    return None


def _checked(text: str) -> str:
    text = decoded(text)
    if words := flaw(text):
        raise PydanticCustomError("prompt", words)
    return text


PromptText = Annotated[str, AfterValidator(_checked)]
