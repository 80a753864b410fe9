"""A tracker gets curves and measures as well; none is needed, and none is in the way."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from woolgather.api.launch import AskedSettings, AskedTraining, Launch
from woolgather.api.progress.show import _measures
from woolgather.core.errors import ConfigError
from woolgather.runs.record import StepRecord
from woolgather.training import trackers
from woolgather.training.job_file import Execution
from woolgather.training.launch import LocalTrainer
from woolgather.training.trackers import TRACKERS, MeasureTracker, Tracking, check_tracker, step_of

PACKAGE = """
import json, os, pathlib
FILE = pathlib.Path(os.environ["TRACKED"])

def put(*told):
    with FILE.open("a") as file:
        file.write(json.dumps(told) + "\\n")

def init(project, **_):
    put("init", project)
    return __import__("trackio")

def log(values, step=None, **_):
    put("log", values, step)

def finish():
    put("finish")
"""


@pytest.fixture
def trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tracker of that name which writes down its calls; the path of what it wrote."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "trackio.py").write_text(PACKAGE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{':'.join(filter(None, sys.path))}")
    monkeypatch.setenv("TRACKED", str(tmp_path / "tracked.jsonl"))
    return tmp_path / "tracked.jsonl"


def test_an_unknown_tracker_is_one_sentence() -> None:
    with pytest.raises(ConfigError) as told:
        check_tracker("wandbb")
    assert str(told.value) == (
        f"--report-to wandbb: unknown tracker. Choose one of: {', '.join(TRACKERS)}."
    )


def test_a_tracker_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    settings, asked = AskedSettings(values={"base": "fake"}), AskedTraining(report_to="trackio")
    with pytest.raises(
        ConfigError, match=r"trackio is not installed\. Install it with: pip install"
    ):
        Launch("isheep", settings, training=asked)


def test_measures_are_named_by_their_step_and_placed_by_their_iteration() -> None:
    measured = {"values": {"probes": {"passed": 0.5, "of": 22}, "note": "text", "gone": None}}
    record = StepRecord("iter1/measure", "evaluate", "f" * 64, "metrics", result=measured)
    assert _measures("iter1/measure", record) == (
        {"measure/probes.passed": 0.5, "measure/probes.of": 22},
        2,
    )
    assert _measures("measure", record)[1] == 0
    assert (
        "control/seeds-alone-measure/probes.of"
        in _measures("control/seeds-alone-measure", record)[0]
    )
    rows = StepRecord("iter1/keep", "keep", "f" * 64, "dataset", result={"count": 3})
    assert _measures("iter1/keep", rows) == ({}, 2)


# One process that loads accelerate: what is between us and a tracker.
def test_measures_reach_the_tracker(trackio: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    tracker = MeasureTracker(Tracking("trackio", tmp_path / "my-run"), notes.append)
    tracker.log({}, 0)
    tracker.log({"measure/probes": 0.25}, 0)
    tracker.log({"measure/probes": 0.5}, 1)
    tracker.close()
    told = [json.loads(line) for line in trackio.read_text().splitlines()]
    assert told[0] == ["init", "my-run"]
    assert told[1:3] == [["log", {"measure/probes": v}, i] for i, v in enumerate((0.25, 0.5))]
    assert told[-1] == ["finish"]
    assert notes == []


def test_a_tracker_that_breaks_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    notes: list[str] = []
    tracker = MeasureTracker(Tracking("wandb", tmp_path / "run"), notes.append)
    for step in range(3):
        tracker.log({"measure/probes": 0.25}, step)
    tracker.close()
    tracker.close()
    assert notes == ["wandb takes no measures: it ended"]


def test_a_training_is_told_where_its_curves_go_and_stays_the_same(tmp_path: Path) -> None:
    plain, told = LocalTrainer(), LocalTrainer(tracking=Tracking("trackio", tmp_path / "my-run"))
    assert plain.__canonical__() is told.__canonical__() is None
    assert plain.tracking.environment() == {}
    found = told.tracking.environment(step_of(tmp_path / "iter0" / "train-0a" / "attempt-1"))
    assert found["WANDB_PROJECT"] == "my-run"
    assert found["TENSORBOARD_LOGGING_DIR"] == f"{tmp_path}/my-run/tracker/iter0/train-0a"
    assert Execution().report_to == ""
