"""The benchmark of real sizes: it runs as a whole on tiny networks, and what it measures is what would be filmed."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from longtake.models.adapter import Adapter
from longtake.models.load import load_model
from longtake.options import FilmOptions

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "real_sizes.py"
TEXT_TOKENS = 512
OPTIONS = ("--compile", "--offload", "group", "sequential")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    found = importlib.util.spec_from_file_location("real_sizes", SCRIPT)
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules[module.__name__] = module  # where dataclasses look for their annotations
    found.loader.exec_module(module)
    return module


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, output: Path, *arguments: str) -> Any:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--output", str(output), *arguments])
    script.main()
    return json.loads(output.read_text())


def test_it_runs(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards the one run that there may be on a card: every stage of every model, and what is skipped told in words."""
    result = run(script, monkeypatch, tmp_path / "sizes.json", "--tiny", "--seconds", "1", *OPTIONS)
    assert result["matrix_tflops"] > 0
    for row in result["rows"]:
        assert not any(key.startswith("failed") for key in row), row
        assert min(row["passes/s"], row["frames/s"], row["frames_filmed"], row["share"]) > 0
        assert "compiled_share" in row or "not compiled" in row["skipped"]
        assert min(row["group_pass_seconds"], row["sequential_pass_seconds"]) > 0
    assert capsys.readouterr().out.count("\n|") == 2 + len(script.FAMILIES)


def test_what_fails_is_told(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the other models of a card whose memory is too small for one."""

    def fail(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nMore lines.")

    monkeypatch.setattr(script, "passes", fail)
    rows = run(
        script, monkeypatch, tmp_path / "sizes.json", "--tiny", "--seconds", "0", "--families", "wan-2.1"
    )
    assert "CUDA out of memory. |\n" in capsys.readouterr().out
    assert rows["rows"][0]["frames_filmed"] > 0


def test_full_sizes(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards the configurations, by the numbers that the published weights hold, and the operations, by a Wan's sum."""
    rows = run(script, monkeypatch, tmp_path / "sizes.json", "--dry-run")["rows"]
    sizes = [(row["network_parameters"], row["autoencoder_parameters"]) for row in rows]
    told_fps = 2 * 1536 + 1536 * 1537 + 1536 * 6 * 1537
    wan, vae = 1_418_996_800, 126_892_531
    assert sizes[:3] == [(wan, vae), (4_999_787_712, 704_688_668), (wan + told_fps, vae)]
    assert sizes[3] == (1_207_643_936, 393_341_007)
    for row, tokens, D, ff in (
        (rows[0], 21 * 30 * 52, 1536, 8960),
        (rows[1], 21 * 22 * 40, 3072, 14336),
        (rows[2], 25 * 34 * 60, 1536, 8960),
    ):
        products = 2 * tokens * (6 * D * D + 2 * D * ff) + 2 * TEXT_TOKENS * 2 * D * D
        attention = 4 * tokens * (tokens + TEXT_TOKENS) * D
        assert row["tflop"] == pytest.approx(2 * 30 * (products + attention) / 1e12, rel=0.01)


def test_precisions_are_those_of_a_loaded_model(script: ModuleType, wan_folder: Path) -> None:
    """Guards against times and memory of weights in another precision."""

    def precisions(module: nn.Module) -> dict[str, torch.dtype]:
        return {name: tensor.dtype for name, tensor in [*module.named_parameters(), *module.named_buffers()]}

    loaded = load_model(wan_folder, dtype="bfloat16")
    assert isinstance(loaded, Adapter)
    made = script.without_numbers(script.tiny(script.FAMILIES["wan-2.1"]), torch.bfloat16)
    script.fill(made, torch.device("cpu"))
    assert precisions(made.transformer) == precisions(loaded.transformer)
    assert precisions(made.vae) == precisions(loaded.vae)
    assert made.dtype == loaded.dtype and made.device == loaded.device


@pytest.mark.parametrize(("steps", "per_chunk"), [(34, 2), (30, 8), (5, 5), (7, 1), (9, 4)])
def test_windows(script: ModuleType, steps: int, per_chunk: int) -> None:
    """What a chunk more costs, by the plan, is what the passes between two chunks see."""
    spec = script.FAMILIES["skyreels"].spec
    settings = replace(spec.defaults, num_inference_steps=steps, steps_per_chunk=per_chunk)
    spec = replace(spec, defaults=settings)
    long, longer = (
        FilmOptions(prompt="noise", num_frames=1 + 20 * chunks).resolved(spec) for chunks in (50, 51)
    )
    often = script.windows(long)
    C, X = settings.chunk_size, settings.context_size
    assert often.total() == longer.cost.passes - long.cost.passes
    more = longer.cost.latent_evaluations - long.cost.latent_evaluations
    assert sum(times * (chunks * C + X) for chunks, times in often.items()) == more
    assert max(often) * C + X == long.cost.sampling.window


@torch.inference_mode()
@pytest.mark.parametrize("key", ["wan-2.1", "wan-2.2", "skyreels", "open-sora"])
def test_random_weights_keep_signals_alive(script: ModuleType, key: str) -> None:
    """Guards films that end in numbers that are not finite, or in none but zeros: in bfloat16, as on a card."""
    family = script.tiny(script.FAMILIES[key])
    model = script.without_numbers(family, torch.bfloat16)
    script.fill(model, torch.device("cpu"))
    film = FilmOptions(prompt="noise", seconds=60).resolved(family.spec)
    velocity = script.one_pass(script.guided(model, family, film), film, 2, model.device)()
    frames = model.decoder().push(torch.randn(1, 4, 5, *film.latent_shape[1:]))
    assert velocity.isfinite().all() and frames.isfinite().all()
    assert velocity.std() > 0.01 and frames.std() > 0.01
