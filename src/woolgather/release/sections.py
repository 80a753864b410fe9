"""The sections that cards have in common, as Markdown, from the records of a run.

The one idea: numbers are written by the same words as in the report, and a cell of a table never breaks
its line. Nothing that a model wrote is on a card.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from woolgather.core.rows import JSON
from woolgather.core.views import View
from woolgather.release.method import find_departures, write_command
from woolgather.release.parts import CONTROL, used_by
from woolgather.release.source import Base, describe_inputs
from woolgather.report.collect import RunReport, Step
from woolgather.report.text import aside, column, number, visible

SHORT = 12
"""Hex digits of a hash on a card; lineage.json has all."""
UNKNOWN_LICENCE = "not known here; see the base's own page"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a table; cells are values as a view has them."""
    written = [column(name, [row[i] for row in rows]) for i, name in enumerate(columns)]
    rule = ["---:" if each.numeric else "---" for each in written]
    body = zip(*(each.cells for each in written), strict=True)
    return "\n".join(map(_line, [[each.head for each in written], rule, *body]))


def write_facts(run: RunReport, base: Base) -> str:
    """Returns what ran, on what, as a table of two columns."""
    last = run.last
    known = last.provenance if last else {}
    return table(
        ("", "value"),
        [
            ("base", f"{base.name}{f' at {base.revision}' if base.revision else ''}"),
            ("licence of the base", base.licence or UNKNOWN_LICENCE),
            *describe_inputs(run),
            ("made", str(run.head.get("created", ""))[:10]),
            ("woolgather", _version(known)),
        ],
    )


def write_method(run: RunReport) -> str:
    """Returns the method, and what the recipe says of this run."""
    told = dict(_card_of(run))
    method = str(told.pop("method", "")) or f"The recipe `{run.head.get('recipe')}`"
    facts = [(k, v) for k, v in told.items() if k not in ("title", "base_model")]
    return "\n\n".join([f"{method}, as woolgather carries it out.", *_if_any(("", "value"), facts)])


def write_departures(run: RunReport) -> str:
    """Returns every way in which the run differs from its paper; empty for a method without one."""
    found = find_departures(run)
    if not found.preset:
        return ""
    parts = [f"In every preset: {found.always}"] if found.always else []
    rows = [(f"`{d.setting}`", f"`{d.paper}`", f"`{d.here}`") for d in found.settings]
    told = f"Settings, against the preset `{found.preset}`, which follows the paper:"
    if not rows:
        told = f"All settings are those of the preset `{found.preset}`, which follows the paper."
    return "\n\n".join([*parts, told, *_if_any(("setting", "paper", "here"), rows)])


def write_funnel(run: RunReport) -> str:
    """Returns how many rows each step left, and why others were set aside."""
    rows = [
        (step.record.step, step.used, aside(step.record.set_aside))
        for step in run.steps
        if step.record.kind == "dataset" and step.scope != CONTROL
    ]
    return table(("step", "rows in use", "set aside"), rows) if rows else "No step made rows."


def write_verdicts(run: RunReport) -> str:
    """Returns how many rows had which score, per step that chose by scores; empty where none did."""
    parts = [
        f"In `{step.record.step}`:\n\n{_write_histogram(view)}"
        for step in run.steps
        for view in step.views
        if view.kind == "histogram" and step.record.op == "keep" and step.scope != CONTROL
    ]
    return "\n\n".join(parts)


def write_measures(run: RunReport) -> str:
    """Returns the tables of the step that concludes: models, controls, differences with intervals."""
    step = run.verdict_step
    views = step.views if step else []
    parts = [
        "\n\n".join(filter(None, [f"### {view.title}", _write_table(view), view.note]))
        for view in views
        if view.kind == "table" and view.data["rows"]
    ]
    return "\n\n".join(parts)


def write_reproduction(run: RunReport) -> str:
    """Returns the one command, and what it needs."""
    command = write_command(run)
    if not command:
        return "The settings of this run are not known."
    needs = (
        "Files are named without their folders: put yours there. Sampling and training on another "
        "machine give other texts and weights, within the intervals above where there are any."
    )
    return f"```\n{command}\n```\n\n{needs}"


def write_lineage(run: RunReport) -> str:
    """Returns every step with the hash of what it was asked and that of its bytes."""
    rows = [
        (s.step, f"{s.op} {s.op_version}", f"`{s.fingerprint[:SHORT]}`", _short(s.digest))
        for s in (step.record for step in run.steps)
    ]
    told = (
        "A step's fingerprint is the hash of its op, its version and all that it was given, so that "
        "equal fingerprints are equal questions; `lineage.json` has them in full with what each was "
        "made from."
    )
    return f"{told}\n\n{table(('step', 'op', 'fingerprint', 'bytes'), rows)}"


def list_lineage(run: RunReport) -> list[dict[str, JSON]]:
    """Returns the steps with their hashes in full, in order."""
    return [_tell_step(step) for step in run.steps]


def _tell_step(step: Step) -> dict[str, JSON]:
    record = step.record
    return {
        "step": record.step,
        "op": record.op,
        "version": record.op_version,
        "kind": record.kind,
        "fingerprint": record.fingerprint,
        "sha256": record.digest,
        "made_from": sorted(used_by(step)),
    }


def _write_table(view: View) -> str:
    return table(view.data["columns"], view.data["rows"])


def _write_histogram(view: View) -> str:
    """The bins that hold anything, and beside them the count of each series."""
    edges, series = view.data["edges"], view.data["series"]
    rows = [
        (f"{number(edges[i])} to {number(edges[i + 1])}", *counts)
        for i, counts in enumerate(zip(*series.values(), strict=True))
        if any(counts)
    ]
    parts = [table((view.data.get("x") or "score", *series), rows), view.note]
    return "\n\n".join(filter(None, parts))


def _card_of(run: RunReport) -> Iterator[tuple[str, JSON]]:
    """What the recipe wrote on the result's card."""
    for step in run.steps:
        payload = step.record.payload
        args = payload.get("args") if isinstance(payload, Mapping) else None
        card = args.get("card") if isinstance(args, Mapping) else None
        if isinstance(card, Mapping):
            # Stored in the order of the alphabet, which is no order to read in.
            yield from sorted(card.items(), key=lambda item: item[0] != "method")


def _version(known: Mapping[str, JSON]) -> str:
    git = known.get("git")
    commit = str(git.get("commit") or "")[:10] if isinstance(git, Mapping) else ""
    return f"{known.get('woolgather', '')}{f' at {commit}' if commit else ''}"


def _if_any(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [table(columns, rows)] if rows else []


def _short(hash_: str) -> str:
    return f"`{hash_[:SHORT]}`" if hash_ else ""


def _line(cells: Sequence[str]) -> str:
    clean = (visible(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(cell.replace('<', '&lt;') for cell in clean)} |"
