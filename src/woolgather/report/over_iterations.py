"""The numbers that move from iteration to iteration, as series.

The one idea: steps of one name in several iterations belong together, whatever they are called. A
number that is the same everywhere is told apart, not drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from woolgather.report.collect import RunReport, Step
from woolgather.report.text import flatten, is_estimate, is_number, values_of, words

FAMILY = 6
"""A value with more parts than this is a table of its own, not a group of series."""
Line = tuple[str, list[tuple[str, object]]]
"""A measure, and its value at each iteration."""


def series(run: RunReport) -> list[tuple[str, tuple[float, float] | None, list[Line]]]:
    """Returns groups of series over iterations: (heading, range of the axis if it is known, lines).

    A group has every number that metrics of one name have in at least two places; the last has the
    share of rows that each step kept. A step of the root that shares the name comes first, as
    "before".
    """
    shares: list[Line] = []
    groups: list[tuple[str, tuple[float, float] | None, list[Line]]] = []
    for name, steps in _by_name(run).items():
        if len(steps) < 2:
            continue
        if steps[0].record.kind == "dataset" and any(step.lost for step in steps):
            line: list[tuple[str, object]] = [
                (short(s), s.used / (s.used + s.lost) if s.used + s.lost else None) for s in steps
            ]
            shares.append((name, line))
        elif all(step.record.kind == "metrics" for step in steps):
            found = _measures(steps)
            if found:
                groups.append((f"step {words(name)}", None, found))
    return [*groups, *([("share of rows kept, by step", (0.0, 1.0), shares)] if shares else [])]


def short(step: Step) -> str:
    """Returns the scope of a step, "before" for a step of the root."""
    return step.scope or "before"


def _by_name(run: RunReport) -> dict[str, list[Step]]:
    """Steps by the last word of their name and the scope around their iteration, if in any. A scope that
    begins after the last iteration, such as a control, is not on the way."""
    loop = run.iterations or run.stages or run.scopes
    after = run.scopes[run.scopes.index(loop[-1]) + 1 :] if loop else []
    found: dict[str, list[Step]] = {}
    for step in run.steps:
        if step.scope not in after:
            found.setdefault(step.name, []).append(step)
    return {
        name: [s for s in steps if s.record.kind == steps[-1].record.kind]
        for name, steps in found.items()
        if any(step.scope for step in steps)
    }


def is_flat(line: Line) -> bool:
    """Returns whether a measure is the same everywhere, and known without an interval."""
    known = [value for _, value in line[1] if value is not None]
    middles = {v["value"] if is_estimate(v) else v for v in known}
    return len(middles) == 1 and all(
        not is_estimate(v) or v["low"] == v["value"] == v["high"] for v in known
    )


def _measures(steps: Sequence[Step]) -> list[Line]:
    columns = [dict(numbers_of(values_of(step.record))) for step in steps]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    lines = [
        (key, [(short(s), column.get(key)) for s, column in zip(steps, columns, strict=True)])
        for key in keys
    ]
    return [(key, line) for key, line in lines if sum(v is not None for _, v in line) > 1]


def numbers_of(values: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yields the numbers and estimates among what a step measured, by dotted key; those of a value with
    many parts are left out."""
    for key, value in values.items():
        if is_number(value) or is_estimate(value):
            yield key, value
        elif isinstance(value, Mapping) and len(value) <= FAMILY:
            for inner, leaf in flatten(value, key):
                if is_number(leaf) or is_estimate(leaf):
                    yield inner, leaf
