"""What cannot be measured is refused before work begins, with the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dry import Dry

from woolgather.core.errors import ConfigError
from woolgather.core.intervals import smallest_visible
from woolgather.recipes import config, isheep

DRY = Dry(
    isheep, ["base=fake", "iterations=1", "per_iteration=10", "judge.pairs=24", "controls=false"]
)
CHECK = {"kind": "exact", "value": "x"}


def tasks(path: Path, checked: int, n: int = 12) -> str:
    lines = [
        {"instruction": f"Say {i}.", "response": "x", "id": f"t{i}"}
        | ({"meta": {"check": CHECK}} if i < checked else {})
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"held_out={path}"


def test_one_set_of_probes_may_not_select_and_report() -> None:
    settings = ["base=fake", "measure.select_seed=2"]
    with pytest.raises(ConfigError, match=r"are both 2: .* such as measure\.report_seed=3\."):
        config.build(isheep.Config, "isheep", overrides=settings)
    with pytest.raises(ConfigError, match="are both 1"):
        DRY.built("measure.report_seed=1")


def test_no_probes_to_select_by_is_refused_by_plan(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"select_by=probes with measure\.probes=0.*measure.probes=300"
    ):
        DRY.planned(tmp_path / "run", "measure.probes=0")
    assert "select" in DRY.planned(tmp_path / "run", "measure.probes=0", "select_by=last")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("checked", [0, 1])
def test_held_out_tasks_that_cannot_be_halved_are_refused_by_plan(
    tmp_path: Path, checked: int
) -> None:
    given = tasks(tmp_path / "tasks.jsonl", checked)
    with pytest.raises(ConfigError, match=f"with {checked} of 12 held-out tasks that have a check"):
        DRY.planned(tmp_path / "run", given, "select_by=heldout")
    assert "select" in DRY.planned(tmp_path / "run", given, "measure.probes=11")


def test_held_out_tasks_of_both_halves_select_and_report(tmp_path: Path) -> None:
    given = tasks(tmp_path / "tasks.jsonl", 12)
    plan = DRY.planned(tmp_path / "run", given, "select_by=heldout", "measure.probes=0")
    assert "select" in plan


@pytest.mark.parametrize(("n", "points"), [(110, 13), (300, 7), (2400, 2)])
def test_a_plan_says_what_so_many_probes_can_see(n: int, points: int) -> None:
    told = DRY.built(f"measure.probes={n}").visible
    assert told.startswith(f"{n} probes see a difference of about {points} points")
    assert points == round(100 * smallest_visible(n // 10, n))
    assert DRY.built("measure.probes=0").visible == ""
