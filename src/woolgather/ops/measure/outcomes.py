"""Outcomes by item: which of them select a model, and which report on it.

The one idea: what chose a model never praises it. Probes come in two sets of their own, by random seed.
Held-out tasks are one set, so where they select they are halved by a hash of the id: one half selects,
the other reports, on every machine and whatever other tasks there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

from woolgather.core.artifacts import Metrics
from woolgather.core.intervals import Estimate, paired_difference
from woolgather.core.rows import Example

By = Literal["probes", "heldout", "last"]
"""What selects the result."""
Side = Literal["select", "report", "all"]
"""Items that select, those that report, or both."""
Outcomes = Mapping[str, float | None]
"""By item id: 1 passed, 0 did not, None has no answer."""


def selects(task_id: str) -> bool:
    """Returns whether a held-out task is of the half that selects, by a hash of its id."""
    return hashlib.sha256(task_id.encode()).digest()[0] % 2 == 0


def side_of(on: str, by: str) -> Side:
    """Returns the items of the measure `on` that report where `by` selects: all held-out tasks, unless
    they select."""
    return "all" if on == "heldout" and by != "heldout" else "report"


def outcomes(measure: Metrics, on: str, side: Side = "select") -> Outcomes:
    """Returns the outcomes of a measure: `on` is probes, heldout, stops or loops. Empty where it was
    not measured. Answers that stop or loop select nothing: all of them are on every side."""
    if on == "probes":
        keys = _probe_sets(measure)
        wanted = {"select": keys[:1], "report": keys[-1:], "all": keys}[side]
        return {name: v for key in wanted for name, v in measure.items.get(key, {}).items()}
    found = measure.items.get(on, {})
    if on == "heldout" and side != "all":
        return {name: v for name, v in found.items() if selects(name) == (side == "select")}
    return found


def difference(a: Metrics, b: Metrics, on: str, side: Side = "select") -> Estimate | None:
    """Returns the paired difference a - b over the items that both answered; None without any."""
    return paired_difference(outcomes(a, on, side), outcomes(b, on, side))


def list_known(measure: Metrics, on: str, side: Side = "select") -> list[float]:
    """Returns the outcomes of the items that were answered."""
    return [v for v in outcomes(measure, on, side).values() if v is not None]


def mean(measure: Metrics, on: str, side: Side = "select") -> float | None:
    """Returns the mean outcome; None where it was not measured."""
    values = list_known(measure, on, side)
    return sum(values) / len(values) if values else None


def item_ids(rows: Iterable[Example]) -> list[str]:
    """Returns an id for each row, in their order, no two alike: its own, or `task-<place>`; of rows
    with one id, the second gets `id#2`, and so on."""
    found: dict[str, None] = {}
    for index, row in enumerate(rows):
        own = row.id or f"task-{index}"
        name, number = own, 1
        while name in found:
            number += 1
            name = f"{own}#{number}"
        found[name] = None
    return list(found)


def _probe_sets(measure: Metrics) -> list[str]:
    """The names of a measure's sets of probes, the selecting one first."""
    seeds = measure.values.get("probe_seeds")
    if seeds is None:
        return [key for key in measure.items if key.startswith("probes:")]
    return [f"probes:{seed}" for seed in seeds]
