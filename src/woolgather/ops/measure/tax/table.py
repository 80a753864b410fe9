"""Tax and drift beside the base, in one table, with an alarm for whatever clearly grew.

The one idea: what a method costs is said for every iteration, also for those that are not the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from woolgather.core.artifacts import Metrics
from woolgather.core.rows import JSON
from woolgather.core.views import View, alarm, table, table_cell
from woolgather.ops.measure.harms import describe_harms, find_drift
from woolgather.ops.measure.outcomes import rate
from woolgather.ops.measure.tax.answers import DRIFT
from woolgather.ops.measure.tax.choices import compare_accuracy, find_vetoes


def warn_of_drift(models: Mapping[str, Metrics], base: Metrics) -> list[View]:
    """Returns an alarm per model that drifted from the base."""
    return [
        alarm("Drift from the base", describe_harms(name, found))
        for name, measure in models.items()
        if measure is not base and (found := find_drift(measure, base))
    ]


def show_tax(models: Mapping[str, Metrics], guards: Sequence[Metrics]) -> list[View]:
    """Returns the table of what each model knows and how it drifted, the base first, with `guards` in the
    same order; none where nothing of it was measured."""
    base, *_ = models.values()
    if not guards and not any(sign in base.items for sign in DRIFT):
        return []
    vetoes = find_vetoes(guards)
    rows: list[list[JSON]] = []
    for index, (name, measure) in enumerate(models.items()):
        known = _cells_of(guards, index) if guards else []
        shares = [table_cell(rate(measure, sign), "percent") for sign in DRIFT]
        marks = ["vetoed"] * (index in vetoes)
        marks += [f"more {harm.on}" for harm in find_drift(measure, base)] if index else []
        rows.append([name, *known, *shares, ", ".join(marks)])
    columns = [
        "model",
        *(["guard", "guard vs base"] if guards else []),
        *DRIFT,
        "clear of the base",
    ]
    return [table("Tax and drift", columns, rows, _note(guards))]


def _cells_of(guards: Sequence[Metrics], index: int) -> list[JSON]:
    change = compare_accuracy(guards, index) if index else None
    accuracy = guards[index].values["accuracy"]
    return [table_cell(accuracy, "percent"), table_cell(change, "points") if index else ""]


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
