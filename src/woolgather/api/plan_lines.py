"""A line of a plan, and what a training takes, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from woolgather.api.results import PlanLine

if TYPE_CHECKING:
    from woolgather.core.expected import DeviceMemory
    from woolgather.runs.lookup import Planned
    from woolgather.runs.speed.rates import Rates


def plan_line(planned: Planned, rates: Rates) -> PlanLine:
    """Returns what a plan says of a step."""
    size = planned.expected
    seconds = rates.seconds(size) if planned.state == "new" else planned.seconds or 0.0
    return {
        "step": planned.step,
        "state": planned.state,
        "why": planned.why,
        "fingerprint": planned.fingerprint,
        "seconds": round(seconds, 1),
        "rows": size.rows,
        "calls": size.calls,
        "prompt_tokens": size.prompt_tokens,
        "new_tokens": size.new_tokens,
        "updates": size.updates,
        "train_tokens": size.train_tokens,
        "disk_bytes": size.disk_bytes,
        "memory": size.memory,
    }


def spell_memory(memory: DeviceMemory) -> str:
    """Returns what takes the memory of a device, in words."""
    from woolgather.report.text import gigabytes

    parts = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimizer states": memory.states,
        "activations": memory.activations,
    }
    return ", ".join(f"{name} {gigabytes(count)}" for name, count in parts.items())
