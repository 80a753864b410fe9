"""What cannot be measured is refused before work begins, with the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dry import Dry

from woolgather.core.errors import ConfigError
from woolgather.core.intervals import smallest_visible
from woolgather.recipes import isheep

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


def test_no_probes_to_select_by_is_refused_by_plan(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"select_by=probes with measure\.probes=0.*measure.probes=600"
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


@pytest.mark.parametrize(("n", "points"), [(86, 17), (300, 8), (600, 5), (2400, 3)])
def test_a_plan_says_what_so_many_probes_can_see(n: int, points: int) -> None:
    told = DRY.built(f"measure.probes={n}").visible
    assert told.startswith(f"{n} probes see a difference of about {points} points")
    assert points >= round(100 * smallest_visible(n // 10, n)), "families make it more"
    assert DRY.built("measure.probes=0").visible == ""


CALIBRATED = ("measure.probes=11", "measure.calibration=12")


def test_the_base_fixes_the_tier_that_selects_once(tmp_path: Path) -> None:
    plan = DRY.planned(tmp_path / "run", *CALIBRATED)
    assert {"tier", "tier-shots", "probes"} <= set(plan)
    for named in ("measure.tier=middle", "measure.calibration=0"):
        assert "tier" not in DRY.planned(tmp_path / "run", *CALIBRATED, named)
    assert "probes" not in DRY.planned(tmp_path / "run", "measure.probes=0", "select_by=last")


def test_too_few_probes_to_fix_a_tier_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"measure\.calibration=2 cannot fix a tier"):
        DRY.finished(tmp_path / "run", "measure.probes=11", "measure.calibration=2")


def test_more_probes_measure_the_same_rows_and_another_seed_writes_new_ones(tmp_path: Path) -> None:
    run = DRY.finished(tmp_path / "run", "measure.probes=11")
    more = DRY.planned(run, "measure.probes=22")
    assert more["measure"][0] == "new"
    assert more["iter0/synthesize"][0] == "remembered"
    other = DRY.planned(run, "measure.probes=11", "measure.probe_seed=2")
    assert other["iter0/synthesize"][0] == "new"
