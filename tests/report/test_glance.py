"""Which steps stand side by side at a glance, whatever they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from woolgather.report.collect import RunReport, Step
from woolgather.report.page import _glance
from woolgather.runs.record import StepRecord


def grid_of(*names: str) -> dict[str, Any]:
    records = [StepRecord(name, "op", f"{i:064x}", "dataset") for i, name in enumerate(names)]
    steps = [Step(record, {}, f"step-{i}") for i, record in enumerate(records)]
    return _glance(RunReport(Path(), {}, [], steps))


def lines_of(grid: dict[str, Any]) -> dict[str, list[bool]]:
    return {name: [cell is not None for cell in cells] for name, cells in grid["lines"]}


def outside_of(grid: dict[str, Any]) -> list[str]:
    return [step.record.step for step in grid["outside"]]


def test_iterations_are_columns_and_the_rest_is_outside() -> None:
    grid = grid_of("start", "iter0/ask", "iter0/keep", "iter1/keep", "other/ask", "other/keep")
    assert (grid["what"], grid["scopes"]) == ("loop", ["iter0", "iter1"])
    assert lines_of(grid) == {"ask": [True, False], "keep": [True, True]}
    assert outside_of(grid) == ["start", "other/ask", "other/keep"]


def test_without_iterations_stages_that_are_alike_are_columns() -> None:
    first, second = ("ask", "keep", "train", "measure"), ("answer", "keep", "train", "measure")
    grid = grid_of("pool/read", *(f"a/{n}" for n in first), *(f"b/{n}" for n in second), "result")
    assert (grid["what"], grid["scopes"]) == ("stages", ["a", "b"])
    assert list(lines_of(grid)) == ["ask", "answer", "keep", "train", "measure"]
    assert lines_of(grid)["answer"] == [False, True]
    assert outside_of(grid) == ["pool/read", "result"]


def test_stages_with_little_in_common_are_one_column_of_steps() -> None:
    names = ["pool/read", "a/ask", "a/keep", "b/draw", "b/keep", "result"]
    grid = grid_of(*names)
    assert (grid["what"], grid["scopes"]) == ("steps", [])
    assert lines_of(grid) == {name: [True] for name in names}
    assert outside_of(grid) == []
