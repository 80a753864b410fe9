"""Drawings that several iterations have, by one title, as drawings over all of them.

The one idea: what is laid over one another must be readable and have the same axes. Lines that would be
too many get a drawing for each of their names, and so do the series of a histogram; what each line came
to in the end is drawn by iteration; what is the same in every iteration is drawn once, behind; and maps
are laid together only where they share what they are seen against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from woolgather.core.rows import JSON
from woolgather.core.views import View, put_behind
from woolgather.report.charts import COLOURS
from woolgather.report.collect import RunReport
from woolgather.report.over_iterations import short
from woolgather.report.text import is_number, words
from woolgather.report.view_data import Coordinates, CurveData, HistogramData, ScatterData

BINS = 16
"""Bins of histograms that are drawn together and have bins of their own."""
LINES = 6
"""At most so many lines are drawn over one another, when each iteration has several."""
END = 0.25
"""Share of a line's points, the last ones, whose mean is what it came to."""


@dataclass(frozen=True)
class Part:
    """A drawing of one iteration."""

    name: str
    """The scope, such as "iter0", or "before"."""
    view: View
    iteration: int | None = None
    """Its number, where the scope is an iteration of a loop."""


def overlays(run: RunReport) -> list[View]:
    """Returns the histograms, curves and maps that several scopes share by title, over all of them."""
    found: dict[tuple[str, str, str], list[Part]] = {}
    for step in run.steps:
        for view in step.views:
            if view.kind in _LAY and step.scope:
                part = Part(short(step), view, step.place[1])
                found.setdefault((view.kind, step.name, view.title), []).append(part)
    return [
        view
        for (_, name, _), parts in found.items()
        if 2 <= len(parts) <= COLOURS
        for view in lay_over(name, parts)
    ]


def lay_over(step: str, parts: Sequence[Part]) -> list[View]:
    """Returns the drawings over all `parts`, which are views of one title that steps of the name `step`
    have; none where their data are broken."""
    try:
        return list(_LAY[parts[0].view.kind](f"Step {words(step)}, each iteration", parts))
    except (ValueError, ZeroDivisionError):
        return []


def _lay_curves(step: str, parts: Sequence[Part]) -> Iterator[View]:
    """All lines in one drawing where they are few, otherwise a drawing for each name of a line; then what
    the lines came to, by iteration."""
    title = parts[0].view.title
    curves = {part.name: CurveData.model_validate(part.view.data) for part in parts}
    first, names = next(iter(curves.values())), _names(drawn.series for drawn in curves.values())
    axes: dict[str, JSON] = {"x": first.x, "y": first.y}
    for kept in [names] if len(names) * len(parts) <= LINES else [[name] for name in names]:
        lines = {
            f"{part} {name}" if len(kept) > 1 else part: drawn.series[name]
            for part, drawn in curves.items()
            for name in kept
            if drawn.series.get(name)
        }
        if kept != names and all(len(line) < 2 for line in lines.values()):
            continue  # a single point has its place in the drawing by iteration
        shown = title if kept == names else f"{title}: {kept[0]}"
        yield View("curve", shown, {**axes, "series": lines}, _note(step, parts))
    ends = {
        name: [
            [float(part.iteration), end]
            for part in parts
            if part.iteration is not None
            and (end := _end(curves[part.name].series.get(name, []))) is not None
        ]
        for name in names
    }
    if any(len(line) > 1 for line in ends.values()):
        data: dict[str, JSON] = {"series": ends, "x": "iteration", "y": first.y}
        lead = f"{step}: the mean over the last quarter of its {first.x or 'point'}s"
        yield View("curve", f"{title}, by iteration", data, _note(lead, parts))


def _end(points: Sequence[Coordinates]) -> float | None:
    """The mean of the last quarter of a line, at least of one point; None for a line without one."""
    known = [float(y) for _, y, *_ in points if is_number(y)]
    return fmean(known[-max(1, int(len(known) * END)) :]) if known else None


