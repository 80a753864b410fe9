"""`headroom` on the fake engine: a run like any other, and the command that follows from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import Result

from woolgather.api.advice import AGREE, advise
from woolgather.core.rows import JSON
from woolgather.engines.base import EngineOptions

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
    assert command.startswith("woolgather run isheep base=fake seeds= iterations=1 ")
    assert "'agreement={}'" in command
    assert all(setting in command for setting in AGREE)
    assert seconds > 0
    better: dict[str, JSON] = {**values, "gains": {"yes_no": gain}, "picks": {"yes_no": gain}}
    told = advise(better, given, EngineOptions(name="fake"))
    assert told
    assert "judge.assessor=yes_no keep.by=best_of_n" in told[0]
    assert advise({**values, "room": none}, given, EngineOptions(name="fake")) is None
