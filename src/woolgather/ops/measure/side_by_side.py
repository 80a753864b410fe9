"""Two models' measures beside each other, with what the second gained or lost.

The one idea: a stage may help one thing and cost another (longer answers, fewer right ones), and a
single number hides it. Differences come with paired intervals where outcomes are known per item, and
plain where only a number is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from woolgather.core.artifacts import Metrics
from woolgather.core.op import op
from woolgather.core.rows import JSON
from woolgather.core.views import Unit, table, table_cell
from woolgather.ops.measure.select import difference

RATES = {"probes": "probes passed", "heldout": "held-out tasks passed"}
SHARES = {"stops": "stops by itself", "loops": "goes round in circles"}
NUMBERS = {
    "length_ratio": "length against the reference",
    "distinct_2": "distinct-2",
    "nll": "references, nats per token",
}


@op("side_by_side")
def side_by_side(first: Metrics, second: Metrics, *, names: Sequence[str], title: str) -> Metrics:
    """Returns two results of `evaluate` as one table, with a column for the second minus the first.

    `names` are those of the two, in order.

    Values: `gain` by measure (an estimate, or a number, or None where either was not measured).
    """
    gains: dict[str, Any] = {}
    rows: list[list[JSON]] = []
    told: list[str] = []

    def add(label: str, both: Sequence[JSON], gain: JSON, unit: Unit | None, of_gain: Unit) -> None:
        rows.append([label, *(table_cell(one, unit) for one in both), table_cell(gain, of_gain)])

    for key, label in RATES.items():
        found = [measure.values.get(key) for measure in (first, second)]
        rates = [one["value"] if isinstance(one, Mapping) else None for one in found]
        gain = difference(second, first, key, 1)
        gains[key] = table_cell(gain)
        add(label, rates, gain, "percent", "points")
        if gain:
            told.append(f"{label} {gain.format('+.1f', 100, ' points')}")
    families = [dict(measure.values.get("families") or {}) for measure in (first, second)]
    for family in families[0]:
        both = [found.get(family) for found in families]
        add(f"probes: {family}", both, _minus(*both), "percent", "points")
    for key, label in {**SHARES, **NUMBERS}.items():
        both = [measure.values.get(key) for measure in (first, second)]
        gains[key] = _minus(*both)
        units: tuple[Unit | None, Unit] = (
            ("percent", "points") if key in SHARES else (None, "change")
        )
        add(label, both, gains[key], *units)
    view = table(title, ["measure", *names, "difference"], rows)
    said = f"{names[1]} against {names[0]}: {', '.join(told) or 'not measured'}"
    return Metrics({"gain": gains}, views=(view,), headline=said)


def _minus(one: JSON, two: JSON) -> float | None:
    if isinstance(one, int | float) and isinstance(two, int | float):
        return round(float(two) - float(one), 3)
    return None