def _lay_histograms(step: str, parts: Sequence[Part]) -> Iterator[View]:
    """A drawing for each series, in common bins; what is the same in every iteration stands in each of
    them, once."""
    title = parts[0].view.title
    bars = {part.name: HistogramData.model_validate(part.view.data) for part in parts}
    names = _names(drawn.series for drawn in bars.values())
    fixed = [name for name in names if len(names) > 1 and _is_fixed(name, list(bars.values()))]
    edges, first = _common_edges(bars), next(iter(bars.values()))
    for name in names:
        having = {part: drawn for part, drawn in bars.items() if name in drawn.series}
        if name in fixed or len(having) < 2:
            continue
        series = {part: _rebin(drawn, name, edges) for part, drawn in having.items()}
        series |= {each: _rebin(first, each, edges) for each in fixed}
        shown = title if len(names) - len(fixed) == 1 else f"{title}: {name}"
        data: dict[str, JSON] = {"edges": edges, "series": series, "x": first.x}
        view = View("histogram", shown, data, _note(step, parts))
        yield put_behind(view, fixed[0]) if fixed else view


def _is_fixed(name: str, bars: Sequence[HistogramData]) -> bool:
    """Whether a series is the same in all histograms."""
    every = {(*drawn.edges, *drawn.series.get(name, ())) for drawn in bars}
    return len(every) == 1


def _common_edges(bars: Mapping[str, HistogramData]) -> Sequence[float]:
    """The edges that all have; bins around whole numbers, where all have such; or equal bins over the
    whole range."""
    first = next(iter(bars.values())).edges
    if all(drawn.edges == first for drawn in bars.values()):
        return first
    ends = [edge for drawn in bars.values() for edge in drawn.edges]
    low, high = min(ends), max(ends)
    around = all(
        (a + 0.5).is_integer() and b - a == 1
        for drawn in bars.values()
        for a, b in pairwise(map(float, drawn.edges))
    )
    bins = round(high - low) if around else BINS
    return [low + (high - low) * i / bins for i in range(bins + 1)]


def _rebin(drawn: HistogramData, name: str, onto: Sequence[float]) -> list[float]:
    """Counts of a series over other bins, each old bin's spread evenly over those it overlaps."""
    edges, counts = drawn.edges, drawn.series[name]
    if edges == onto:
        return list(counts)
    out = [0.0] * (len(onto) - 1)
    for a, b, count in zip(edges, edges[1:], counts, strict=False):
        for i, (low, high) in enumerate(pairwise(onto)):
            shared = min(b, high) - max(a, low)
            if shared > 0:
                out[i] += count * shared / (b - a)
    return out


def _lay_scatters(step: str, parts: Sequence[Part]) -> Iterator[View]:
    """All groups over the one that they are seen against, where that lies at the same places in all."""
    maps = {part.name: ScatterData.model_validate(part.view.data) for part in parts}
    first = next(iter(maps.values()))
    behind = first.groups.get(first.behind)
    if not behind or any(drawn.groups.get(first.behind) != behind for drawn in maps.values()):
        return
    groups: dict[str, JSON] = {}
    labels: dict[str, JSON] = {}
    for part, drawn in maps.items():
        own = [name for name in drawn.groups if name != first.behind]
        for name in own:
            shown = f"{part} {name}" if len(own) > 1 else part
            groups[shown], labels[shown] = drawn.groups[name], drawn.labels.get(name, [])
    groups[first.behind], labels[first.behind] = behind, first.labels.get(first.behind, [])
    data: dict[str, JSON] = {"groups": groups, "labels": labels, "x": first.x, "y": first.y}
    yield put_behind(View("scatter", parts[0].view.title, data, _note(step, parts)), first.behind)


def _note(lead: str, parts: Sequence[Part]) -> str:
    """What is drawn, and the notes of the drawings it is made of: once where they say the same."""
    saying: dict[str, list[str]] = {}
    for part in parts:
        if part.view.note:
            saying.setdefault(part.view.note, []).append(part.name)
    notes = [f"{', '.join(names)}: {note}" for note, names in saying.items()]
    if len(saying) == 1:
        notes = list(saying)
    return " ".join([f"{lead}.", *notes])


def _names(series: Iterable[Mapping[str, object]]) -> list[str]:
    """Every name of a series once, in order."""
    return list(dict.fromkeys(name for names in series for name in names))


_LAY: Mapping[str, Callable[[str, Sequence[Part]], Iterator[View]]] = {
    "curve": _lay_curves,
    "histogram": _lay_histograms,
    "scatter": _lay_scatters,
}
