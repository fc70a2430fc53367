"""What a bug report must say of a machine: what is installed, on what, and whether it films.

Each check stands by itself. What may be broken is imported inside it, by name, and what is broken becomes a line of the
record, never an exception. The record holds no name of a user or a machine, and no value of a secret.
"""

from __future__ import annotations

import importlib.metadata
import locale
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from longtake import __version__
from longtake.machine import memory, processor, without_names

Outcome = Literal["ok", "warning", "failed"]

ENVIRONMENT = re.compile(
    r"(HF|TRANSFORMERS|DIFFUSERS|PYTORCH|TORCH|OMP|MKL|KMP|OPENBLAS|ONEDNN|ATEN|CUDA|HIP|ACCELERATE|LC)_\w+"
    r"|LANG|TMPDIR|XDG_DATA_HOME|XDG_CACHE_HOME|PYTHONIOENCODING|PYTHONUTF8|LD_PRELOAD|WORLD_SIZE|NO_COLOR|TERM"
    r"|NVIDIA_VISIBLE_DEVICES"
)
SECRET = re.compile(r"TOKEN|SECRET|PASS|KEY|AUTH|CREDENTIAL|ENDPOINT|PROXY")
LITTLE = 10**9  # bytes of disk or memory with which films may fail
LEAST_CONTRAST = 5.0  # standard deviation of a picture's levels; those of real ones are ten times as large
PROMPT = "a red car driving past snowy mountains at dawn"
# What is broken, by whether films need it.
BROKEN: dict[bool, Outcome] = {False: "warning", True: "failed"}
AGAIN = "mend what failed above, or install longtake anew, in an environment of its own"
MODULES = {"pillow": "PIL", "pyyaml": "yaml"}  # packages that are imported by another name
NOT_FOR_FILMS = {"accelerate", "peft"}  # packages that training and LoRAs need


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: `found` is for people, `advice` what they can do, `facts` are JSON values."""

    name: str
    outcome: Outcome
    found: str
    advice: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def examine() -> Iterator[Check]:
    """Every check, as soon as it is done. None raises, and films can be made if none failed."""
    for name, check in CHECKS.items():
        try:
            yield from map(_private, check())
        except Exception as error:  # whatever is broken on a machine that we do not know
            yield _private(Check(name, "failed", _told(error), AGAIN))


def record(checks: list[Check]) -> dict[str, Any]:
    """All checks as JSON values, and whether films can be made."""
    return {
        "longtake": __version__,
        "can_film": all(check.outcome != "failed" for check in checks),
        "checks": [asdict(check) for check in checks],
    }


def _longtake() -> Iterator[Check]:
    where = str(Path(__file__).parent)
    yield Check(
        "longtake", "ok", f"{__version__} in {where}", facts={"version": __version__, "folder": where}
    )


def _system() -> Iterator[Check]:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Check(
        "system",
        "ok",
        f"{python}, {platform.platform()}",
        facts={"python": python, "os": platform.platform()},
    )
    name, units = processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check(
        "processor",
        "ok",
        f"{name}, {cores} cores, {' '.join(units) or 'no vector units known'}",
        facts={"name": name, "cores": cores, "vector_units": units},
    )
    total, free = memory()
    little = free is not None and free < LITTLE
    yield Check(
        "memory",
        "warning" if little else "ok",
        f"{_gigabytes(total)}, {_gigabytes(free)} free",
        "close other programs: filming takes some 0.7 GB, more with other models" if little else "",
        {"total_bytes": total, "free_bytes": free},
    )


def _packages() -> Iterator[Check]:
    """The packages that longtake needs, each imported, and what its extras lack."""
    from packaging.requirements import Requirement

    try:
        needed = [Requirement(text) for text in importlib.metadata.requires("longtake") or []]
    except importlib.metadata.PackageNotFoundError:
        advice = "pip install the folder that it is in"
        yield Check("packages", "warning", "longtake is on the path, but not installed", advice)
        return
    versions = {need.name: _version(need.name) for need in needed}
    own = [need for need in needed if need.marker is None]
    for need in own:
        module = MODULES.get(need.name, need.name)
        try:
            import_module(module)
        except Exception as error:
            outcome = BROKEN[need.name not in NOT_FOR_FILMS]
            other = getattr(error, "name", None) or module
            cure = f"pip install '{need}'" if other == module else f"mend {other}, which it needs"
            yield Check("packages", outcome, f"{need.name}: {_told(error)}", cure)
            continue
        version = versions[need.name]
        if version and not need.specifier.contains(version, prereleases=True):
            found = f"{need.name} is {version}, which longtake was not made for"
            yield Check("packages", "warning", found, f"pip install '{need}'")
    found = ", ".join(f"{need.name} {versions[need.name] or 'missing'}" for need in own)
    yield Check("packages", "ok", found, facts=versions)
    for extra in ("train", "evaluate", "world"):
        wanted = [need for need in needed if need.marker and need.marker.evaluate({"extra": extra})]
        wanted = [need for need in wanted if need not in own]
        missing = [need.name for need in wanted if versions[need.name] is None]
        yield Check(
            f"extra {extra}",
            "warning" if missing else "ok",
            f"lacks {', '.join(missing)}" if missing else "complete",
            f"to use it: pip install 'longtake[{extra}]'" if missing else "",
            {"missing": missing},
        )


def _version(package: str) -> str | None:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def _devices() -> Iterator[Check]:
    torch = import_module("torch")
    cpu = {"capability": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
    yield Check(
        "torch",
        "ok",
        f"{torch.__version__}, {cpu['capability']}, {cpu['threads']} threads",
        facts={"version": torch.__version__, "cuda": torch.version.cuda, **cpu},
    )
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        facts = {
            "name": about.name,
            "memory_bytes": about.total_memory,
            "capability": f"{about.major}.{about.minor}",
            "bfloat16": torch.cuda.is_bf16_supported(),
        }
        half = "bfloat16" if facts["bfloat16"] else "no bfloat16"
        found = f"{about.name}, {_gigabytes(about.total_memory)}, {half}"
        yield Check(f"cuda:{number}", "ok", found, facts=facts)
    if Path("/proc/driver/nvidia/version").exists() and not torch.cuda.is_available():
        advice = "install a torch that is made for your driver: https://pytorch.org/get-started"
        yield Check("cuda", "warning", "an NVIDIA driver is here, but torch cannot use it", advice)
    if torch.backends.mps.is_available():
        yield Check("mps", "ok", "Apple's GPU")


def _codec() -> Iterator[Check]:
    """Two pictures go through H.264 and come back."""
    versions = vars(import_module("av"))["library_versions"]
    libraries = {name: ".".join(map(str, version)) for name, version in versions.items()}
    numpy = import_module("numpy")
    from longtake.video import VideoWriter, read_frames

    rows = numpy.linspace(0, 255, 48).astype("uint8")[:, None, None]
    pictures = numpy.stack([numpy.broadcast_to(level, (48, 64, 3)) for level in (rows, rows[::-1])])
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        with VideoWriter(film, 64, 48, 24, {}) as writer:
            writer.write(pictures)
        read = list(read_frames(film))
    off = max(float(abs(a.astype(int) - b).mean()) for a, b in zip(read, pictures, strict=True))
    found = f"H.264 writes and reads; libavcodec {libraries.get('libavcodec')}"
    if off > LEAST_CONTRAST:
        yield Check(
            "codec", "failed", f"pictures come back changed, by {off:.1f} levels of 255", AGAIN, libraries
        )
    else:
        yield Check("codec", "ok", found, facts=libraries)


def _disk() -> Iterator[Check]:
    folders = {"this folder": ".", "temporary files": tempfile.gettempdir()}
    with suppress(Exception):
        folders["Hugging Face"] = import_module("huggingface_hub").constants.HF_HUB_CACHE
    for name, folder in folders.items():
        path = Path(folder).absolute()
        there = next(place for place in (path, *path.parents) if place.is_dir())
        free, writable = shutil.disk_usage(there).free, os.access(there, os.W_OK)
        advice = "make room" if free < LITTLE else "" if writable else "write elsewhere"
        yield Check(
            f"disk {name}",
            "warning" if advice else "ok",
            f"{_gigabytes(free)} free{'' if writable else ', not writable'}, {path}",
            advice,
            {"folder": str(path), "free_bytes": free, "writable": writable},
        )


def _environment() -> Iterator[Check]:
    found = {
        name: value
        for name, value in sorted(os.environ.items())
        if ENVIRONMENT.fullmatch(name) and not SECRET.search(name) and "@" not in value
    }
    said = " ".join(f"{name}={value}" for name, value in found.items())
    yield Check("environment", "ok", said or "nothing set that matters", facts=found)


def _models() -> Iterator[Check]:
    from longtake.models.places import list_models

    embedded, *others = list_models()
    here = [model.name for model in (embedded, *others) if model.on_disk]
    if embedded.on_disk:
        yield Check("models", "ok", f"on this disk: {', '.join(here)}", facts={"on_disk": here})
    else:
        yield Check("models", "failed", f"{embedded.name}, a part of longtake, is not there", AGAIN)


def _films() -> Iterator[Check]:
    """The embedded model films two frames on each device; those of the processor are a must."""
    torch = import_module("torch")
    devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    devices += ["mps"] * torch.backends.mps.is_available()
    for device in ["cpu", *devices]:
        name, broken = f"film on {device}", BROKEN[device == "cpu"]
        try:
            yield _two_frames(name, device, broken)
        except Exception as error:
            yield Check(name, broken, _told(error), AGAIN if device == "cpu" else "film on the processor")


def _two_frames(name: str, device: str, broken: Outcome) -> Check:
    from longtake.pipeline import LongTake

    started = time.perf_counter()
    pictures = LongTake.from_pretrained(device=device).generate(PROMPT, num_frames=2)
    seconds = round(time.perf_counter() - started, 2)
    contrast = float(pictures.std(axis=(1, 2, 3)).min())
    facts = {"seconds": seconds, "shape": list(pictures.shape), "contrast": round(contrast, 1)}
    if pictures.shape[0] != 2 or contrast < LEAST_CONTRAST:
        return Check(name, broken, "the embedded model's pictures show nothing", AGAIN, facts)
    return Check(name, "ok", f"two frames by the embedded model in {seconds:g} s", facts=facts)


def _terminal() -> Iterator[Check]:
    encoding, language = sys.stdout.encoding or "unknown", locale.getlocale()
    utf = encoding.lower().replace("-", "") == "utf8"
    yield Check(
        "terminal",
        "ok" if utf else "warning",
        f"{'/'.join(filter(None, language)) or 'no locale'}, output in {encoding}, names of files in"
        f" {sys.getfilesystemencoding()}",
        "" if utf else "set PYTHONUTF8=1 to see every sign",
        {
            "locale": language,
            "stdout": encoding,
            "files": sys.getfilesystemencoding(),
            "tty": sys.stdout.isatty(),
        },
    )


CHECKS: dict[str, Callable[[], Iterator[Check]]] = {
    "longtake": _longtake,
    "system": _system,
    "packages": _packages,
    "torch": _devices,
    "codec": _codec,
    "disk": _disk,
    "environment": _environment,
    "models": _models,
    "film": _films,
    "terminal": _terminal,
}


def _gigabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e9:.1f} GB"


def _told(error: Exception) -> str:
    """The kind of an error and its first line."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"


def _private(check: Check) -> Check:
    """The same without private names."""
    return Check(check.name, check.outcome, *map(without_names, (check.found, check.advice, check.facts)))
