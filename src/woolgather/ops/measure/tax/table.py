"""Tax and drift beside the base, in one table, with an alarm for whatever clearly grew.

The one idea: what a method costs is said for every iteration, also for those that are not the result.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from woolgather.core.artifacts import Metrics
from woolgather.core.rows import JSON
from woolgather.core.views import View, alarm, table, table_cell
from woolgather.ops.measure.harms import describe_harms, find_drift
from woolgather.ops.measure.outcomes import rate
from woolgather.ops.measure.tax.answers import DRIFT
from woolgather.ops.measure.tax.choices import compare_accuracy, find_loss


def warn_of_drift(models: Mapping[str, Metrics], base: Metrics) -> list[View]:
    """Returns an alarm per model that drifted from the base."""
    return [
        alarm("Drift from the base", describe_harms(name, found))
        for name, measure in models.items()
        if measure is not base and (found := find_drift(measure, base))
    ]


def show_tax(
    models: Mapping[str, Metrics], guards: Mapping[str, Metrics], controls: Container[str] = ()
) -> list[View]:
    """Returns the table of what each model knows and how it drifted, the base first, with the `guards` by
    the same names; `controls` are those that no guard vetoes. None where nothing of it was measured."""
    base, *_ = models.values()
    if not guards and not any(sign in base.items for sign in DRIFT):
        return []
    asked = list(guards.values())[:1]
    rows: list[list[JSON]] = []
    for name, measure in models.items():
        known = _cells_of(guards[name], *asked) if guards else []
        shares = [table_cell(rate(measure, sign), "percent") for sign in DRIFT]
        veto = "would be vetoed" if name in controls else "vetoed"
        marks = [veto for first in asked if find_loss(guards[name], first)]
        marks += [f"more {harm.on}" for harm in find_drift(measure, base)]
        rows.append([name, *known, *shares, ", ".join(marks)])
    columns = [
        "model",
        *(["guard", "guard vs base"] if guards else []),
        *DRIFT,
        "clear of the base",
    ]
    return [table("Tax and drift", columns, rows, _note(asked))]


def _cells_of(guard: Metrics, base: Metrics) -> list[JSON]:
    change = table_cell(compare_accuracy(guard, base), "points") if guard is not base else ""
    return [table_cell(guard.values["accuracy"], "percent"), change]


def _note(guards: Sequence[Metrics]) -> str:
    guard = "Without measure.guard what the base knows was not guarded. "
    if guards:
        values = guards[0].values
        guard = (
            f"Guard: {values['questions']} multiple-choice questions, {100 * values['chance']:.1f} % by "
            f"guessing; a candidate that loses clearly more than {100 * values['margin']:g} points is "
            "vetoed. "
        )
    signs = "; ".join(f"{sign}: {name}" for sign, name in DRIFT.items())
    return f"{guard}{signs[0].upper()}{signs[1:]}. These are read by rough rules, alike for all models."
