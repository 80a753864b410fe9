"""Where a result came from: code, packages, machine and command line, captured once per launch.

No environment variables and no host paths beyond the command line are kept, so no secret can be.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from woolgather import __version__
from woolgather.core.rows import JSON

PACKAGES = (
    "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "pyarrow",
    "pydantic", "openai", "rapidfuzz", "numpy",
)  # fmt: skip
_SECRET = re.compile(r"(?i)\b([\w.-]*(?:key|token(?!s)|secret|password)[\w.-]*)=(?!-?[\d.]+$)(\S+)")
"""`max_tokens=64` and what is only a number is none."""
_USER = re.compile(r"(https?://)[^/@\s?#]*@")
"""User and password in an address."""


def capture() -> dict[str, JSON]:
    """Returns the code, packages, machine and command line, for the launch's record."""
    return {
        "woolgather": __version__,
        "git": git_state(Path(__file__).parent),
        "argv": [_USER.sub(r"\1***@", _SECRET.sub(r"\1=***", arg)) for arg in sys.argv],
        "python": platform.python_version(),
        "packages": {name: v for name in PACKAGES if (v := package_version(name))},
        "hardware": hardware(),
    }


def package_version(name: str) -> str | None:
    """Returns the version of an installed package; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def git_state(folder: Path) -> dict[str, JSON] | None:
    """Returns the commit and whether the tree differs from it; None outside a checkout of our own."""

    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *args], capture_output=True, text=True, timeout=10
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        if not git("ls-files", str(Path(__file__))):
            return None
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> dict[str, JSON]:
    """Returns processor, cores, memory, and GPUs by their driver's own list (no torch is loaded)."""
    import psutil

    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _gpus() -> list[str]:
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
