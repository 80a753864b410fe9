"""Runs side by side."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import RunDirError
from woolgather.report.compare import compare_runs
from woolgather.report.text import cell


@pytest.fixture(scope="module")
def tables(
    run_dir: Path, build_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, list[Any]]]:
    other = build_run(tmp_path_factory.mktemp("other") / "shorter", iterations=1, size=40)
    (path,) = other.glob("launches/*.json")
    launch = json.loads(path.read_text(encoding="utf-8"))
    launch["config"]["keep"]["above"] = 5
    path.write_text(json.dumps(launch), encoding="utf-8")
    found = compare_runs([run_dir, other])
    assert [t["columns"][1:] for t in found] == [["isheep-smollm2-135m", "shorter"]] * len(found)
    return {t["title"]: {row[0]: row[1:] for row in t["rows"]} for t in found}


def test_only_differing_settings_are_listed(tables: dict[str, dict[str, list[Any]]]) -> None:
    assert tables["Settings that differ"] == {"keep.above": [7, 5]}


def test_a_step_that_one_run_lacks_is_unknown(tables: dict[str, dict[str, list[Any]]]) -> None:
    first, second = tables["Rows in use after each step"]["iter1/keep"]
    assert first > 0
    assert second is None


def test_measures_keep_their_intervals(tables: dict[str, dict[str, list[Any]]]) -> None:
    first, second = tables["Measures"]["iter0/measure: probes"]
    assert first["low"] < first["value"] < first["high"]
    assert cell(second) == "0.370 [0.342, 0.398]"
    assert tables["Measures"]["iter0/measure: win_rate"] == [None, None]


def test_verdicts_decisions_and_reasons(tables: dict[str, dict[str, list[Any]]]) -> None:
    assert tables["Runs"]["Result"][0].startswith("Result: iter1.")
    assert tables["Decisions"]["iter0/audition"] == ["assessor.kind mutual_information"] * 2
    assert tables["Rows set aside"]["iter0/synthesize: too_similar"][0] > 0


def test_equal_names_are_told_apart_and_no_run_is_an_error(
    build_run: Callable[..., Path], tmp_path: Path
) -> None:
    paths = [build_run(tmp_path / part / "run", iterations=0) for part in ("a", "b")]
    assert compare_runs(paths)[0]["columns"] == ["", "a/run", "b/run"]
    with pytest.raises(RunDirError, match="not a run directory"):
        compare_runs([paths[0], tmp_path])
