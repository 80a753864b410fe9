"""The drawings of a run as files: an SVG that stands by itself, and its numbers as CSV.

The one idea: what the page draws, a paper may want to print or draw anew. Drawings of one title that
several iterations share come as one more, over all of them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path

from markupsafe import Markup

from woolgather.core.views import View
from woolgather.report import charts, collect, over_iterations
from woolgather.report.collect import RunReport
from woolgather.report.figures.svg_file import write_svg
from woolgather.report.text import cell, is_estimate, is_number
from woolgather.report.view_data import CurveData, HistogramData, ScatterData, TableData

_SVG = re.compile(r"<svg class=\"?chart.*?</svg>", re.S)


def write_figures(run_dir: Path, folder: Path) -> list[Path]:
    """Writes every drawing and table of a run to `folder`: `STEP-TITLE.svg` and `.csv`, tables as CSV
    alone, and `all-TITLE` for what iterations share. Returns the paths. Raises RunDirError when `run_dir`
    is no run directory."""
    run = collect.read_run_dir(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, view in _list_views(run):
        stem = folder / re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        if (numbers := _numbers(view)) is None:
            continue
        written.append(_write(stem.with_suffix(".csv"), numbers))
        if found := _SVG.search(charts.draw(view)):
            drawing = write_svg(Markup(found[0]), _legend(view), view.title)
            written.append(_write(stem.with_suffix(".svg"), drawing))
    return written


def _list_views(run: RunReport) -> Iterator[tuple[str, View]]:
    """Yields each view that has numbers, with a name of its own."""
    names: dict[str, int] = {}
    views = [
        (f"{step.record.step} {view.title}", view) for step in run.steps for view in step.views
    ]
    views += [(f"all {view.title}", view) for view in over_iterations.overlays(run)]
    for name, view in views:
        names[name] = names.get(name, 0) + 1
        yield f"{name} {names[name]}" if names[name] > 1 else name, view


def _write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8", errors="replace")
    return path


def _legend(view: View) -> Sequence[str]:
    named: Mapping[str, object] = view.data.get("series") or view.data.get("groups") or {}
    return list(named) if len(named) > 1 else []


def _numbers(view: View) -> str | None:
    """Returns the numbers of a view as CSV; None for one of another kind, or with broken data."""
    try:
        rows = list(_ROWS[view.kind](view.data)) if view.kind in _ROWS else []
    except (ValueError, TypeError, IndexError):
        return None
    if not rows:
        return None
    out = StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


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
    yield ["group", data.x or "x", data.y or "y"]
    for name, points in data.groups.items():
        yield from ([name, *point[:2]] for point in points)


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
    "histogram": _histogram_rows,
    "curve": _curve_rows,
    "scatter": _scatter_rows,
    "table": _table_rows,
}
