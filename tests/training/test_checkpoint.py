"""Checkpoints of a run: the newest whole one wins, whatever a kill or a disk has done to the others."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.training.checkpoint import Checkpoints

TENSORS = {"a/weight": torch.arange(6.0).view(2, 3), "b": torch.tensor(7.0)}
FILE = "weights.safetensors"


def saved(folder: Path, *steps: int, keep: int = 2) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        checkpoints.save(step, {"weights": {name: t + step for name, t in TENSORS.items()}})
    return checkpoints


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_come_back_exactly(tmp_path: Path) -> None:
    """Guards what is kept, what is dropped, and the order of steps."""
    checkpoints = saved(tmp_path, 2, 9, 10, keep=2)
    assert names(tmp_path) == ["step-000009", "step-000010"]
    assert checkpoints.newest() == 10 and str(checkpoints).endswith("step-000010")
    for name, tensor in checkpoints.load(9, "weights").items():
        assert torch.equal(tensor, TENSORS[name] + 9)
    assert saved(tmp_path / "none").newest() == 0
    assert str(saved(tmp_path / "none")) == "there is no checkpoint yet"


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: flip(folder / FILE), "is not what was written"),
        (
            lambda folder: (folder / FILE).write_bytes((folder / FILE).read_bytes()[:-3]),
            "is not what was written",
        ),
        (lambda folder: (folder / FILE).unlink(), "cannot be read"),
        (lambda folder: (folder / "state.json").unlink(), "cannot be read"),
        (lambda folder: (folder / "state.json").write_text("[]"), "cannot be read"),
        (lambda folder: (folder / "state.json").write_text("{"), "cannot be read"),
        (lambda folder: folder.rename(folder.with_name(folder.name + ".part")), "was not finished"),
    ],
)
def test_a_damaged_one_is_passed_over_and_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], words: str
) -> None:
    """Guards resuming after a kill in the middle of writing, and after a bad disk; and that litter goes."""
    saved(tmp_path, 1, 2)
    spoil(tmp_path / "step-000002")
    checkpoints = Checkpoints(tmp_path, 2)
    assert checkpoints.newest() == 1 and str(checkpoints).endswith("step-000001")
    told = capsys.readouterr().err
    assert words in told and "step-000002" in told and told.count("\n") == 1
    checkpoints.save(2, {"weights": TENSORS})
    assert names(tmp_path) == ["step-000001", "step-000002"] and Checkpoints(tmp_path, 2).newest() == 2


def test_a_damaged_one_does_not_count_among_the_kept(tmp_path: Path) -> None:
    """Guards the last whole checkpoint against being dropped in favour of a damaged, later one."""
    saved(tmp_path, 1, 5)
    flip(tmp_path / "step-000005" / FILE)
    checkpoints = Checkpoints(tmp_path, 2)
    assert checkpoints.newest() == 1
    checkpoints.save(2, {"weights": TENSORS})
    assert names(tmp_path) == ["step-000001", "step-000002"]


JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


@given(data=st.binary(max_size=60) | st.builds(lambda x: json.dumps({"sha256": x}).encode(), JSON))
def test_any_state_file_is_read_or_refused(one: Path, data: bytes) -> None:
    """Guards the parser of state.json against whatever a disk may hold."""
    (one / "step-000001" / "state.json").write_bytes(data)
    assert Checkpoints(one, 2).newest() in (0, 1)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one checkpoint, to be spoilt."""
    folder = tmp_path_factory.mktemp("one")
    saved(folder, 1)
    return folder
