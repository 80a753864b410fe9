"""Two models' measures beside each other, with what the second gained or lost.

The one idea: a stage may help one thing and cost another (longer answers, fewer right ones), and a
single number hides it. Differences come with paired intervals where outcomes are known per item, and
plain where only a number is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from woolgather.artifacts import Metrics
from woolgather.op import op
from woolgather.ops.select import difference
from woolgather.records import JSON
from woolgather.statistics import Estimate
from woolgather.views import table

SHARES = {"stops": "stops by itself", "loops": "goes round in circles"}
NUMBERS = {
    "length_ratio": "length against the reference",
    "distinct_2": "distinct-2",
    "nll": "references, nats a token",
}


@op("side_by_side")
def side_by_side(first: Metrics, second: Metrics, *, names: Sequence[str], title: str) -> Metrics:
    """Measures of `evaluate` in one table: `names[0]`, `names[1]`, and the second minus the first.

    Values: `gain` by measure (an estimate, or a number, or None where either was not measured).
    """
    gains: dict[str, Any] = {}
    rows: list[list[JSON]] = []
    for key, label in (("probes", "probes passed"), ("heldout", "held-out tasks passed")):
        gain = difference(second, first, key, 1)
        gains[key] = gain.json() if gain else None
        rows.append([label, _rate(first, key), _rate(second, key), _points(gain)])
    for family, rate in dict(first.values.get("families") or {}).items():
        other = dict(second.values.get("families") or {}).get(family)
        rows.append([f"probes: {family}", _round(rate), _round(other), _minus(rate, other)])
    for key, label in {**SHARES, **NUMBERS}.items():
        one, two = first.values.get(key), second.values.get(key)
        gains[key] = _minus(one, two)
        rows.append([label, _round(one), _round(two), gains[key]])
    view = table(title, ["measure", *names, "difference"], rows, "Shares are of 1, not of 100.")
    return Metrics({"gain": gains}, views=(view,))


def _rate(measure: Metrics, key: str) -> JSON:
    found = measure.values.get(key)
    return _round(found["value"]) if isinstance(found, Mapping) else None


def _points(gain: Estimate | None) -> JSON:
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]" if gain else None


def _minus(one: JSON, two: JSON) -> float | None:
    if isinstance(one, int | float) and isinstance(two, int | float):
        return round(float(two) - float(one), 3)
    return None


def _round(value: JSON) -> JSON:
    return round(float(value), 3) if isinstance(value, int | float) else None
