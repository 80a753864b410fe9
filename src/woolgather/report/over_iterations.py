"""What moves from iteration to iteration: numbers as series, and drawings of one title as one.

The one idea: steps of one name in several iterations belong together, whatever they are called. A
number that is the same everywhere is told apart, not drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from woolgather.core.rows import JSON
from woolgather.core.views import View
from woolgather.report.collect import RunReport, Step
from woolgather.report.text import flatten, is_estimate, is_number, values_of, words
from woolgather.report.view_data import CurveData, HistogramData

FAMILY = 6
"""A value with more parts than this is a table of its own, not a group of series."""
BINS = 16
"""Bins of histograms that are drawn together and have bins of their own."""
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


LINES = 6
"""At most so many lines are drawn over one another, when each iteration has several."""


def overlays(run: RunReport) -> list[View]:
    """Returns the histograms and curves that several iterations share by title, drawn over one
    another."""
    found: dict[tuple[str, str, str], list[tuple[str, View]]] = {}
    for step in run.steps:
        for view in step.views:
            if view.kind in ("histogram", "curve") and step.scope and view.data.get("series"):
                found.setdefault((view.kind, step.name, view.title), []).append((short(step), view))
    drawn = [
        _overlay(title, name, parts)
        for (_, name, title), parts in found.items()
        if 2 <= len(parts) <= 8
    ]
    return [view for view in drawn if view is not None]


def short(step: Step) -> str:
    """Returns the scope of a step, "before" for a step of the root."""
    return step.scope or "before"


def _overlay(title: str, step: str, parts: Sequence[tuple[str, View]]) -> View | None:
    """Views of one title as one drawing; None where their data are broken."""
    note = f"Step {words(step)}, each iteration"
    try:
        if parts[0][1].kind == "curve":
            curves = {name: CurveData.model_validate(view.data) for name, view in parts}
            return _overlay_curves(title, note, curves)
        bars = {name: HistogramData.model_validate(view.data) for name, view in parts}
        return _overlay_histograms(title, note, bars)
    except (ValueError, ZeroDivisionError):
        return None


def _overlay_curves(title: str, note: str, curves: Mapping[str, CurveData]) -> View:
    """All lines where they are few, otherwise the first of each iteration."""
    first = next(iter(curves.values()))
    lines = {
        f"{name} {series}": points
        for name, drawn in curves.items()
        for series, points in drawn.series.items()
    }
    shown, several = next(iter(first.series)), len(lines) > len(curves)
    if not several or len(lines) > LINES:
        lines = {name: next(iter(drawn.series.values())) for name, drawn in curves.items()}
        note += f": {shown}" if several else ""
    data: dict[str, JSON] = {"series": lines, "x": first.x, "y": first.y}
    return View("curve", title, data, f"{note}.")


def _overlay_histograms(title: str, note: str, bars: Mapping[str, HistogramData]) -> View:
    """The first series of each iteration, in common bins."""
    first = next(iter(bars.values()))
    if any(len(drawn.series) > 1 for drawn in bars.values()):
        note += f": {next(iter(first.series))}"
    edges = first.edges
    counts = {name: next(iter(drawn.series.values())) for name, drawn in bars.items()}
    if any(drawn.edges != edges for drawn in bars.values()):
        ends = [edge for drawn in bars.values() for edge in drawn.edges]
        low, high = min(ends), max(ends)
        edges = [low + (high - low) * i / BINS for i in range(BINS + 1)]
        counts = {name: _rebin(drawn.edges, counts[name], edges) for name, drawn in bars.items()}
    data: dict[str, JSON] = {"edges": edges, "series": counts, "x": first.x}
    return View("histogram", title, data, f"{note}.")


def _rebin(edges: Sequence[float], counts: Sequence[float], onto: Sequence[float]) -> list[float]:
    """Counts over other bins, each old bin's spread evenly over those it overlaps."""
    out = [0.0] * (len(onto) - 1)
    for a, b, count in zip(edges, edges[1:], counts, strict=False):
        for i, (low, high) in enumerate(pairwise(onto)):
            shared = min(b, high) - max(a, low)
            if shared > 0:
                out[i] += count * shared / (b - a)
    return out


def _by_name(run: RunReport) -> dict[str, list[Step]]:
    """Steps by the last word of their name and the scope around their iteration, if in any."""
    found: dict[str, list[Step]] = {}
    for step in run.steps:
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
