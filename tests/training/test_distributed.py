"""Two processes on one processor: DDP and FSDP2 follow the curve of one, and one goes on from their checkpoints."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("tiny_run.py")
# 5 windows in 4 pieces, and 3 in 2: neither comes out even.
DDP = {"steps": 3, "batch_size": 5, "accumulation": 2, "lr": 1e-2, "warmup": 1, "save_every": 2}
FSDP = {**DDP, "batch_size": 3, "accumulation": 1, "shard": True}
DISTIL = {**FSDP, "distil": True, "own_ramp": 0.0, "own_film": 0.7, "level": 0}
RUNS = {
    "ddp": DDP,
    "fsdp": FSDP,
    "lora": {**FSDP, "lora_rank": 2, "own_context": 0.5},
    "distil": DISTIL,
    "distil-lora": {**DISTIL, "shard": False, "lora_rank": 2},
}

spec = importlib.util.spec_from_file_location("tiny_run", SCRIPT)
assert spec and spec.loader
tiny_run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny_run)


def curve(run: Path, key: str) -> list[float]:
    return [json.loads(line)[key] for line in (run / "losses.jsonl").read_text().splitlines()]


def test_two_processes_follow_one(
    tubelet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the weights of unequal pieces, sharding, and what is gathered into a checkpoint: to 1e-4 of the loss."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    runs = json.dumps({str(tmp_path / "two" / name): options for name, options in RUNS.items()})
    done = subprocess.run([*torchrun, str(SCRIPT), str(tubelet_folder), runs], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, options in RUNS.items():
        shutil.copytree(tmp_path / "two" / name, tmp_path / "again" / name)
        shutil.rmtree(tmp_path / "again" / name / "checkpoints" / "step-000003")
        for place, steps in (("one", 3), ("again", 1)):
            alone = {**options, "accumulation": 1, "shard": False}
            assert (
                len(list(tiny_run.trainer(tubelet_folder, tmp_path / place / name, **alone).steps())) == steps
            )
        for place in ("two", "again"):
            for key, tolerance in (("loss", 1e-4), ("grad_norm", 1e-3)):
                assert curve(tmp_path / place / name, key) == pytest.approx(
                    curve(tmp_path / "one" / name, key), rel=tolerance
                )
