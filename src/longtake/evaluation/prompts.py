"""Prompts from a text file, one a line."""

import os
from collections import Counter
from pathlib import Path

from longtake.errors import LongTakeError
from longtake.prompts import flaw


def read_prompts(path: str | os.PathLike[str], unique: bool = True) -> tuple[list[str], int]:
    """The prompts of a UTF-8 text file, one a line, and how many lines were passed over: blank ones, and comments,
    which start with #.

    LongTakeError for a file that cannot be read, holds no prompt, something that can be none
    or, if they are to be `unique`, one twice."""
    lines = [line.strip() for line in read_text(path).removesuffix("\n").split("\n")]
    prompts = [line for line in lines if line and not line.startswith("#")]
    if not prompts:
        raise LongTakeError(f"{path} holds no prompt: write one a line")
    for number, line in enumerate(lines, 1):
        if not line.startswith("#") and (words := flaw(line)):
            raise LongTakeError(f"line {number} of {path} {words}")
    for prompt, count in Counter(prompts).items():
        if unique and count > 1:
            first, second = [number for number, line in enumerate(lines, 1) if line == prompt][:2]
            raise LongTakeError(f"line {second} of {path} repeats line {first}: keep one of them")
    return prompts, len(lines) - len(prompts)


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file in UTF-8. LongTakeError for one that cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LongTakeError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LongTakeError(f"{path} is not a text file in UTF-8") from error
