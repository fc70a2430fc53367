"""Files of prompts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.errors import LongTakeError
from longtake.evaluation.prompts import read_prompts

LINES = st.lists(st.text(st.characters(exclude_categories=["Cc"], codec="utf-8")))


def test_one_prompt_a_line(tmp_path: Path) -> None:
    """Guards prompts as they are written: trimmed, in order, without a BOM, comments counted as passed over."""
    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeff  a red car \r\n\r\n# a comment\r\nein Zug, à l'aube\n".encode())
    assert read_prompts(file) == (["a red car", "ein Zug, à l'aube"], 2)


@given(LINES)
def test_every_line_is_a_prompt_or_passed_over(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    """Guards that no line is lost: all are prompts, counted, or the reason for a one-line error."""
    file = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    file.write_bytes("\n".join(lines).encode())
    wanted = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if lines and lines[0].startswith("\ufeff"):
        return
    if not wanted or len(set(wanted)) < len(wanted):
        with pytest.raises(LongTakeError) as error:
            read_prompts(file)
        assert "\n" not in str(error.value)
        return
    prompts, passed = read_prompts(file)
    assert prompts == wanted
    assert passed == len("\n".join(lines).removesuffix("\n").split("\n")) - len(wanted)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read"),
        (b"\xff\xfe", "not a text file in UTF-8"),
        (b"\n# nothing\n", "holds no prompt"),
        (b"a\nb\n a\n", "line 3 of .* repeats line 1"),
    ],
)
def test_useless_files_are_told_of(tmp_path: Path, content: bytes | None, says: str) -> None:
    """Guards one-line errors that say what is wrong."""
    file = tmp_path / "prompts.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LongTakeError, match=says):
        read_prompts(file)
