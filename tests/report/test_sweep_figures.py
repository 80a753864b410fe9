"""A sweep's figures: where values stand, what is drawn, and that a file is whole by itself."""

from __future__ import annotations

import csv
from pathlib import Path
from xml.etree import ElementTree

import pytest

from woolgather.core.errors import RunDirError
from woolgather.report.charts import colours
from woolgather.report.figures.svg_file import write_svg
from woolgather.report.sweep import SweepRecord, SweptPoint, read_sweep, write_sweep
from woolgather.report.sweep.figure import Figure, draw, positions, write_csv
from woolgather.report.sweep.table import mean_of, read_sweep_dir, tables

SVG = "{http://www.w3.org/2000/svg}"


def cell(value: float, reach: float) -> dict[str, float]:
    return {"value": value, "low": value - reach, "high": value + reach}


FIGURE = Figure(
    "measure",
    "probes",
    "keep.above",
    ["-1", "0", "8"],
    {"a <b>": [cell(0.2, 0.1), cell(0.3, 0.1), None], "c & d": [0.5, None, cell(0.1, 0.05)]},
    level=0.25,
)


@pytest.mark.parametrize(
    ("values", "places"),
    [
        (["-1", "0", "2", "9"], [-1, 0, 2, 9]),
        (["8", "4"], [0, 1]),  # not rising
        (["1e-5", "1e-4", "1e-2"], [0, 1, 2]),  # two of them would lie on one another
        (["100", "200", "400"], [100, 200, 400]),
        (["a", "1"], [0, 1]),
        (["[1,2]", "[3]"], [0, 1]),
        (["inf", "nan"], [0, 1]),
        (["7"], [0]),
    ],
)
def test_values_stand_where_they_lie_or_side_by_side(
    values: list[str], places: list[float]
) -> None:
    assert positions(values) == places


def test_a_file_has_its_lines_points_intervals_legend_and_colours() -> None:
    text = write_svg(draw(FIGURE), colours(FIGURE.lines), FIGURE.title)
    root = ElementTree.fromstring(text)
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"probes", "a <b>", "c & d", "keep.above", "-1", "0", "8"} <= set(texts)
    classes = [element.get("class", "") for element in root.iter()]
    assert classes.count("line s0") == classes.count("line s1") == 1
    assert classes.count("line s0 whisker") == 2
    assert classes.count("line s1 whisker") == 1
    assert classes.count("s0") == 2 + 1  # points, and the legend's mark
    assert classes.count("line level") == 1
    [style] = [element.text or "" for element in root.iter(f"{SVG}style")]
    assert "--s0: #" in style
    assert ".whisker {" in style
    assert "body {" not in style


def test_what_is_not_known_is_neither_drawn_nor_listed() -> None:
    rows = list(csv.reader(write_csv(FIGURE).splitlines()))
    assert rows[0] == ["keep.above", "line", "value", "low", "high"]
    assert rows[1:3] == [["-1", "a <b>", "0.2", "0.1", "0.30000000000000004"], rows[2]]
    assert [row[:2] for row in rows[1:]] == [
        ["-1", "a <b>"], ["0", "a <b>"], ["-1", "c & d"], ["8", "c & d"],
    ]  # fmt: skip
    assert rows[3] == ["-1", "c & d", "0.5", "", ""]


def test_a_mean_over_replicates_has_students_interval() -> None:
    assert mean_of([None, 3, None]) == 3
    assert mean_of([None]) is None
    found = mean_of([cell(0.2, 0.5), 0.4])
    assert isinstance(found, dict)
    assert found["value"] == pytest.approx(0.3)
    assert found["high"] - found["value"] == pytest.approx(12.706 * 0.1, rel=1e-3)


def test_a_sweep_that_has_not_begun_is_read(tmp_path: Path) -> None:
    points = [SweptPoint(folder=f"a={v}", values={"a": v}) for v in ("1", "2")]
    write_sweep(SweepRecord(recipe="isheep", axes={"a": ["1", "2"]}, points=points), tmp_path)
    found = read_sweep_dir(tmp_path)
    assert [point.status for point in found.points] == ["not started"] * 2
    assert found.measure == found.filter == ""
    [table] = tables(found)
    assert table.data["rows"] == [["1", "not started"], ["2", "not started"]]


def test_no_sweep_and_a_broken_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match=r"is not a sweep: it has no sweep\.json"):
        read_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text('{"recipe": 3}')
    with pytest.raises(RunDirError, match=r"sweep\.json is broken \(.*writes it anew"):
        read_sweep(tmp_path)
