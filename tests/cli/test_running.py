"""`run` and `plan` as a user gives them, on the fake engine."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from woolgather.api import stopping as stop_signals
from woolgather.cli import app
from woolgather.core.errors import ConfigError, Stopped
from woolgather.runs.record import read_launches

SETTINGS = [
    "isheep", "--preset", "demo", "--engine", "fake", "iterations=1", "per_iteration=10",
    "judge.pairs=24", "measure.probes=22", "controls=false",
]  # fmt: skip


def invoke(command: str, *words: str) -> Result:
    return CliRunner().invoke(app(), [command, *SETTINGS, *words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("running") / "run"
    done = invoke("run", "--dir", str(made))
    assert done.exit_code == 0, done.output
    return made


def test_a_run_ends_in_a_model_and_a_report_and_says_where(folder: Path) -> None:
    again = invoke("run", "--dir", str(folder))
    assert again.exit_code == 0
    assert f"Model:  {folder}/result" in again.stdout
    assert f"Report: {folder}/report.html" in again.stdout
    assert (folder / "report.html").is_file()
    assert "Result: " in again.stdout
    states = {entry["state"] for entry in read_launches(folder)[-1].steps}
    assert states == {"remembered"}


def test_a_launch_records_where_its_settings_left_the_preset(folder: Path) -> None:
    first = read_launches(folder)[0]
    assert "iterations: 2 -> 1" in first.config_changes
    assert "controls: true -> false" in first.config_changes
    assert not any(line.startswith("sft.") for line in first.config_changes)


def test_a_later_launch_records_where_its_settings_left_the_one_before(folder: Path) -> None:
    assert invoke("run", "--dir", str(folder), "patience=1").exit_code == 0
    last = read_launches(folder)[-1]
    assert list(last.config_changes) == ["patience: 2 -> 1"]


def test_a_plan_says_what_a_run_then_does(folder: Path, tmp_path: Path) -> None:
    planned = invoke("plan", "--dir", str(folder), "keep.fraction=0.25", "--json")
    told = {line["step"]: line for line in json.loads(planned.stdout)["steps"]}
    assert told["iter0/keep"]["why"] == "new because args.rule.fraction: 0.5 -> 0.25"
    assert told["iter0/assess"]["state"] == "remembered"
    text = invoke("plan", "--dir", str(tmp_path / "none")).stdout
    assert "steps to run, 0 remembered" in text
    assert "22 probes see a difference of about 52 points in four of five runs" in " ".join(
        text.split()
    )
    assert not (tmp_path / "none").exists()


def test_an_engine_that_is_none_is_named() -> None:
    refused = invoke("plan", "--engine", "sglang")
    assert isinstance(refused.exception, ConfigError)
    assert refused.exception.exit_code == 2
    assert "--engine sglang: choose transformers, vllm, openai or fake." in str(refused.exception)


def test_a_stop_that_was_swallowed_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_signals, "_AGAIN_SECONDS", 0.2)
    heard: list[str] = []

    def swallow() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Stopped as stop:  # as a library's bare `except` would
            heard.append(str(stop))
        time.sleep(60)

    with stop_signals.stopping(None), pytest.raises(Stopped, match="SIGTERM"):
        swallow()
    assert heard == ["SIGTERM"]
