"""A run's drawings as files: whole by themselves, with their numbers beside them."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from woolgather.cli.reporting import report
from woolgather.core.errors import MistakeError
from woolgather.core.rows import JSON
from woolgather.core.views import View, curve, table, table_cell
from woolgather.report.figures.files import _numbers, write_figures


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def numbers(view: View) -> list[list[str]]:
    return list(csv.reader((_numbers(view) or "").splitlines()))


def test_every_drawing_of_a_run_is_a_file_that_stands_by_itself(
    run_dir: Path, tmp_path: Path
) -> None:
    paths = write_figures(run_dir, tmp_path / "figures")
    assert paths
    assert len(paths) == len(set(paths)) == len(list((tmp_path / "figures").iterdir()))
    drawn = [path for path in paths if path.suffix == ".svg"]
    assert drawn
    for path in drawn:
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "http" not in path.read_text(encoding="utf-8").replace("http://www.w3.org", "")
        assert len(read(path.with_suffix(".csv"))) > 1


def test_numbers_keep_their_digits_and_estimates_their_ends() -> None:
    lines = {"a": [(0.0, 1 / 3), (1.0, 2.5)], "b": [(0.0, 7.0)]}
    assert numbers(curve("title", lines, x="iteration", y="%")) == [
        ["line", "iteration", "%"], ["a", "0.0", str(1 / 3)], ["a", "1.0", "2.5"],
        ["b", "0.0", "7.0"],
    ]  # fmt: skip
    estimate: JSON = table_cell({"value": 0.25, "low": 0.1, "high": 0.5}, "percent")
    shown = table("t", ["model", "passes", "note"], [["base", estimate, "=1+1"], ["x", None, 3]])
    assert numbers(shown) == [
        ["model", "passes", "passes low", "passes high", "note"],
        ["base", "0.25", "0.1", "0.5", "'=1+1"], ["x", "", "", "", "3"],
    ]  # fmt: skip


def test_broken_data_is_no_file() -> None:
    assert _numbers(View("curve", "x", {"series": 3})) is None
    assert _numbers(View("alarm", "x", {"text": "t", "level": "note"})) is None


@pytest.mark.parametrize(
    ("option", "place", "message"),
    [
        ("--figures", "taken", "--figures: .*taken is a file, where a folder belongs"),
        ("--figures", "taken/figures", "--figures: .*taken is a file"),
        ("--out", "taken/report.html", "--out: .*taken is a file"),
        ("--out", "", "is a folder. Name a file, e.g. .*report.html"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_named(
    tmp_path: Path, option: str, place: str, message: str
) -> None:
    (tmp_path / "taken").write_text("x", encoding="utf-8")
    where = tmp_path / place
    with pytest.raises(MistakeError, match=message):
        report(
            tmp_path,
            out=where if option == "--out" else None,
            figures=where if option == "--figures" else None,
        )
