"""Several runs side by side: where their settings differ, what was left after each step, measures.

Plain data for a terminal, JSON or a page. A cell is a number, a text, None (not measured, or the run
has no such step) or an estimate {"value", "low", "high"}; `woolgather.report.text.cell` writes any
of them for people.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from woolgather.report import collect
from woolgather.report.collect import RunReport
from woolgather.report.text import flatten, is_estimate, is_number, values_of

Cells = Mapping[str, object]
"""What one run has, by the name of a line."""


class Comparison(TypedDict):
    """A table of several runs."""

    title: str
    columns: list[str]
    """The head of the lines' names, then a run each."""
    rows: list[list[object]]
    """A line each: its name, then a cell per run."""


def compare_runs(dirs: Sequence[Path]) -> list[Comparison]:
    """Returns tables with a column per run; a table has at least one row.

    Raises RunDirError when a directory is no run directory, is of a newer format, or holds a broken
    record.
    """
    runs = [collect.read_run_dir(Path(path)) for path in dirs]
    names = _names([Path(path) for path in dirs])
    tables = [
        ("Runs", "", _table(runs, _head)),
        ("Settings that differ", "setting", _differing(_table(runs, _settings))),
        ("Rows in use after each step", "step", _table(runs, _read_settings)),
        ("Rows set aside", "step: reason", _table(runs, _aside)),
        ("Measures", "measure", _table(runs, _measures)),
        ("Decisions", "step", _table(runs, _choices)),
    ]
    return [
        {"title": title, "columns": [first, *names], "rows": rows}
        for title, first, rows in tables
        if rows
    ]


def _names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, or as much as tells them apart."""
    short = [path.resolve().name for path in paths]
    if len(set(short)) == len(short):
        return short
    common = os.path.commonpath([path.resolve().parent for path in paths])
    return [os.path.relpath(path.resolve(), common) for path in paths]


def _table(runs: Sequence[RunReport], of: Callable[[RunReport], Cells]) -> list[list[object]]:
    """One line per key, in order of first sight."""
    columns = [of(run) for run in runs]
    keys = dict.fromkeys(key for column in columns for key in column)
    return [[key, *(column.get(key) for column in columns)] for key in keys]


def _differing(rows: list[list[object]]) -> list[list[object]]:
    return [row for row in rows if any(value != row[1] for value in row[2:])]


def _head(run: RunReport) -> Cells:
    last = run.last
    return {
        "Result": run.verdict or None,
        "Status": last.status if last else "not started",
        **dict(collect.facts(run)),
        "Steps": len(run.steps),
        "Seconds of work": round(sum(step.record.seconds for step in run.steps), 1),
    }


def _settings(run: RunReport) -> Cells:
    config = run.last.config if run.last else None
    return dict(flatten(config)) if isinstance(config, Mapping) else {}


def _read_settings(run: RunReport) -> Cells:
    return {step.record.step: step.used for step in run.steps if step.record.kind == "dataset"}


def _aside(run: RunReport) -> Cells:
    return {
        f"{step.record.step}: {why}": count
        for step in run.steps
        if step.record.kind == "dataset"
        for why, count in step.aside
    }


def _measures(run: RunReport) -> Cells:
    return {
        f"{step.record.step}: {key}": value
        for step in run.steps
        if step.record.kind == "metrics"
        for key, value in flatten(values_of(step.record))
        if value is None or is_number(value) or is_estimate(value)
    }


def _choices(run: RunReport) -> Cells:
    return {
        step.record.step: _plain(step.record.result.get("value"))
        for step in run.steps
        if step.record.kind == "choice"
    }


def _plain(value: object) -> object:
    """A decision that is a structure becomes one line of its parts."""
    if not isinstance(value, Mapping):
        return value
    return ", ".join(f"{k} {v}" for k, v in flatten(value) if v not in (None, "", []))
