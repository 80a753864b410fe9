"""How long work takes on this machine: the times in a plan and in a progress line.

The one idea: what earlier steps of the same run took comes first; then what steps of earlier runs took
here (earlier.py); then what the machine was measured to compute (machine_speed.py) and the size
of the weights; a plain guess is the last resort. Where a time comes from is said beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.expected import Expected
from woolgather.core.machine_speed import DeviceSpeed, Precision, read_speeds, speed_of
from woolgather.core.rows import as_list
from woolgather.runs.record import RUN, StepRecord, current_steps
from woolgather.runs.speed.earlier import SPEEDS, Speed, SpeedSetup, read_earlier

_SMALLEST = 1.35e8
"""Parameters of the embedded model, for a base whose weights are not here."""
_ROWS = 16
"""Texts in a step of generation: their weights are read once."""
_REACHED = 0.45
"""Share of a measured product's speed that a whole model reaches: training 135M parameters in float32
reached .42 and .48 of it on two machines, generating .40 to .60."""
_UNKNOWN = DeviceSpeed({"float32": 80.0, "bfloat16": 0.0}, {"float32": 40.0, "bfloat16": 0.0}, 10.0)
"""A laptop's two cores, where nothing was measured."""
_CALL_TOKENS = 100
"""Tokens read by a call that says nothing of its prompt."""
_START_SECONDS = 10.0
"""Until a process that trains has loaded its libraries and the model."""


@dataclass(frozen=True)
class Rates:
    """Speeds of one run on one machine."""

    new_tokens: float
    """Generated tokens per second."""
    read_tokens: float
    """Tokens per second of calls that generate nothing (log-probabilities, embeddings): many rows at
    once and nothing to go back through, so that a product's speed is reached."""
    trained_tokens: float
    """Tokens per second in training."""
    calls: float | None
    """Calls per second that generate nothing, where some were timed; used before `read_tokens`."""
    source: str
    """Where these come from, for people."""

    @staticmethod
    def of_run(folder: Path, setup: SpeedSetup = SpeedSetup()) -> Rates:  # noqa: B008 - frozen
        """Returns the speeds of the run in `folder`, which asks and trains as `setup` says."""
        speeds = read_speeds()
        speed = speed_of(speeds, "auto") or _UNKNOWN
        parameters = setup.parameters or _SMALLEST
        step = speed.faster("generation")
        width = 4 if step == "float32" else 2
        computed = speed.step[step] * 1e9 * _REACHED / (2 * parameters)
        moved = speed.copy * 1e9 * _ROWS / (width * parameters)
        product = speed.product[setup.precision or speed.faster("training")] * 1e9
        own = {name: done / took for name, (done, took) in measure_steps(folder).items()}
        earlier = read_earlier(setup)
        if own:
            source = "at the speed of this run's finished steps"
        elif earlier:
            source = "at the speed of earlier runs on this machine"
        elif setup.engine == "openai":
            source = "a guess: the server's speed shows when a step has finished"
        elif speeds:
            source = "from this machine's measured speed"
        else:
            source = "a guess: this machine is not measured yet"
        found = earlier | own
        return Rates(
            found.get("new_tokens") or min(computed, moved),
            max(speed.product.values()) * 1e9 / (2 * parameters),
            found.get("trained_tokens") or max(product, 1e6) * _REACHED / (6 * parameters),
            found.get("calls"),
            source,
        )

    def seconds(self, size: Expected) -> float:
        """Returns an upper bound, in seconds, for a step of this size."""
        training = size.train_tokens / self.trained_tokens + _START_SECONDS if size.updates else 0.0
        if size.new_tokens:
            return training + size.new_tokens / self.new_tokens
        if self.calls:
            return training + size.calls / self.calls
        read = size.prompt_tokens or size.calls * _CALL_TOKENS
        return training + read / self.read_tokens


def measure_steps(folder: Path, launch: int = 0) -> dict[Speed, tuple[float, float]]:
    """Returns by speed what the finished steps of a run did, and the seconds that they took; with
    `launch`, those that this launch made."""
    done: dict[Speed, float] = dict.fromkeys(SPEEDS, 0.0)
    took = dict(done)
    steps = current_steps(folder) if (folder / RUN).is_file() else []
    for _, record in steps:
        if launch and record.launch != launch:
            continue
        written = record.calls.get("completion_tokens", 0)
        fresh = record.calls.get("requests", 0) - record.calls.get("remembered", 0)
        kind: Speed = "calls"
        amount, seconds = float(fresh), record.seconds
        if written:
            kind, amount = "new_tokens", float(written)
        training = _training(record)
        if training.get("tokens") and training.get("seconds"):
            kind, amount, seconds = "trained_tokens", training["tokens"], training["seconds"]
        if amount:
            done[kind] += amount
            took[kind] += seconds
    return {kind: (done[kind], took[kind]) for kind in SPEEDS if took[kind] > 0}


def _training(record: StepRecord) -> Mapping[str, float]:
    """The numbers of a training step by name; empty for any other."""
    for view in record.shown():
        if view.kind == "table" and view.title == "Training":
            rows = map(as_list, as_list(view.data["rows"]))
            return {str(n): float(v) for n, v in rows if isinstance(v, int | float)}
    return {}


def explain_precision(began: Precision, here: Precision) -> str:
    """Returns what is said where a run goes on in the precision it began in, and this machine would have
    chosen another: what that costs, and how to change it."""
    speed = speed_of(read_speeds(), "auto")
    rates = speed.product if speed else {}
    factor = rates[here] / max(rates[began], 1e-9) if rates else 0.0
    shown = f"{factor:.0f}" if factor >= 10 else f"{factor:.1f}"
    cost = f" ({here} is {shown} times as fast here)" if factor else ""
    return (
        f"trains in {began}, as this run began{cost}. To train in {here}, set the training's precision "
        "(sft.precision, say): that makes it anew."
    )
