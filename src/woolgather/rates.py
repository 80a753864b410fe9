"""How fast this machine works, from what earlier steps took: the time in a plan.

Measured figures of the same run come first; without any, a guess from the size of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from woolgather import step_record
from woolgather.expect import Expected

_GUESS_BYTES_PER_SECOND = 4e10
"""Weights read per second when nothing was measured: a laptop's memory, eight rows in a batch."""


@dataclass(frozen=True)
class Rates:
    new_tokens: float
    """Generated tokens a second."""
    calls: float
    """Calls a second that generate nothing (log-probabilities)."""
    updates: float
    """Optimizer steps a second."""
    source: str

    @staticmethod
    def of_run(folder: Path, base: str = "") -> Rates:
        """From the finished steps of a run, else a guess."""
        tokens = seconds = updates = trained = scored = scoring = 0.0
        if (folder / step_record.RUN).is_file():
            for _, record in step_record.current_steps(folder):
                made = record.calls.get("completion_tokens", 0)
                fresh = record.calls.get("requests", 0) - record.calls.get("remembered", 0)
                if made:
                    tokens, seconds = tokens + made, seconds + record.seconds
                elif fresh:
                    scored, scoring = scored + fresh, scoring + record.seconds
                done = record.result.get("updates") or _updates(record)
                if done:
                    updates, trained = updates + done, trained + record.seconds
        path = Path(base)
        size = sum(f.stat().st_size for f in path.glob("*.safetensors")) if path.is_dir() else 0
        guess = _GUESS_BYTES_PER_SECOND / max(size, 2.7e8)
        return Rates(
            tokens / seconds if seconds else guess,
            scored / scoring if scoring else guess / 15,
            updates / trained if trained else guess / 600,
            "at the speed of this run's finished steps"
            if seconds
            else "a guess before any step ran",
        )

    def seconds(self, size: Expected) -> float:
        """Of a step of this size, at most."""
        scored = size.calls if not size.new_tokens else 0
        return size.new_tokens / self.new_tokens + scored / self.calls + size.updates / self.updates


def _updates(record: step_record.StepRecord) -> int:
    for view in record.shown():
        if view.kind == "table" and "updates" in view.data["columns"] and view.data["rows"]:
            value = view.data["rows"][0][view.data["columns"].index("updates")]
            return int(value) if isinstance(value, int | float) else 0
    return 0
