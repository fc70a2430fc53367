"""Dry runs of families whose text has other forms: they end in a count, or in a line that says why there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from joint_folders import cogvideox_folder, hunyuan15_folder, hunyuan_folder, kandinsky_folder
from longtake.errors import OptionError
from longtake.models.places import open_model
from longtake.training.estimate import estimate
from longtake.training.options import TrainOptions

pytestmark = pytest.mark.slow

OPTIONS = TrainOptions(lora_rank=2, bf16=True, gradient_checkpointing=True, batch_size=1)


@pytest.mark.parametrize("saved", [cogvideox_folder, hunyuan_folder])
def test_it_is_counted(saved: Callable[[Path], Path], tmp_path: Path) -> None:
    """Guards vectors of prompts, and networks that convert what they are given."""
    model = open_model(saved(tmp_path / "model"))
    cost = estimate(model, OPTIONS, OPTIONS.sampling(model.spec))
    assert cost.memory["activations"] > 0 and cost.flops_per_step > 0


@pytest.mark.parametrize("saved", [hunyuan15_folder, kandinsky_folder])
def test_what_cannot_be_counted_is_said(saved: Callable[[Path], Path], tmp_path: Path) -> None:
    """Guards networks that look at numbers on the way."""
    model = open_model(saved(tmp_path / "model"))
    with pytest.raises(OptionError, match="asks for numbers on the way"):
        estimate(model, OPTIONS, OPTIONS.sampling(model.spec))
