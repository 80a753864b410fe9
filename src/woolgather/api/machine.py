"""What this machine has, for `doctor`: versions, hardware, measured speed, caches; nothing secret.

The one idea: nothing here fails. What cannot be found out is None, or says why.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from woolgather.engines.replicas.cluster import INSTALL
from woolgather.report.text import harmless, number, size

if TYPE_CHECKING:
    from woolgather.core.machine_speed import DeviceSpeed

_TORCH = """
import json, torch
print(json.dumps({
    "cuda": torch.version.cuda if torch.cuda.is_available() else None,
    "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    "threads": torch.get_num_threads(),
}))
"""
_ANSWER_SECONDS = 120


def describe_machine() -> dict[str, object]:
    """Returns the name and the value of each line that `doctor` prints."""
    import psutil

    from woolgather.core.paths import cache_dir
    from woolgather.runs import provenance

    hardware = provenance.hardware()
    cache = cache_dir()
    place = next(p for p in (cache, *cache.parents) if p.exists())
    versions = {p: provenance.package_version(p) for p in provenance.PACKAGES}
    memory = psutil.virtual_memory()
    return {
        "woolgather": provenance.package_version("woolgather"),
        "git": provenance.git_state(Path(__file__).parent),
        "python": f"{sys.version.split()[0]} ({sys.implementation.name})",
        "system": hardware["system"],
        "processor": hardware["processor"],
        "cores": hardware["cores"],
        "memory": f"{size(memory.total)}, {size(memory.available)} available",
        "gpus": hardware["gpus"] or "none",
        "torch": _torch(),
        "vllm": _vllm(),
        "ray": provenance.package_version("ray") or f"not installed: {INSTALL}",
        **_speeds(),
        "packages": {name: version for name, version in versions.items() if version},
        "not installed": [name for name, version in versions.items() if not version] or "nothing",
        "cache": _home(cache),
        "disk": f"{size(shutil.disk_usage(place).free)} free for the cache, "
        f"{size(shutil.disk_usage(Path.cwd()).free)} free in this folder",
        "embedded model": _find_embedded(cache),
        "hub cache": _home(Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface")),
        "offline": any(
            os.environ.get(name, "").lower() in ("1", "true", "yes", "on")
            for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        ),
    }


def _torch() -> object:
    """What torch says in a process of its own, so that a broken installation is an answer, not a
    crash."""
    if importlib.util.find_spec("torch") is None:
        return (
            "not installed: pip install 'woolgather[local]', or ask a server with --engine openai"
        )
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TORCH],
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"gives no answer ({type(error).__name__})"
    try:
        found: object = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return f"cannot be loaded: {harmless(last)}"
    return found


def _vllm() -> str:
    """Whether `--engine vllm` finds what it needs; vLLM itself is not started."""
    from woolgather.core.errors import ConfigError
    from woolgather.engines.vllm.interpreter import find_interpreter

    try:
        found = find_interpreter()
    except ConfigError as error:
        return harmless(str(error).partition(": ")[2])
    others = ", ".join(f"{name} {version}" for name, version in found.packages)
    return f"{others} in {_home(Path(found.prefix))}"


def _speeds() -> dict[str, str]:
    """What each device computes, measured now, and the precision that follows from it."""
    from woolgather.core.errors import WoolgatherError
    from woolgather.core.machine_speed import measure_speeds

    if importlib.util.find_spec("torch") is None:
        return {"speed": "not measured: torch is not installed"}
    try:
        found = measure_speeds()
    except WoolgatherError as error:
        return {"speed": f"not measured: {harmless(str(error))}"}
    return {f"speed of {device}": _speed_line(device, speed) for device, speed in found.items()}


def _speed_line(device: str, speed: DeviceSpeed) -> str:
    from woolgather.core.machine_speed import auto_precision

    parts = []
    for work, rates in (("training", speed.product), ("generation", speed.step)):
        both = ", ".join(f"{name} {number(rate, 1)}" for name, rate in rates.items())
        chosen = auto_precision(device, "training" if work == "training" else "generation")
        parts.append(f"{work} in {chosen} (GFLOP/s: {both})")
    return "; ".join([*parts, f"copy {number(speed.copy, 1)} GB/s"])


def _find_embedded(cache: Path) -> str:
    from woolgather.models import embedded

    if (cache / embedded.DIRECTORY).is_dir():
        return "in the cache"
    if importlib.util.find_spec(embedded.PACKAGE) is not None:
        return "installed; converted when first used"
    return f"not installed: {embedded.INSTALL}"


def _home(path: Path) -> str:
    """A path without the user's name."""
    try:
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    except ValueError:
        return str(path)
