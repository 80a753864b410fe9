"""What a measure shows: its values in a table, probes by family, a few answers, and what to beware of.

The one idea: a rate that says less than it seems to (answers that are missing, or were cut) has its
warning beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from woolgather.core.rows import JSON, Example
from woolgather.core.views import View, alarm, table, table_cell
from woolgather.engines.base import Completion
from woolgather.ops.measure.probe_sets import CheckedProbe
from woolgather.ops.measure.tax.answers import DRIFT

SHOWN = 12
"""Answers that a report shows."""
ABSENT, CUT = 0.05, 0.25
"""Shares of answers that are missing, or cut at the limit, above which an alarm says so."""


def measures(values: Mapping[str, JSON]) -> list[tuple[str, JSON]]:
    """Returns the main values by the names they are shown with, as cells of a table; None is not
    measured."""
    null = values["null"] or {"name": "", "rate": None}
    tiers, tier = values["tiers"] or {}, values["tier"] or "all tiers"
    shown = [
        ("probes above the best null answer", table_cell(values["above_null"], "points")),
        ("probes passed", table_cell(values["probes"], "percent")),
        ("probes passed as they stand", table_cell(values["strict"], "percent")),
        *(
            (f"probes passed, {each}", table_cell(found, "percent"))
            for each, found in tiers.items()
        ),
        (
            f"probes passed, of those that select ({tier})",
            table_cell(values["probes_select"], "percent"),
        ),
        (f"best null answer ({null['name'] or 'none'})", table_cell(null["rate"], "percent")),
        ("held-out tasks passed", table_cell(values["heldout"], "percent")),
        ("cut at the limit, and so failed", table_cell(values["unfinished"], "percent")),
        ("without an answer, and so not counted", table_cell(values["unanswered"], "percent")),
        ("stops by itself", table_cell(values["stops"], "percent")),
        ("goes round in circles", table_cell(values["loops"], "percent")),
        *((DRIFT[sign], table_cell(values.get(sign), "percent")) for sign in DRIFT),
        ("length against the reference", values["length_ratio"]),
        ("distinct-2", values["distinct_2"]),
        ("references, nats per token", values["nll"]),
        ("margin over a near miss, nats", table_cell(values["margin"])),
        ("right answer likelier than it", table_cell(values["margin_right"], "percent")),
        ("margin on held-out tasks, nats", table_cell(values["margin_heldout"])),
    ]
    asked = values["probes_select"] is not None
    return [row for row in shown if asked or "select" not in row[0]]


def describe(values: Mapping[str, JSON]) -> str:
    """Returns the pass rates and the best null answer, in a line."""
    parts = []
    for name, key in (("probes", "probes"), ("held out", "heldout")):
        if values.get(key):
            parts.append(f"{name} {100 * values[key]['value']:.1f} %")
    if values.get("null"):
        parts.append(f"best null answer {100 * values['null']['rate']:.1f} %")
    return ", ".join(parts) or "nothing to measure"


def note_endings(values: Mapping[str, JSON], max_tokens: int) -> list[View]:
    """Returns what makes the rates say less than they seem to."""
    found = []
    if (missing := values["unanswered"] or 0) > ABSENT:
        text = (
            f"{100 * missing:.0f} % of the questions got no answer: the prompt did not fit into the "
            "model's context, or the engine gave up. They count in no rate."
        )
        found.append(alarm("Questions without an answer", text))
    if (cut := values["unfinished"] or 0) > CUT:
        text = (
            f"{100 * cut:.0f} % of the answers were cut at the limit of {max_tokens} tokens, and count "
            "as failed. Set measure.max_tokens higher to see what the model would have said."
        )
        found.append(alarm("Unfinished answers", text, "note"))
    return found


def note_ids(tasks: Sequence[Example], ids: Sequence[str]) -> list[View]:
    """Returns a note where tasks have the same id."""
    again = [name for task, name in zip(tasks, ids, strict=True) if task.id and task.id != name]
    if not again:
        return []
    are = "task has an id" if len(again) == 1 else "tasks have ids"
    text = (
        f"{len(again)} held-out {are} that an earlier one has. All are measured; the first of the "
        f"later ones is called {again[0]} here. Give every task an id of its own, or none."
    )
    return [alarm("Held-out tasks with the same id", text, "note")]


def show_measures(
    values: Mapping[str, JSON],
    checked: Sequence[CheckedProbe],
    tasks: Sequence[Example],
    answers: Sequence[Completion],
) -> list[View]:
    """Returns the values in a table, the probes by family, and some answers."""
    rows = [*measures(values), ("win rate", None)]
    shown = [[name, "not measured" if value is None else value] for name, value in rows]
    out = [table("Measures", ["measure", "value"], shown, f"Prompted: {values['prompted']}.")]
    if checked:
        counts = Counter(each.probe.family for each in checked)
        families = [
            [family, table_cell(rate, "percent"), counts[family]]
            for family, rate in values["families"].items()
        ]
        out.append(table("Probes by family", ["family", "passed", "probes"], families))
        step = max(1, len(checked) // SHOWN)
        sample = [
            [o.probe.family, o.probe.instruction, o.probe.input, o.answer.text, o.verdict]
            for o in checked[::step][:SHOWN]
        ]
        columns = ["family", "instruction", "input", "answer", "check"]
        out.append(table("Some probes", columns, sample))
    if tasks:
        sample = [
            [t.instruction, t.input, a.text, t.response]
            for t, a in list(zip(tasks, answers, strict=True))[:SHOWN]
        ]
        out.append(
            table("Some held-out tasks", ["instruction", "input", "answer", "reference"], sample)
        )
    return out
