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
from woolgather.ops.measure.tax.answers import DRIFT

RATES = {"probes": "probes passed", "heldout": "held-out tasks passed"}
FORM = {"stops": "answers that end by themselves", "loops": "answers that go round in circles"}
NAMES = {**RATES, **FORM, **DRIFT}
BAD = {"loops", *DRIFT}
"""Measures of which more is worse."""
LEAST = {**dict.fromkeys(FORM, 0.05), **dict.fromkeys(DRIFT, 0.01)}
"""Smallest change in a share of answers that counts as harm. There are so many answers that a change of
one point can be clear of zero; of those that stop or loop it harms nobody."""


@dataclass(frozen=True)
class Harm:
    """A measure on which the result is worse than the base."""

    on: str
    """probes, heldout, stops, loops or a sign of drift."""
    change: Estimate
    """Result minus base."""

    def __str__(self) -> str:
        return f"{NAMES[self.on]} ({self.change.format('+.1f', 100, ' points')})"


def find_harm(result: Metrics, base: Metrics, on: str, by: str) -> Harm | None:
    """Returns how much worse `result` is than `base` on one measure; None where it is not clearly so,
    or was not measured. `by` is what selected the result."""
    change = difference(result, base, on, side_of(on, by))
    if change is None:
        return None
    worse = change.low > 0 if on in BAD else change.high < 0
    small = abs(change.value) < LEAST.get(on, 0)
    return Harm(on, change) if worse and not small else None


def find_harms(result: Metrics, base: Metrics, by: str) -> list[Harm]:
    """Returns every measure on which `result` is clearly worse than `base`, drift aside."""
    found = (find_harm(result, base, on, by) for on in (*RATES, *FORM))
    return [harm for harm in found if harm]


def find_drift(measure: Metrics, base: Metrics) -> list[Harm]:
    """Returns the signs of drift that are clearly commoner in a model's answers than in the base's."""
    found = (find_harm(measure, base, sign, "probes") for sign in DRIFT)
    return [harm for harm in found if harm]


def describe_harms(name: str, harms: Sequence[Harm]) -> str:
    """Returns a sentence that says where the model `name` is worse than the base."""
    *most, last = map(str, harms)
    listed = f"{', '.join(most)} and {last}" if most else last
    return f"{name} is worse than the base in {listed}."
