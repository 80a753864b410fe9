"""`report` and `compare` call the report's room and print what it gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import MistakeError, RunDirError

Call = Callable[..., Any]


def test_report_writes_one_file_where_asked(call: Call, a_run: Path, tmp_path: Path) -> None:
    call("report", a_run)
    assert (a_run / "report.html").read_text(encoding="utf-8").lstrip().startswith("<!")
    out = tmp_path / "elsewhere" / "page.html"
    assert str(out) in call("report", a_run, "--out", out).stdout.replace("\n", "")
    assert "5 are kept." in out.read_text(encoding="utf-8")


def test_compare_shows_runs_side_by_side(
    call: Call, told: Call, built_run: Path, a_run: Path, again: Call
) -> None:
    again(above=5)
    tables = {table["title"]: table for table in told("compare", built_run, a_run)}
    used = tables["Rows in use after each step"]
    kept = next(row for row in used["rows"] if row[0] == "iter0/keep")
    assert kept == ["iter0/keep", 5, 3]
    text = call("compare", built_run, a_run).stdout
    assert "Rows set aside" in text
    assert "5 are kept." in text
    assert "3 are kept." in text


def test_compare_needs_two_runs(call: Call, built_run: Path, tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match="at least two"):
        call("compare", built_run)
    with pytest.raises(RunDirError, match="not a run directory"):
        call("compare", built_run, tmp_path)
