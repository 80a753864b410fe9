"""`woolgather run --engine-replicas`: the same run with and without, stopped and continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from woolgather.cli import app
from woolgather.core.errors import Stopped
from woolgather.runs.record import current_steps, read_launches

pytestmark = pytest.mark.xdist_group("ray")
SETTINGS = [
    "run", "isheep", "--preset", "demo", "--engine", "fake", "--no-report", "iterations=1",
    "per_iteration=10", "judge.pairs=24", "measure.probes=22", "controls=false",
]  # fmt: skip


def finish(folder: Path, *more: str) -> set[str]:
    """States of the steps."""
    done = CliRunner().invoke(app(), [*SETTINGS, "--dir", str(folder), *more])
    assert done.exit_code == 0, (done.output, done.exception)
    return {str(entry["state"]) for entry in read_launches(folder)[-1].steps}


def rows_of(folder: Path) -> dict[str, bytes]:
    """Every data file of the current steps, by step and name."""
    return {
        f"{record.step}/{name}": (folder / str(entry["path"]) / name).read_bytes()
        for entry, record in current_steps(folder)
        for name in record.result.get("files") or ()
    }


def wait_for(true: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.1)


def test_a_run_is_stopped_and_continued_with_and_without_replicas(
    cluster: Any, tmp_path: Path
) -> None:
    folder, events = tmp_path / "run", tmp_path / "run" / "events.jsonl"
    words = [*SETTINGS, "--dir", str(folder), "--engine-replicas", "2"]
    run = subprocess.Popen(
        [sys.executable, "-m", "woolgather", *words], stdout=subprocess.DEVNULL, env=os.environ
    )
    # Ray starts on this machine, and goes with the command that started it.
    wait_for(lambda: events.is_file() and '"step_started", "step": "measure"' in events.read_text())
    wait_for(lambda: any("raylet" in p.name() for p in psutil.Process(run.pid).children()))
    rays = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == Stopped.exit_code
    wait_for(lambda: not any(process.is_running() for process in rays))

    asked = ["--engine-replicas", "2", "--ray", cluster.address]
    assert finish(folder, *asked) == {"remembered", "ran"}
    assert finish(folder) == {"remembered"}
    assert finish(tmp_path / "direct") == {"ran"}
    assert finish(tmp_path / "direct", *asked) == {"remembered"}
    assert rows_of(folder) == rows_of(tmp_path / "direct")
    served = [r.execution["engine"] for _, r in current_steps(folder) if "engine" in r.execution]
    assert cluster.address not in str(served)
