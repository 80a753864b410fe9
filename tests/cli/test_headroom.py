"""`headroom` on the fake engine: a run like any other, and the command that follows from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from woolgather.api.advice import AGREE, advise
from woolgather.core.errors import ConfigError
from woolgather.core.rows import JSON
from woolgather.engines.base import EngineOptions
from woolgather.models.open import open_model

SMALL = ("probes=30", "samples=4", "calibration=0")


def test_it_says_what_it_found_and_is_remembered(
    call: Callable[..., Result], told: Callable[..., Any], tmp_path: Path
) -> None:
    asked = ("headroom", *SMALL, "--engine", "fake", "--dir", tmp_path / "run")
    out = call(*asked).output
    assert "What selecting among 4 of its own samples could reach" in " ".join(out.split())
    assert "docs/choosing.md" in out
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Choosing among its own samples" in page
    assert {step["state"] for step in told("plan", *asked)["steps"]} == {"remembered"}


def test_the_advice_is_a_command_with_its_time() -> None:
    gain: JSON = {"value": 0.2, "low": 0.1, "high": 0.3}
    none: JSON = {"value": 0.0, "low": -0.1, "high": 0.1}
    values: dict[str, JSON] = {"room": gain, "gains": {"yes_no": none}, "picks": {"yes_no": none}}
    given = ["base=fake", "probes=30", "seeds="]
    command, seconds = advise(values, given, EngineOptions(name="fake")) or ("", 0.0)
    assert command.startswith("woolgather run isheep base=fake seeds= iterations=2 ")
    assert "'agreement={}'" in command
    assert all(setting in command for setting in AGREE)
    assert "'practice.tasks=[0,600]'" in command
    assert seconds > 0
    better: dict[str, JSON] = {**values, "gains": {"yes_no": gain}, "picks": {"yes_no": gain}}
    told = advise(better, given, EngineOptions(name="fake"))
    assert told
    assert "judge.assessor=yes_no keep.by=best_of_n" in told[0]
    assert advise({**values, "room": none}, given, EngineOptions(name="fake")) is None


RUN = (
    "run", "isheep", "--preset", "demo", "--engine", "fake", "iterations=1", "per_iteration=10",
    "judge.pairs=24", "controls=false", "measure.probes=22", "measure.calibration=0",
)  # fmt: skip


def test_its_lines_come_first_in_the_report_of_a_run(
    call: Callable[..., Result], tmp_path: Path
) -> None:
    before, run = tmp_path / "before", tmp_path / "run"
    call("headroom", *SMALL, "--engine", "fake", "--dir", before)
    call(*RUN, "--dir", run, "--headroom", before)
    page = (run / "report.html").read_text(encoding="utf-8")
    said, verdict = page.index("What selecting among 4"), page.index("Result: ")
    assert said < verdict
    assert "Choosing among its own samples" in page
    shutil.rmtree(before)
    call("report", run)
    assert "What selecting among 4" in (run / "report.html").read_text(encoding="utf-8")


def test_that_in_the_run_s_own_directory_is_found_in_a_later_launch(
    call: Callable[..., Result], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    call(*RUN, "--dir", run)
    assert "What selecting" not in (run / "report.html").read_text(encoding="utf-8")
    call("headroom", *SMALL, "--engine", "fake", "--dir", run / "headroom")
    call(*RUN, "--dir", run)
    assert "What selecting among 4" in (run / "report.html").read_text(encoding="utf-8")
    kept = (run / "headroom.json").stat().st_mtime_ns
    call(*RUN, "--dir", run)
    assert (run / "headroom.json").stat().st_mtime_ns == kept


def test_a_directory_that_is_no_headroom_of_this_base_is_refused_before_the_work(
    call: Callable[..., Result], tmp_path: Path
) -> None:
    def refused(named: Path) -> str:
        with pytest.raises(ConfigError) as error:
            call(*RUN, "--dir", tmp_path / "run", "--headroom", named)
        assert not (tmp_path / "run").exists()
        return str(error.value)

    assert "is no run directory. Give the one that `woolgather headroom` wrote to" in refused(
        tmp_path / "nowhere"
    )
    head = tmp_path / "other" / "run.json"
    head.parent.mkdir()
    head.write_text('{"format": 1, "recipe": "spin"}')
    assert "is a run of 'spin'" in refused(head.parent)
    head.write_text('{"format": 1, "recipe": "headroom"}')
    assert "has not ended. Give its command again" in refused(head.parent)
    before = tmp_path / "before"
    call("headroom", *SMALL, "--engine", "fake", "--dir", before)
    for record in before.glob("**/record.json"):
        text = record.read_text(encoding="utf-8")
        record.write_text(text.replace(open_model("fake").fingerprint, 64 * "0"), encoding="utf-8")
    assert "is of another base than this run" in refused(before)
