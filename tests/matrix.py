"""Runs the tests as several processors would (`make portable`), and tells how each setting ends."""

import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import torch

ROOT = Path(__file__).parents[1]
# Tests that compare what a processor computes. The others hold no numbers but whole ones.
COMPUTING = (
    *("models", "training", "worlds", "evaluation/measures", "evaluation/vbench"),
    *(
        "test_drafts.py",
        "test_embedded_film.py",
        "test_ends.py",
        "test_film_seams.py",
        "test_guidance.py",
        "test_memory.py",
        "test_methods.py",
        "test_noise.py",
        "test_pipeline.py",
        "test_portable.py",
    ),
    *(
        "test_progressive.py",
        "test_progressive_reference.py",
        "test_preview.py",
        "test_retakes.py",
        "test_schedules.py",
        "test_solvers.py",
        "test_start.py",
        "test_takes.py",
    ),
    *("evaluation/test_compare.py", "evaluation/test_drift.py"),
    *("evaluation/test_evaluate.py", "evaluation/test_features.py", "benchmarks/test_synthetic.py"),
)
LEVELS = ("DEFAULT", "AVX2", "AVX512")  # of vector instructions, as torch names them


class Setting(NamedTuple):
    """Environment variables, the level of instructions that they need, and whether all tests run."""

    variables: dict[str, str]
    level: str = "DEFAULT"
    everything: bool = False


SETTINGS = (
    Setting({"LONGTAKE_SHUFFLE": "1"}, everything=True),
    *(Setting({"ATEN_CPU_CAPABILITY": level.lower()}, level) for level in LEVELS),
    Setting({"ONEDNN_MAX_CPU_ISA": "SSE41"}),
    Setting({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "AVX2"),
    Setting({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, "AVX512"),
    Setting({"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}),
    Setting({"MKL_ENABLE_INSTRUCTIONS": "AVX512"}, "AVX512"),
    Setting({"LONGTAKE_THREADS": "2", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}),
    Setting({"LONGTAKE_MAKER": "1", "LONGTAKE_SHUFFLE": "2"}),
    Setting({"LONGTAKE_MAKER": "2", "LONGTAKE_SHUFFLE": "3"}),
)


def main() -> int:
    """Run all settings, or those whose numbers are given, a few at a time; 1 if one of them fails."""
    wanted = {int(number) for number in sys.argv[1:]} or set(range(len(SETTINGS)))
    best = LEVELS.index(torch.backends.cpu.get_cpu_capability())
    print(f"{processor()}, {platform.system()}, torch {torch.__version__}, {datetime.now(UTC):%Y-%m-%d}")
    possible = {number for number in wanted if LEVELS.index(SETTINGS[number].level) <= best}
    for number in sorted(wanted - possible):
        print(f"{number:2} {name(number)}: skipped, this processor has no {SETTINGS[number].level}")
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        failures = sum(pool.map(tried, sorted(possible)))
    print("all green" if not failures else f"{failures} settings fail")
    return min(failures, 1)


def name(number: int) -> str:
    return " ".join(f"{key}={value}" for key, value in SETTINGS[number].variables.items())


def tried(number: int) -> bool:
    """Whether tests fail under a setting, which is told, with the ends of what they wrote."""
    started = time.monotonic()
    done = run(SETTINGS[number])
    *told, last = done.stdout.splitlines()
    failed = done.returncode != 0
    minutes = (time.monotonic() - started) / 60
    shown = told[-30:] if failed else []
    print(*shown, f"{number:2} {name(number)}: {last}, {minutes:.1f} min", sep="\n", flush=True)
    return failed


def run(setting: Setting) -> subprocess.CompletedProcess[str]:
    """The tests under one setting, with one thread unless it says otherwise."""
    paths = [ROOT / "tests"] if setting.everything else [ROOT / "tests" / path for path in COMPUTING]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **setting.variables}
    pytest = [sys.executable, "-m", "pytest", "-q", "--tb=line", "--durations=3"]
    command = [*pytest, *map(str, paths)]
    return subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)


def processor() -> str:
    """The processor's name, and which units beyond vectors it has."""
    names = [line.split(":")[1].strip() for line in information() if line.startswith("model name")]
    flags = {word for line in information() if line.startswith("flags") for word in line.split()}
    units = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if flag in flags]
    return f"{(names or [platform.processor()])[0]} ({', '.join(units) or platform.machine()})"


def information() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
