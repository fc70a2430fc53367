"""What may be a prompt: text, whatever it came through. Imports the standard library and pydantic alone."""

import os
import unicodedata
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

SLUG_LENGTH, SLUG_BYTES = 60, 120


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


def slug(prompt: str) -> str:
    """A name of the words of a prompt, of any script, with room behind them: a file name has 255 bytes at most."""
    text = unicodedata.normalize("NFC", prompt.lower())
    letters = (c if c == "_" or unicodedata.category(c)[0] in "LNM" else " " for c in text)
    words = "-".join(word for word in "".join(letters).split() if unicodedata.category(word[0])[0] != "M")
    name = words[:SLUG_LENGTH].encode()[:SLUG_BYTES].decode(errors="ignore").rstrip("-") or "film"
    return os.fsdecode(name.encode())  # for locales that have no such letters
