"""Killed with -9 at random moments, a run on the fake path ends with the same data, byte for byte."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from woolgather.runs.record import current_steps, read_launches

SETTINGS = {
    "isheep": ["iterations=2", "per_iteration=12"],
    "humback": ["judge.pairs=24", "measure.probes=55"],
    "dromedary": ["judge.pairs=24", "measure.probes=55", "pool.limit=40"],
    "spin": ["pairs.max_prompts=40", "measure.probes=55"],
}
RECIPES = sorted(SETTINGS)


def command(folder: Path, *more: str, recipe: str = "isheep") -> list[str]:
    return [
        sys.executable, "-c", "from woolgather.cli import main; main()", "run", recipe,
        "--preset", "demo", "--engine", "fake", "--no-report", *SETTINGS[recipe],
        "--dir", str(folder), *more,
    ]  # fmt: skip


def data(folder: Path) -> dict[str, bytes]:
    """Every data file of the current steps, by step and name."""
    found = {}
    for entry, record in current_steps(folder):
        for name in record.result.get("files") or ():
            found[f"{record.step}/{name}"] = (folder / str(entry["path"]) / name).read_bytes()
    return found


def finish(folder: Path, *more: str, recipe: str = "isheep") -> subprocess.CompletedProcess[str]:
    asked = command(folder, *more, recipe=recipe)
    return subprocess.run(asked, capture_output=True, text=True, timeout=240)


Whole = Callable[[str], Path]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A recipe's run that nothing disturbed."""

    @cache
    def made(recipe: str) -> Path:
        folder = tmp_path_factory.mktemp(recipe) / "run"
        done = finish(folder, recipe=recipe)
        assert done.returncode == 0, done.stderr
        return folder

    return made


def begun(folder: Path) -> list[str]:
    """The steps that launches so far have begun to execute, in order."""
    path = folder / "events.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    return [e["step"] for e in map(json.loads, lines) if e["event"] == "step_started"]


def killed_run(folder: Path, recipe: str, kills: int, steps: int, seed: int) -> list[str]:
    """Kill `kills` launches, each some moment after it has begun a step drawn from the run's
    `steps`, so that it does not matter how fast the machine is; the steps they fell in."""
    rng, places = random.Random(seed), list[str]()
    for wanted in sorted(rng.sample(range(1, steps), kills)):
        before, after = len(begun(folder)), rng.uniform(0, 0.05)
        process = subprocess.Popen(
            command(folder, recipe=recipe), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None:
            steps_so_far = begun(folder)
            if len(steps_so_far) > before and len(set(steps_so_far)) >= wanted:
                time.sleep(after)
                os.kill(process.pid, signal.SIGKILL)
                if process.wait() == -signal.SIGKILL:
                    places.append(begun(folder)[-1])
            time.sleep(0.005)
    return places


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.full)])
@pytest.mark.timeout(900)
def test_killed_at_random_moments(whole: Whole, tmp_path: Path, recipe: str, kills: int) -> None:
    undisturbed = data(whole(recipe))
    steps = len(current_steps(whole(recipe)))
    # A launch may end before it is killed, so the directory starts anew until the number is met.
    places, rounds = list[str](), 0
    while len(places) < kills:
        folder = tmp_path / f"run{rounds}"
        places += killed_run(folder, recipe, min(4, kills - len(places)), steps, seed=rounds)
        rounds += 1
        done = finish(folder, recipe=recipe)
        assert done.returncode == 0, done.stderr
        assert data(folder) == undisturbed
    assert len(set(places)) >= min(kills // 2, 8), places


def test_kill_between_data_and_marker(whole: Whole, tmp_path: Path) -> None:
    """The data of a step are there and its record is not: it is made again, the same."""
    folder = tmp_path / "run"
    assert finish(folder).returncode == 0
    for entry, record in current_steps(folder):
        if record.step in ("iter0/keep", "iter1/train", "iter0/respond"):
            (folder / str(entry["path"]) / "record.json").unlink()
    calls = sqlite3.connect(folder / "journal.sqlite").execute("select count(*) from calls")
    before = calls.fetchone()[0]
    done = finish(folder)
    assert done.returncode == 0, done.stderr
    assert data(folder) == data(whole("isheep"))
    calls = sqlite3.connect(folder / "journal.sqlite").execute("select count(*) from calls")
    assert calls.fetchone()[0] == before


@pytest.mark.parametrize("recipe", RECIPES)
def test_second_run_executes_no_step(whole: Whole, recipe: str) -> None:
    folder = whole(recipe)
    done = finish(folder, recipe=recipe)
    assert done.returncode == 0, done.stderr
    last = read_launches(folder)[-1]
    assert {entry["state"] for entry in last.steps} == {"remembered"}


def test_sigterm_stops_cleanly_with_75_and_continues(whole: Whole, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen(command(folder), stdout=subprocess.PIPE, text=True)
    while not (folder / "launches").is_dir() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75, out
    assert "same command" in out
    launch = json.loads((folder / "launches" / "0001.json").read_text())
    assert launch["status"] == "stopped"
    assert finish(folder).returncode == 0
    assert data(folder) == data(whole("isheep"))


def test_deadline_stops_with_75(tmp_path: Path) -> None:
    done = finish(tmp_path / "run", "--max-hours", "0.0003")
    assert done.returncode == 75, done.stderr
    assert "--max-hours" in done.stdout
