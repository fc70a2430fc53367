"""Folders that a command owns."""

from pathlib import Path

import pytest

from longtake import runs
from longtake.errors import OutputError
from longtake.files import to_disk
from longtake.runs import CONFIG, claim, new_folder


@pytest.mark.parametrize("text", ["[]", "{", "3", "", "\xff", "[" * 100_000])
def test_a_damaged_config_is_one_line(tmp_path: Path, text: str) -> None:
    """Guards against a traceback for a config.json that holds no options, and against writing over it."""
    (tmp_path / CONFIG).write_text(text, encoding="latin-1")
    with pytest.raises(OutputError, match=r"config\.json cannot be read .*: give another folder") as caught:
        claim(tmp_path, {"seed": 0})
    assert "\n" not in str(caught.value)
    assert (tmp_path / CONFIG).read_text(encoding="latin-1") == text


def test_a_new_folder_is_on_disk_before_it_is_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a power cut that leaves a renamed folder whose files' names never reached the disk."""
    flushed: list[str] = []

    def flush(path: Path) -> None:
        flushed.append(path.relative_to(tmp_path).as_posix())
        to_disk(path)

    monkeypatch.setattr(runs, "to_disk", flush)
    with new_folder(tmp_path / "a") as part:
        (part / "inner").mkdir()
        (part / "inner" / "file").write_text("x")
    assert sorted(flushed[:-2]) == ["a.part/inner", "a.part/inner/file"] and flushed[-2:] == ["a.part", "."]
