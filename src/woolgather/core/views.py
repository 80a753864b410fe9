"""Small tables an op chose to show. Report, status and compare draw the kinds and know nothing else.

An op that yields rows returns its views (`return [histogram(...)]` at the end of the generator); one
that returns an artifact puts them into its `views`. Kinds and the shape of `data`:

    funnel     {"stages": [[name, count], ...], "reasons": {reason: count}}
    histogram  {"edges": [e0..en], "series": {name: [c1..cn]}, "x": label, "behind": name}
    curve      {"series": {name: [[x, y], ...]}, "x": label, "y": label}
    scatter    {"groups": {name: [[x, y], ...]}, "x": label, "y": label, "labels": {name: [text, ...]},
                "behind": name}
    table      {"columns": [name, ...], "rows": [[cell, ...], ...]}
    alarm      {"text": what to know, "level": "note" | "warning" | "error"}

A cell is a text, a number, null (not known), or a quantity: {"value"}, with {"low", "high"} where it
is an estimate and {"unit"} where it has one. Numbers stay as they were computed; whoever draws the
table scales and rounds them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from woolgather.core.intervals import Estimate
from woolgather.core.rows import JSON

T = TypeVar("T")
ViewKind = Literal["funnel", "histogram", "curve", "scatter", "table", "alarm"]
Unit = Literal["percent", "points", "score", "change"]
"""What a quantity is: a share of 1 (percent), a difference of shares (points, with their sign), another
measure between 0 and 1 such as an AUC (score), another difference (change, with its sign)."""
Level = Literal["note", "warning", "error"]
MAX_POINTS = 2000
"""Points kept of one series; longer ones are thinned evenly, first and last kept."""


@dataclass(frozen=True, slots=True)
class View:
    """One drawing or table, under a title."""

    kind: ViewKind
    title: str
    data: Mapping[str, JSON]
    note: str = ""
    """One sentence below the drawing."""


def funnel(
    title: str,
    stages: Sequence[tuple[str, int]],
    reasons: Mapping[str, int] | None = None,
    note: str = "",
) -> View:
    """Returns how many rows each stage left, and by reason how many were set aside."""
    return View(
        "funnel", title, {"stages": [list(s) for s in stages], "reasons": dict(reasons or {})}, note
    )


def histogram(
    title: str,
    series: Mapping[str, Iterable[float]],
    *,
    edges: Sequence[float] | None = None,
    bins: int = 20,
    x: str = "",
    note: str = "",
) -> View:
    """Returns counts per bin: those between `edges`, or a bin for each number where all are whole and
    few, or `bins` equal ones over the range. The last bin is closed.

    What is not finite, or outside of given edges, is in no bin.
    """
    values = {name: [float(v) for v in vs if math.isfinite(v)] for name, vs in series.items()}
    if edges is None:
        every = [v for vs in values.values() for v in vs] or [0.0]
        low, high = min(every), max(every)
        if low < high < low + bins and all(v.is_integer() for v in every):
            bins, low, high = int(high - low) + 1, low - 0.5, high + 0.5
        elif high <= low:
            high = low + 1.0
        edges = [low + (high - low) * i / bins for i in range(bins + 1)]
    counts = {name: _counts(vs, edges) for name, vs in values.items()}
    return View("histogram", title, {"edges": list(edges), "series": counts, "x": x}, note)


def curve(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str = "",
    y: str = "",
    note: str = "",
) -> View:
    """Returns lines through the (x, y) points of each series, thinned to `MAX_POINTS`."""
    thinned = {name: [list(p) for p in _thin(points)] for name, points in series.items()}
    return View("curve", title, {"series": thinned, "x": x, "y": y}, note)


def scatter(
    title: str,
    groups: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str = "",
    y: str = "",
    labels: Mapping[str, Sequence[str]] | None = None,
    note: str = "",
) -> View:
    """Returns the (x, y) points of each group, thinned to `MAX_POINTS`, with a text per point where
    `labels` has them."""
    thinned = {name: [list(p) for p in _thin(points)] for name, points in groups.items()}
    texts = {name: list(_thin(t)) for name, t in (labels or {}).items()}
    return View("scatter", title, {"groups": thinned, "x": x, "y": y, "labels": texts}, note)


def put_behind(view: View, group: str) -> View:
    """Returns a scatter or histogram in which the others are seen against this group or series. Scatters
    that share it, point for point, have the same axes, and may be laid over one another."""
    return replace(view, data={**view.data, "behind": group})


def table_cell(
    value: Estimate | Mapping[str, JSON] | float | None, unit: Unit | None = None
) -> JSON:
    """Returns a table's cell for a number or an estimate (or the JSON form of one); None stays None."""
    if isinstance(value, Estimate):
        value = value.json()
    if value is None or (unit is None and not isinstance(value, Mapping)):
        return value
    found = value if isinstance(value, Mapping) else {"value": value}
    return {**found, "unit": unit} if unit else dict(found)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[JSON]], note: str = ""
) -> View:
    """Returns a table; each row has a cell per column."""
    return View("table", title, {"columns": list(columns), "rows": [list(r) for r in rows]}, note)


def alarm(title: str, text: str, level: Level = "warning") -> View:
    """Returns something that the user should know, by how much it matters."""
    return View("alarm", title, {"text": text, "level": level})


def _counts(values: Iterable[float], edges: Sequence[float]) -> list[int]:
    from bisect import bisect_right

    counts = [0] * (len(edges) - 1)
    for v in values:
        if edges[0] <= v <= edges[-1]:
            counts[min(bisect_right(edges, v) - 1, len(counts) - 1)] += 1
    return counts


def _thin(points: Sequence[T]) -> Sequence[T]:
    if len(points) <= MAX_POINTS:
        return points
    step = (len(points) - 1) / (MAX_POINTS - 1)
    return [points[round(i * step)] for i in range(MAX_POINTS)]
