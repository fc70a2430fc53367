"""Prompts from a text file, one a line."""

import os
from pathlib import Path

from longtake.errors import LongTakeError


def read_prompts(path: str | os.PathLike[str]) -> tuple[list[str], int]:
    """The prompts of a UTF-8 text file, one a line, and how many lines were passed over: blank ones, and comments,
    which start with #.

    LongTakeError for a file that cannot be read, holds no prompt, or the same prompt twice."""
    lines = read_text(path).removesuffix("\n").split("\n")
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        prompt = line.strip()
        if not prompt or prompt.startswith("#"):
            continue
        if prompt in seen:
            raise LongTakeError(f"line {number} of {path} repeats line {seen[prompt]}: keep one of them")
        seen[prompt] = number
    if not seen:
        raise LongTakeError(f"{path} holds no prompt: write one a line")
    return list(seen), len(lines) - len(seen)


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file in UTF-8. LongTakeError for one that cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LongTakeError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LongTakeError(f"{path} is not a text file in UTF-8") from error
