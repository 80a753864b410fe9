"""How fast steps went in earlier runs on this machine, kept in the cache.

The one idea: a speed belongs to what it follows from: the machine, the size of the model (those within a
factor of two share one), and the engine or the training with its precision. What a run adds counts at
least as much as all before it, so that a new driver or another server shows soon.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import TypeAdapter

from woolgather.core.machine_speed import Precision, machine_key
from woolgather.core.paths import cache_dir
from woolgather.core.storage import write_shared_json

FILE = "step-speeds.json"
Speed = Literal["new_tokens", "calls", "trained_tokens"]
"""By its name in `Rates`."""
SPEEDS: tuple[Speed, ...] = get_args(Speed)
Measured = Mapping[Speed, tuple[float, float]]
"""What was done, and the seconds that it took."""
_STORED = TypeAdapter(dict[str, dict[str, tuple[float, float]]])


@dataclass(frozen=True)
class SpeedSetup:
    """What the speeds of a run follow from, beside the machine."""

    base: str = ""
    """The model: a directory, or a name."""
    engine: str = "transformers"
    dtype: str = "auto"
    """Precision of generation, as it was asked for."""
    replicas: int = 0
    """Replicas of the engine; 0 is one engine without Ray."""
    precision: Precision | None = None
    """Precision of training; None: whatever is faster."""
    processes: int = 1
    """Processes that train together."""

    @property
    def parameters(self) -> float:
        """Weights of the model, taken as two bytes each, as most are stored; 0 where none are here."""
        path = Path(self.base)
        files = path.glob("*.safetensors") if self.base and path.is_dir() else ()
        return sum(file.stat().st_size for file in files) / 2

    def key(self, speed: Speed) -> str:
        """Returns under what a speed is kept."""
        size = f"2^{round(math.log2(self.parameters))}" if self.parameters else self.base
        if speed == "trained_tokens":
            how = f"{self.precision or 'auto'}, {self.processes} processes"
        else:
            how = f"{self.engine}, {self.dtype}, {self.replicas} replicas"
        return f"{speed}: {how}, {size}"


def read_earlier(setup: SpeedSetup) -> dict[Speed, float]:
    """Returns the speeds of earlier runs, those that are known; empty where the file cannot be read."""
    kept = _read().get(machine_key(), {})
    found = {speed: kept[setup.key(speed)] for speed in SPEEDS if setup.key(speed) in kept}
    return {speed: done / seconds for speed, (done, seconds) in found.items() if seconds > 0}


def keep_speeds(setup: SpeedSetup, measured: Measured) -> None:
    """Add what a run measured; where the cache cannot be written, nothing is kept."""
    stored = _read()
    here = stored.setdefault(machine_key(), {})
    for speed, (done, seconds) in measured.items():
        before, took = here.get(setup.key(speed), (0.0, 0.0))
        weight = min(1.0, seconds / took) if took else 0.0
        here[setup.key(speed)] = (before * weight + done, took * weight + seconds)
    path = cache_dir() / FILE
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_shared_json(path, stored)


def _read() -> dict[str, dict[str, tuple[float, float]]]:
    try:
        return _STORED.validate_json((cache_dir() / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
