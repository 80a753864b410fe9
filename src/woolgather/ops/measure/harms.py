"""Whether a result is clearly worse than the base, on any measure that could show it.

The one idea: a gain on one measure must not hide a loss on another. Worse means that the paired 95 %
interval of the difference to the base lies on the wrong side of zero, on items that selected nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from woolgather.core.artifacts import Metrics
from woolgather.core.intervals import Estimate
from woolgather.ops.measure.outcomes import difference, side_of

RATES = {"probes": "probes passed", "heldout": "held-out tasks passed"}
FORM = {"stops": "answers that end by themselves", "loops": "answers that go round in circles"}
LEAST = 0.05
"""Smallest change in the share of answers that stop or loop which counts as harm. There are so many
answers that a change of one point can be clear of zero, and it harms nobody."""


@dataclass(frozen=True)
class Harm:
    """A measure on which the result is worse than the base."""

    on: str
    """probes, heldout, stops or loops."""
    change: Estimate
    """Result minus base."""

    def __str__(self) -> str:
        name = {**RATES, **FORM}[self.on]
        return f"{name} ({self.change.format('+.1f', 100, ' points')})"


def find_harm(result: Metrics, base: Metrics, on: str, by: str) -> Harm | None:
    """Returns how much worse `result` is than `base` on one measure; None where it is not clearly so,
    or was not measured. `by` is what selected the result."""
    change = difference(result, base, on, side_of(on, by))
    if change is None:
        return None
    worse = change.low > 0 if on == "loops" else change.high < 0
    small = on in FORM and abs(change.value) < LEAST
    return Harm(on, change) if worse and not small else None


def find_harms(result: Metrics, base: Metrics, by: str) -> list[Harm]:
    """Returns every measure on which `result` is clearly worse than `base`."""
    found = (find_harm(result, base, on, by) for on in (*RATES, *FORM))
    return [harm for harm in found if harm]


def describe_harms(name: str, harms: Sequence[Harm]) -> str:
    """Returns a sentence that says where the model `name` is worse than the base."""
    *most, last = map(str, harms)
    listed = f"{', '.join(most)} and {last}" if most else last
    return f"{name} is worse than the base in {listed}."
