"""Lines over the values of a setting, each point with its interval.

The one idea: values stand where they lie when they are numbers that can be told apart on one axis, and
side by side otherwise. An interval is a thin line through its point, moved a little aside where lines
of several settings would cover each other.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise

from markupsafe import Markup

from woolgather.report.charts import COLOURS
from woolgather.report.frame import Axis, Frame, value_range
from woolgather.report.sweep.table import PointReport, SweepReport
from woolgather.report.text import cell, is_estimate, is_number, parts_of, visible

CROWDED = 0.04
"""Share of the axis that two values must be apart to stand where they lie."""
ASIDE = 0.012
"""Share of the axis between the points of two lines at one value."""


@dataclass(frozen=True)
class Figure:
    """Lines over a setting's values."""

    name: str
    """What its files are called."""
    title: str
    x: str
    """The setting."""
    values: Sequence[str]
    """The setting's values, in order."""
    lines: Mapping[str, Sequence[object]]
    """A number, an estimate or None for each value."""
    level: object = None
    """Something that all are compared with, drawn as a level line; None without one."""


def figures(sweep: SweepReport) -> list[Figure]:
    """Returns the measure that is shown, and the rows kept, over the first setting that is swept.

    A line stands for the other settings' values, in a figure for each iteration; with one setting alone,
    for an iteration. Nothing is drawn where replicates alone were swept."""
    if not sweep.keys:
        return []
    what = sweep.measure.partition(": ")[2]
    found = [_Plotted("measure", what, sweep.measured, sweep.base)] if what else []
    found += [_Plotted("rows", f"{sweep.filter}: rows kept", sweep.kept)] if sweep.filter else []
    return [figure for shown in found for figure in _figures(sweep, shown)]


@dataclass(frozen=True)
class _Plotted:
    name: str
    label: str
    value: Callable[[Sequence[PointReport], str], object]
    level: object = None


def _figures(sweep: SweepReport, shown: _Plotted) -> list[Figure]:
    key, *others = sweep.keys
    values = list(sweep.record.axes[key])
    lines: dict[str, dict[str, list[object]]] = {}
    for place in sweep.places:
        for found, points in sweep.settings.items():
            other = ", ".join(f"{k}={v}" for k, v in zip(others, found[1:], strict=True))
            figure, line = (place, other) if others else ("", place)
            empty: list[object] = [None] * len(values)
            own = lines.setdefault(figure, {}).setdefault(line, empty)
            own[values.index(found[0])] = shown.value(points, place)
    return [
        Figure(
            f"{shown.name}-{place}" if place else shown.name,
            f"{shown.label}, {place}" if place else shown.label,
            key, values, drawn, shown.level,
        )
        for place, drawn in lines.items()
        if any(value is not None for line in drawn.values() for value in line)
    ]  # fmt: skip


def positions(values: Sequence[str]) -> list[float]:
    """Returns where values stand: at themselves, or at 0, 1, 2, ... where they are no numbers, do not
    rise, or lie too close together."""
    try:
        found = [float(value) for value in values]
    except ValueError:
        found = []
    gaps = [b - a for a, b in pairwise(found)]
    if gaps and min(gaps) > CROWDED * (found[-1] - found[0]):
        return found
    return [float(i) for i in range(len(values))]


def draw(figure: Figure) -> Markup:
    """Returns the drawing, without its legend."""
    places = positions(figure.values)
    span = (places[-1] - places[0]) or 1.0
    every = [*(value for line in figure.lines.values() for value in line), figure.level]
    ends = [float(part) for value in every for part in parts_of(value) if is_number(part)]
    estimated = any(map(is_estimate, every))
    frame = Frame(
        Axis(places[0] - 0.06 * span, places[-1] + 0.06 * span, figure.x, marked=False),
        Axis(*value_range(ends, pad=0.08), whole=not estimated),
    )
    body = []
    if is_number(level := _middle(figure.level)):
        sides = [(side, float(level)) for side in (frame.across.low, frame.across.high)]
        body.append(frame.line(sides, "level", f"base: {cell(figure.level)}"))
    for i, name in enumerate(figure.lines):
        # Lines lie around the value they stand for, the middle one on it.
        moved = (i - (len(figure.lines) - 1) / 2) * ASIDE * span if estimated else 0.0
        body += _line(frame, figure, name, f"s{i % COLOURS}", [x + moved for x in places])
    under = frame.height - frame.bottom + 17
    body += [
        frame.text(frame.x(x), under, visible(value, 14), "tick", "mid")
        for x, value in zip(places, figure.values, strict=True)
    ]
    return frame.svg(body, f"{figure.title}, over {figure.x}")


def _line(
    frame: Frame, figure: Figure, name: str, colour: str, places: Sequence[float]
) -> list[Markup]:
    """One line, and over it a point with its interval for each value that is known."""
    points, marks = [], []
    for x, written, value in zip(places, figure.values, figure.lines[name], strict=True):
        middle = _middle(value)
        if not is_number(middle):
            continue
        points.append((x, float(middle)))
        if is_estimate(value) and is_number(value["low"]) and is_number(value["high"]):
            marks.append(frame.line([(x, value["low"]), (x, value["high"])], f"{colour} whisker"))
        tip = f"{figure.x}={written}{', ' + name if name else ''}: {cell(value)}"
        marks.append(frame.dot(points[-1], colour, 3.2, visible(tip, 160)))
    return [frame.line(points, colour, name), *marks]


def write_csv(figure: Figure) -> str:
    """Returns the figure's numbers: a row per value and line, an estimate with its ends."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([figure.x, "line", "value", "low", "high"])
    for name, line in figure.lines.items():
        for value, found in zip(figure.values, line, strict=True):
            if found is not None:
                ends = [found["low"], found["high"]] if is_estimate(found) else ["", ""]
                writer.writerow([value, name, _middle(found), *ends])
    return out.getvalue()


def _middle(value: object) -> object:
    return value["value"] if is_estimate(value) else value
