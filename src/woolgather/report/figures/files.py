"""The drawings of a run as files: an SVG that stands by itself, and its numbers as CSV.

The one idea: what the page draws, a paper may want to print or draw anew. Whatever is drawn on the page
comes, also what is drawn over several iterations; a table comes as CSV alone.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from markupsafe import Markup

from woolgather.core.views import View
from woolgather.report import charts, collect, over_iterations
from woolgather.report.collect import RunReport
from woolgather.report.figures.overlays import overlays
from woolgather.report.figures.svg_file import draw_bars, write_svg
from woolgather.report.headroom import read_headroom
from woolgather.report.text import cell, is_estimate, is_number, measure_name
from woolgather.report.view_data import (
    CurveData,
    FunnelData,
    HistogramData,
    ScatterData,
    TableData,
)
from woolgather.report.votes.tally import read_tallies

Rows = Iterable[Sequence[object]]
_SVG = re.compile(r"<svg class=\"?chart.*?</svg>", re.S)


@dataclass(frozen=True)
class FigureFile:
    """A drawing with its numbers; a table has no drawing."""

    name: str
    """What its files are called, but for signs that a file's name should not have."""
    csv: str
    svg: str = ""


def write_figures(run_dir: Path, folder: Path) -> list[Path]:
    """Writes every drawing and table of a run to `folder`: `STEP-TITLE.svg` and `.csv`, tables as CSV
    alone, and `all-TITLE` for what iterations share. Returns the paths. Raises RunDirError when `run_dir`
    is no run directory."""
    run = collect.read_run_dir(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    names: dict[str, int] = {}
    for figure in _list_figures(run):
        name = re.sub(r"[^a-z0-9]+", "-", figure.name.lower()).strip("-")
        names[name] = names.get(name, 0) + 1
        stem = folder / (f"{name}-{names[name]}" if names[name] > 1 else name)
        for suffix, content in ((".csv", figure.csv), (".svg", figure.svg)):
            if content:
                path = stem.with_name(stem.name + suffix)
                path.write_text(content, encoding="utf-8", errors="replace")
                written.append(path)
    return written


def _list_figures(run: RunReport) -> Iterator[FigureFile]:
    """Yields all that the page draws, and has as tables."""
    headroom = read_headroom(run.path)
    views = [("headroom", view) for view in (headroom.views if headroom else ())]
    views += [("votes", view) for tally in read_tallies(run.path) for view in tally.views()]
    views += [(step.record.step, view) for step in run.steps for view in step.views]
    views += [("all", view) for view in overlays(run)]
    for where, view in views:
        if numbers := _numbers(view):
            yield FigureFile(f"{where} {view.title}", numbers, _draw(view))
    for group, within, lines in over_iterations.series(run):
        for line in lines:
            if not over_iterations.is_flat(line):
                title = f"{group}: {measure_name(line[0])}"
                drawing = write_svg(charts.trend(*line, within), title=title)
                yield FigureFile(f"over iterations {title}", _as_csv(_trend_rows(line)), drawing)


def _draw(view: View) -> str:
    """The drawing as a file; empty for a table."""
    if view.kind == "funnel":
        return write_svg(draw_bars(FunnelData.model_validate(view.data)), title=view.title)
    found = _SVG.search(charts.draw(view))
    return write_svg(Markup(found[0]), _legend(view), view.title) if found else ""


def _legend(view: View) -> Mapping[str, str]:
    named: Mapping[str, object] = view.data.get("series") or view.data.get("groups") or {}
    behind = str(view.data.get("behind") or "")
    return charts.colours(named, behind) if len(named) > 1 else {}


def _numbers(view: View) -> str | None:
    """Returns the numbers of a view as CSV; None for one of another kind, without numbers, or with broken
    data."""
    try:
        rows = list(_ROWS[view.kind](view.data)) if view.kind in _ROWS else []
    except (ValueError, TypeError, IndexError):
        return None
    return _as_csv(rows) if len(rows) > 1 else None


def _as_csv(rows: Rows) -> str:
    out = StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _funnel_rows(raw: Mapping[str, object]) -> Iterator[Sequence[object]]:
    data = FunnelData.model_validate(raw)
    yield ["", "name", "rows"]
    yield from (["stage", name, count] for name, count in data.stages)
    yield from (["set aside", name, count] for name, count in data.reasons.items())


def _trend_rows(line: over_iterations.Line) -> Iterator[Sequence[object]]:
    """Yields a measure at each iteration, an estimate with its ends."""
    name, points = line
    wide = any(is_estimate(value) for _, value in points)
    yield ["iteration", name, *(["low", "high"] if wide else [])]
    yield from ([place, *_spread(value, wide)] for place, value in points)


def _histogram_rows(raw: Mapping[str, object]) -> Iterator[Sequence[object]]:
    data = HistogramData.model_validate(raw)
    yield ["from", "to", *data.series]
    for i, (low, high) in enumerate(zip(data.edges, data.edges[1:], strict=False)):
        yield [low, high, *(counts[i] for counts in data.series.values())]


def _curve_rows(raw: Mapping[str, object]) -> Iterator[Sequence[object]]:
    data = CurveData.model_validate(raw)
    yield ["line", data.x or "x", data.y or "y"]
    for name, points in data.series.items():
        yield from ([name, *point[:2]] for point in points)


def _scatter_rows(raw: Mapping[str, object]) -> Iterator[Sequence[object]]:
    data = ScatterData.model_validate(raw)
    yield ["group", data.x or "x", data.y or "y", *(["text"] if data.labels else [])]
    for name, points in data.groups.items():
        texts = data.labels.get(name, ())
        for i, point in enumerate(points):
            label = [_plain(texts[i]) if i < len(texts) else ""] if data.labels else []
            yield [name, *point[:2], *label]


def _table_rows(raw: Mapping[str, object]) -> Iterator[Sequence[object]]:
    """Yields a table's rows; an estimate has three columns, itself and its ends."""
    data = TableData.model_validate(raw)
    wide = [any(is_estimate(row[i]) for row in data.rows) for i in range(len(data.columns))]
    yield [
        title
        for name, is_wide in zip(data.columns, wide, strict=True)
        for title in ([name, f"{name} low", f"{name} high"] if is_wide else [name])
    ]
    for row in data.rows:
        yield [value for v, is_wide in zip(row, wide, strict=True) for value in _spread(v, is_wide)]


def _spread(value: object, wide: bool) -> Sequence[object]:
    if isinstance(value, Mapping):
        ends = [value.get("low"), value.get("high")] if wide else []
        return [value.get("value"), *ends]
    shown = value if is_number(value) else _plain(cell(value)) if value is not None else ""
    return [shown, *(["", ""] if wide else [])]


def _plain(text: str) -> str:
    """A model's text, such that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


_ROWS = {
    "funnel": _funnel_rows,
    "histogram": _histogram_rows,
    "curve": _curve_rows,
    "scatter": _scatter_rows,
    "table": _table_rows,
}
