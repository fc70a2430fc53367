"""The released form of the benchmark, prompt||video, read back and refused."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.errors import OptionError
from longtake.evaluation.benchmark import Item, parse_benchmark

marks = (
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1)
    .map(str.strip)
    .filter(bool)
)
prompts = marks.filter(lambda prompt: not prompt.endswith("|"))
names = st.text("abcdef 0123456789_-.é", min_size=1).map(str.strip)
paths = st.lists(names.filter(lambda name: name.strip("." + " ")), min_size=1, max_size=3).map("/".join)


@given(
    st.lists(st.tuples(prompts, paths), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n", "\n\n \n"])
)
def test_what_is_written_is_read(pairs: list[tuple[str, str]], end: str) -> None:
    """Guards prompts with any marks in them, || among them, line ends of every system, and blank lines."""
    pairs = list({Item(prompt, PurePosixPath(video)): (prompt, video) for prompt, video in pairs}.values())
    text = "\ufeff" + end.join(f"{prompt}||{video}" for prompt, video in pairs)
    assert parse_benchmark(text) == [Item(prompt, PurePosixPath(video)) for prompt, video in pairs]


@given(st.text())
def test_any_text_is_items_or_one_line(text: str) -> None:
    """Guards against tracebacks, and against paths that lead out of the folder."""
    try:
        items = parse_benchmark(text)
    except OptionError as error:
        assert "\n" not in str(error)
        return
    assert items and len(set(items)) == len(items)
    for item in items:
        assert item.prompt and not item.video.is_absolute() and ".." not in item.video.parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no line"),
        ("a car||a.mp4\na bus", "line 2 is not PROMPT||VIDEO: 'a bus'"),
        ("||a.mp4", "line 1 is not"),
        ("a car||", "line 1 is not"),
        ("a car||../a.mp4", "inside its folder, not '../a.mp4'"),
        ("a car||/a.mp4", "inside its folder"),
        ("a car||C:\\a.mp4", "inside its folder"),
        ("a car||a.mp4\n\na car || a.mp4", "line 3 repeats line 1"),
    ],
)
def test_other_lines_are_refused(text: str, message: str) -> None:
    """Each kind of bad line is named."""
    with pytest.raises(OptionError) as error:
        parse_benchmark(text)
    assert message in str(error.value)
