"""Outcomes by item: which of them select a model, and which report on it.

The one idea: what chose a model never praises it. Probes come in two sets, of different families.
Held-out tasks are one set, so where they select they are halved by a hash of the id: one half selects,
the other reports, on every machine and whatever other tasks there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

from woolgather.core.artifacts import Metrics
from woolgather.core.intervals import Estimate, outcome_difference, rate_interval
from woolgather.probes import family_of

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
        sets = _probe_sets(measure)
        wanted = list(sets.values()) if side == "all" else [sets.get(side, "")]
        return {name: v for key in wanted for name, v in measure.items.get(key, {}).items()}
    found = measure.items.get(on, {})
    if on == "heldout" and side != "all":
        return {name: v for name, v in found.items() if selects(name) == (side == "select")}
    return found


def difference(a: Metrics, b: Metrics, on: str, side: Side = "select") -> Estimate | None:
    """Returns the paired difference a - b over the items that both answered; None without any. The
    interval is over the families of probes, and over held-out tasks one by one."""
    return compare(outcomes(a, on, side), outcomes(b, on, side), on)


def compare(a: Outcomes, b: Outcomes, on: str) -> Estimate | None:
    """Returns `difference` for outcomes of the measure `on`."""
    return outcome_difference(a, b, family_of=None if on == "heldout" else family_of)


def rate(measure: Metrics, on: str, side: Side = "select") -> Estimate | None:
    """Returns the share of the answered items that passed, with its interval over families of probes;
    None where it was not measured."""
    return rate_of(outcomes(measure, on, side))


def rate_of(found: Outcomes) -> Estimate | None:
    """Returns `rate` for these outcomes."""
    known = {name: v for name, v in found.items() if v is not None}
    families = [family_of(name) for name in known]
    shared = len(set(families)) < len(families)
    return rate_interval(list(known.values()), families if shared else None)


def list_known(measure: Metrics, on: str, side: Side = "select") -> list[float]:
    """Returns the outcomes of the items that were answered."""
    return [v for v in outcomes(measure, on, side).values() if v is not None]


def mean(measure: Metrics, on: str, side: Side = "select") -> float | None:
    """Returns the mean outcome; None where it was not measured."""
    values = list_known(measure, on, side)
    return sum(values) / len(values) if values else None


def _probe_sets(measure: Metrics) -> Mapping[Side, str]:
    """The key of each of a measure's sets of probes. Earlier measures named a set by its random seed:
    the first seed selected, the last reported, and one alone did both."""
    named: dict[Side, str] = {"select": "probes:select", "report": "probes:report"}
    found = {side: key for side, key in named.items() if key in measure.items}
    if found:
        return found
    seeds = measure.values.get("probe_seeds")
    keys = [key for key in measure.items if key.startswith("probes:")]
    if seeds is not None:  # a file may hold the items in another order
        keys = [f"probes:{seed}" for seed in seeds]
    return {"select": keys[0], "report": keys[-1]} if keys else {}
