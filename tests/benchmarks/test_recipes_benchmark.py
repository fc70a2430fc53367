"""The recipes' memory and work: what their comments say is what the benchmark counts."""

import importlib.util
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("recipes", ROOT / "benchmarks" / "recipes.py")
assert spec and spec.loader
recipes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipes)


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_comments_say_what_is_counted(recipe: Path) -> None:
    """Guards figures that no command would give: gigabytes of one window and of four, FLOP and hours."""
    text = " ".join(line.strip("# ") for line in recipe.read_text().splitlines())
    said = re.search(
        r"one window at a time, ([\d.]+) GB.* four at a time \(accumulation: 2\), ([\d.]+) GB.*"
        r"Work: (\S+) FLOP a step, (\d+) hours of 100 TFLOP/s",
        text,
    )
    assert said
    options, cost = recipes.counted(recipe, 1)
    kept, rest = cost.memory["activations"], sum(cost.memory.values()) - cost.memory["activations"]
    hours = cost.flops_per_step * options.steps / recipes.RATE / 3600
    counted = (rest + kept) / 1e9, (rest + 4 * kept) / 1e9, cost.flops_per_step
    *told, told_hours = map(float, said.groups())
    assert told == pytest.approx(counted, rel=0.02) and told_hours == pytest.approx(hours, abs=0.5)
    assert counted[0] < 22 and counted[1] < 74
