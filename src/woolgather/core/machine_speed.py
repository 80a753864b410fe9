"""How fast this machine computes, and so in which precision: measured, not told from a name.

The one idea: on many processors a product in bfloat16 is emulated, at a hundredth of float32's speed,
and neither a processor's name nor its flags tell how fast its libraries are. So a linear layer is
computed once in both precisions, in a child process, for a fraction of a second. The result is kept
in the cache under all that it follows from: processor flags, cores, GPUs, torch, and the variables
that limit them. Everybody who needs a precision asks `auto_precision`: the engine, the trainer, plans
and `doctor`. Nothing here knows a model or a run; torch is imported in the child alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, get_args

import psutil

from woolgather.core import children
from woolgather.core.errors import ConfigError, EngineError
from woolgather.core.paths import cache_dir
from woolgather.core.storage import write_shared_json

Precision = Literal["float32", "bfloat16"]
Work = Literal["training", "generation"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

FORCED = "WOOLGATHER_AUTO_PRECISION"
"""Environment variable: float32 or bfloat16 is what `auto` becomes, whatever was measured. For tests,
and for machines where the measurement is known to be wrong."""
FILE = "machine-speed.json"
_LIMITS = (
    "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS",
    "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE",
)  # fmt: skip
"""Environment variables that change what is measured."""
_ANSWER_SECONDS = 180
"""A child that has not answered by then never will; importing torch from a cold disk may take most of
a minute."""
_Shape = tuple[int, int, int]
"""Rows, inputs and outputs of a linear layer."""
_SMALL: _Shape = (64, 256, 256)
"""Tells whether the large one is worth waiting for."""
_LARGE: Mapping[str, _Shape] = {"cpu": (512, 1024, 1024), "cuda": (4096, 4096, 4096)}
"""Training, by device: so large on a GPU that the start of a kernel does not count."""
_FEW: Mapping[str, _Shape] = {"cpu": (16, 1024, 1024), "cuda": (16, 8192, 16384)}
"""Generation, where a step has one row per text and reads all the weights."""
_QUICK = 2.0
"""GFLOP/s of the small layer from which the large one is computed, too: it then takes a second."""
_LONG_SECONDS = 0.1
"""Spent on one precision, there are no more than two tries of it: the first warms up."""
_REPEATS = 20
"""Tries at most. The best counts: what else the machine does makes the others slower, not faster."""
_COPY_BYTES = 1 << 26


@dataclass(frozen=True)
class DeviceSpeed:
    """What one device computes, in both precisions."""

    product: Mapping[str, float]
    """By precision, GFLOP/s of a linear layer with many rows, forward and backward: training."""
    step: Mapping[str, float]
    """By precision, GFLOP/s of a linear layer with a few rows, forward: generating a token."""
    copy: float
    """GB/s read and written by a copy of 64 MiB."""
    memory: int = 0
    """Bytes that the device has; 0 where that is not known, as of what was measured before."""
    devices: int = 1
    """Devices of this kind."""

    def rates(self, work: Work) -> Mapping[str, float]:
        """Returns GFLOP/s by precision for this kind of work."""
        return self.product if work == "training" else self.step

    def faster(self, work: Work) -> Precision:
        """Returns the faster precision for this kind of work; float32 where they are equal."""
        rates = self.rates(work)
        return "bfloat16" if rates["bfloat16"] > rates["float32"] else "float32"


def auto_precision(device: str, work: Work, *, measure: bool = True) -> Precision | None:
    """Returns what `auto` becomes for this work on `device` ("cpu", "cuda", "cuda:1", or "auto" for the
    device that training and engines take by themselves).

    Without `measure` only the cache is looked at, and None is returned when this machine has not been
    measured. Raises ConfigError when torch is not installed, EngineError when it cannot be used.
    """
    forced = os.environ.get(FORCED, "")
    if forced:
        if forced not in PRECISIONS:
            raise ConfigError(f"{FORCED}={forced}: write float32 or bfloat16, or leave it out.")
        return "bfloat16" if forced == "bfloat16" else "float32"
    speeds = read_speeds() or (measure_speeds() if measure else {})
    found = speed_of(speeds, device)
    return found.faster(work) if found else None


def speed_of(speeds: Mapping[str, DeviceSpeed], device: str) -> DeviceSpeed | None:
    """Returns the entry for a device as the user names it; None where it was not measured."""
    kind = device.partition(":")[0]
    if kind == "auto":
        kind = "cuda" if "cuda" in speeds else "cpu"
    return speeds.get(kind)


def read_speeds() -> dict[str, DeviceSpeed]:
    """Returns by device ("cpu", and "cuda" where there is a GPU) what the cache holds for this machine as
    it is now; empty when it was never measured."""
    try:
        stored = json.loads((cache_dir() / FILE).read_text(encoding="utf-8"))
        return {device: DeviceSpeed(**speed) for device, speed in stored[machine_key()].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def measure_speeds() -> dict[str, DeviceSpeed]:
    """Measure every device in a child process, and remember the result; returns it by device.

    Raises ConfigError when torch is not installed, EngineError when it gives no answer."""
    if _version("torch") is None:
        raise ConfigError(
            "training and the transformers engine need torch, which is not installed. "
            "Install it with: pip install 'woolgather[local]'"
        )
    try:
        done = subprocess.run(
            [sys.executable, "-m", "woolgather.core.machine_speed"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            env=children.environment(),
        )
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"torch gave no answer in {_ANSWER_SECONDS} s.") from error
    except (OSError, ValueError, IndexError) as error:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EngineError(f"torch cannot be used: {last}") from error
    speeds = {device: DeviceSpeed(**speed) for device, speed in answer.items()}
    remember(speeds)
    return speeds


def remember(speeds: Mapping[str, DeviceSpeed]) -> None:
    """Keep what was measured; other machines that share the cache keep theirs."""
    path = cache_dir() / FILE
    try:
        stored = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        stored = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    stored[machine_key()] = {device: asdict(speed) for device, speed in speeds.items()}
    write_shared_json(path, stored)


def machine_key() -> str:
    """Returns a hash of all that the speeds of this machine follow from."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = sorted(p.name for p in Path("/proc/driver/nvidia/gpus").glob("*"))
    limits = {name: os.environ.get(name, "") for name in _LIMITS}
    told = [_processor(), cores, gpus, _version("torch"), limits]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _processor() -> list[str]:
    """The processor's model and flags as the kernel lists them; its bare name elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return [platform.machine(), platform.processor()]
    named = ("model name", "flags", "Features")
    return sorted({line for line in lines if line.startswith(named)})


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# -- in the child -------------------------------------------------------------------------------


def compute_speeds() -> dict[str, DeviceSpeed]:
    """Measure here and now, in a process that may import torch; returns the speeds by device."""
    import torch

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    return {device: _compute(device) for device in devices}


def _compute(device: str) -> DeviceSpeed:
    import torch

    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}

    def timed(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    def rates(shape: _Shape, names: Sequence[str], backward: bool) -> dict[str, float]:
        """GFLOP/s by precision, the best of a few tries that take turns; 0 where it cannot."""
        rows, inputs, outputs = shape
        flops = 2 * rows * inputs * outputs * (2 if backward else 1)
        best, spent = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)

        def seconds_of(kind: torch.dtype) -> float | None:
            x = torch.ones(rows, inputs, device=device, dtype=kind, requires_grad=backward)
            weight = torch.ones(outputs, inputs, device=device, dtype=kind)

            def layer() -> None:
                y = torch.nn.functional.linear(x, weight)
                if backward:
                    torch.autograd.backward(y, y)

            try:
                return timed(layer)
            except RuntimeError:  # a device without this precision
                return None

        for turn in range(_REPEATS):
            for name in names:
                if turn > 1 and spent[name] > _LONG_SECONDS:
                    continue
                if seconds := seconds_of(kinds[name]):
                    spent[name] += seconds
                    best[name] = max(best[name], flops / seconds / 1e9)
        return best

    small = rates(_SMALL, PRECISIONS, True)
    # Where the small layer is slow the large one would take a minute, and tell the same.
    quick = [name for name in PRECISIONS if device != "cpu" or small[name] > _QUICK]
    source = torch.ones(_COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    copying = min(timed(lambda: target.copy_(source)) for _ in range(_REPEATS))
    product = {**small, **rates(_LARGE[device], quick, True)}
    return DeviceSpeed(
        {name: round(rate, 2) for name, rate in product.items()},
        {name: round(rate, 2) for name, rate in rates(_FEW[device], PRECISIONS, False).items()},
        round(2 * _COPY_BYTES / copying / 1e9, 2),
        psutil.virtual_memory().total if device == "cpu" else torch.cuda.mem_get_info()[1],
        1 if device == "cpu" else torch.cuda.device_count(),
    )


if __name__ == "__main__":
    children.watch_parent()
    print(json.dumps({device: asdict(speed) for device, speed in compute_speeds().items()}))
