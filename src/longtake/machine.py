"""The machine in numbers, and texts without the names of its owner. The standard library alone."""

from __future__ import annotations

import getpass
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

VECTOR_UNITS = (
    *("avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16"),
    *("asimd", "sve", "bf16"),
)


def processor() -> tuple[str, list[str]]:
    """The processor's name, and those of its vector units that matter here."""
    described = ""
    with suppress(OSError):
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    names = re.search(r"^model name\s*: (.*)$", described, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", described, re.MULTILINE)
    name = names[1].strip() if names else platform.processor() or platform.machine()
    if sys.platform == "darwin":
        with suppress(OSError):
            asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
            name = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or name
    known = set(flags[1].split()) if flags else set()
    return name, [unit for unit in VECTOR_UNITS if unit in known]


def memory() -> tuple[int | None, int | None]:
    """The bytes of main memory that this process may use, and those that are free; None if unknown."""
    total = free = None
    with suppress(OSError, ValueError):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        total = min(limit, total or limit)
        free = limit - int(Path("/sys/fs/cgroup/memory.current").read_text())
    with suppress(OSError, TypeError):
        available = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
        found = int(available[1]) * 1024  # type: ignore[index]
        free = min(found, free if free is not None else found)
    return total, free


def without_names(value: Any) -> Any:
    """JSON values without the names of the user, of the home folder and of the machine in their texts."""
    user, hosts = "", {platform.node(), platform.node().split(".")[0]}
    with suppress(Exception):
        user = getpass.getuser()
    names = {re.escape(str(Path.home())) + r"(?![\w.-])": "~"}
    if user:
        names[rf"(?<=[/\\-]){re.escape(user)}(?![\w.])"] = "USER"
    for host in sorted(hosts, key=len, reverse=True):
        if len(host) > 2:
            names[rf"\b{re.escape(host)}\b"] = "HOST"

    def cleared(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cleared(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [cleared(inner) for inner in value]
        if isinstance(value, str):
            for pattern, word in names.items():
                value = re.sub(pattern, word, value)
        return value

    return cleared(value)
