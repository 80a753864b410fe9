"""`woolgather.sweep` from Python: what it returns, and that the command line does the same."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import woolgather
from woolgather.api.sweeping.grid import write_settings, write_words
from woolgather.cli import app
from woolgather.core.errors import ConfigError, InputError, RunDirError

FIXED = {"iterations": 1, "per_iteration": 6, "judge": {"pairs": 16}, "measure": {"probes": 0},
         "select_by": "last", "measure.tasks": 4, "controls": False, "judge.assessor": "rubric",
         "keep.by": "threshold"}  # fmt: skip


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> woolgather.SweepResult:
    folder = tmp_path_factory.mktemp("sweep") / "s"
    points = {"keep.above": [0, 8]}
    return woolgather.sweep(
        "isheep", points, preset="demo", engine="fake", dir=folder, settings=FIXED
    )


def test_a_row_per_point_has_settings_measures_and_a_run(swept: woolgather.SweepResult) -> None:
    low, high = swept
    assert (len(swept), dict(low.settings), low.status) == (2, {"keep.above": "0"}, "finished")
    assert low.dir == swept.dir / "keep.above=0"
    measured = low.measures["iter0/measure: heldout"]
    assert isinstance(measured, dict)
    assert measured["low"] <= measured["value"] <= measured["high"]
    rows = "iter0/keep: rows"
    assert low.measures[rows] == len(low.result.rows("iter0/keep"))
    assert low.measures[rows] > high.measures[rows]
    assert (low.error, low.log) == ("", None)
    assert swept.page.is_file()
    assert {path.name for path in swept.figures.values()} == {"measure.svg", "rows.svg"}


def test_it_is_a_table_in_four_forms(swept: woolgather.SweepResult, tmp_path: Path) -> None:
    text = swept.to_csv(tmp_path / "points.csv")
    assert text == (tmp_path / "points.csv").read_text() == (swept.dir / "sweep.csv").read_text()
    [first, _] = csv.DictReader(text.splitlines())
    assert (first["keep.above"], first["iter0/keep: rows"]) == ("0", "6")
    frame = swept.to_pandas()
    assert list(frame["keep.above"]) == [0, 8]
    assert frame["iter0/measure: heldout low"].le(frame["iter0/measure: heldout"]).all()
    assert str(swept).splitlines()[0].split()[:2] == ["keep.above", "status"]
    assert "<td>finished</td>" in swept._repr_html_()
    assert repr(swept).endswith("2 of 2 finished")


def test_another_measure_is_drawn_on_request(swept: woolgather.SweepResult) -> None:
    before = (swept.dir / "figures" / "measure.csv").read_text()
    with pytest.raises(InputError, match=r"--measure gain: no point .* measure: heldout"):
        swept.show("gain")
    assert (swept.dir / "figures" / "measure.csv").read_text() == before
    assert swept.show("heldout") == swept.page


def test_the_command_line_goes_on_with_it_and_the_other_way_round(
    swept: woolgather.SweepResult,
) -> None:
    words = ["sweep", "isheep", "--preset", "demo", "--engine", "fake", "--no-report"]
    words += ["--dir", str(swept.dir), "keep.above=0,8", *write_settings(FIXED)]
    done = CliRunner().invoke(app(), words)
    assert done.exit_code == 0, done.output
    assert "2 points: 0 steps made" in done.stdout
    record = json.loads((swept.dir / "sweep.json").read_text())
    assert {"judge.pairs=16", "measure.tasks=4", "controls=false"} <= set(record["settings"])


def test_values_are_written_as_on_the_command_line() -> None:
    points = {
        "keep.above": [4, 6.5, -1e-05], "keep.on": (["quality"], ["quality", "following"]),
        "seeds": ["a,b.jsonl", "c.jsonl", Path("d")], "controls": [True, None], "text": ["", " x"],
    }  # fmt: skip
    assert write_words(points) == [
        "keep.above=4,6.5,-1e-05", "keep.on=[quality],[quality,following]",
        'seeds="a,b.jsonl",c.jsonl,d', "controls=true,null", 'text=""," x"',
    ]  # fmt: skip
    assert write_words({"n": __import__("numpy").arange(2)}) == ["n=0,1"]


@pytest.mark.parametrize(
    ("points", "more", "said"),
    [
        ({"keep.above": "4,6"}, {}, "keep.above: give a list of values"),
        ({"keep.above": 4}, {}, "keep.above: give a list of values"),
        ({"keep.above": []}, {}, "keep.above: the list of values is empty"),
        ({"keep.above": [4, object()]}, {}, "keep.above: <object .* is no value of a setting"),
        ({"keep.above": [4, 4.0]}, {}, r"keep.above: 4.0 is given twice \(as 4, too\)"),
        ({"keep.abov": [4, 5]}, {}, r"point keep.abov=4: .*'keep.abov'. Did you mean keep.above\?"),
        ({"keep.above": [4, "x"]}, {}, "point keep.above=x: keep.above: .*given: 'x'"),
        ({"keep.above": [4, 6]}, {"keep": {"above": 2}}, "keep.above: given twice, for all points"),
        ({"keep.above": [4, 6]}, {"at_once": 0}, "--at-once 0: give 1 or more"),
        ({}, {}, "no setting has several values"),
    ],
)
def test_a_mistake_is_one_clear_error(
    points: dict[str, object], more: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        woolgather.sweep("isheep", points, engine="fake", dir=tmp_path / "s", **more)
    assert not (tmp_path / "s").exists()


def test_a_directory_that_is_no_sweep_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="is not a sweep"):
        list(woolgather.SweepResult(tmp_path))
