"""What a run says while it works: where its time goes, and events that never get in its way."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from woolgather.api.progress import event_file, show
from woolgather.api.progress.bottleneck import TimeSpent
from woolgather.api.progress.event_file import EventFile
from woolgather.api.progress.show import Shown
from woolgather.core.expected import Expected
from woolgather.engines.journal import Calls
from woolgather.runs.record import StepRecord


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def events_of(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def shown(path: Path, *, server: bool = False) -> tuple[Shown, io.StringIO]:
    said = io.StringIO()
    return Shown(Console(file=said, width=200), path, server=server), said


def test_time_goes_to_what_tells_next() -> None:
    clock = Clock()
    spent = TimeSpent("server", clock)
    assert spent.most() is None
    spent.begin(Expected(calls=3))
    clock.now = 8.0
    assert spent.most() == ("server", 1.0)  # nothing has told yet, and calls are awaited
    spent.told("server")
    clock.now = 10.0
    spent.told("own work")
    spent.wrote(1.5)
    assert spent.seconds() == {"own work": 0.5, "server": 8.0, "disk": 1.5}
    assert spent.most() == ("server", 0.8)
    spent.begin(Expected(updates=2, calls=1))
    clock.now = 11.0
    assert spent.seconds() == {"trainer": 1.0, "own work": 0.0, "disk": 0.0}


def test_a_step_that_only_writes_waits_for_the_disk() -> None:
    clock = Clock()
    spent = TimeSpent(clock=clock)
    clock.now = 4.0
    spent.told("own work")
    spent.wrote(3.0)
    assert spent.most() == ("disk", 0.75)


def test_a_silent_wait_is_told_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "BEAT", 0.01)
    monkeypatch.setattr(show, "PLAIN_EVERY", 0.0)
    path = tmp_path / "events.jsonl"
    progress, said = shown(path, server=True)
    progress.step_started("iter0/respond", "not done yet", Expected(calls=5))
    end = time.monotonic() + 60
    while not any(e["event"] == "progress" for e in events_of(path)):
        assert time.monotonic() < end, "nothing was told"
        time.sleep(0.01)
    progress.close()
    told = next(e for e in events_of(path) if e["event"] == "progress")
    assert (told["step"], told["calls"], told["bottleneck"]) == ("iter0/respond", 0, "server")
    assert set(told["spent"]) >= {"server", "disk", "own work"}
    assert "bottleneck: server (100 %)" in said.getvalue()
    count = len(events_of(path))
    time.sleep(0.1)
    assert len(events_of(path)) == count  # after close nobody tells


def test_remembered_answers_are_no_wait_for_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "PLAIN_EVERY", -1.0)
    path = tmp_path / "events.jsonl"
    progress, _ = shown(path)
    progress.step_started("ask", "not done yet", Expected())
    time.sleep(0.02)
    progress.calls("ask", Calls(requests=3, remembered=3))
    progress.calls("ask", Calls(requests=4, remembered=3, completion_tokens=7))
    progress.step_finished("ask", StepRecord("ask", "ask", "f" * 64, "dataset"))
    progress.close()
    told = [e for e in events_of(path) if e["event"] == "progress"]
    assert told[0]["bottleneck"] == "own work"
    assert (told[-1]["asked"], told[-1]["tokens"]) == (1, 7)


def test_the_file_of_events_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_file, "MOST_BYTES", 4000)
    path = tmp_path / "events.jsonl"
    events = EventFile(path)
    events.write("step_started", "long", why="not done yet")
    for i in range(300):
        events.write("progress", "long", rows=i)
    assert path.stat().st_size < 4200
    found = events_of(path)
    assert found[0]["event"] == "step_started"  # so that status knows what runs
    assert [e["rows"] for e in found[1:]] == list(range(300 - len(found) + 1, 300))


def test_events_that_cannot_be_written_are_left_out(tmp_path: Path) -> None:
    EventFile(tmp_path).write("note", "step", text="the path is a folder")
    path = tmp_path / "events.jsonl"
    events = EventFile(path)
    events.write("note", "step", text=object())  # type: ignore[arg-type]
    events.write("note", "step", text="\ud800")
    events.write("note", "step", text="seen")
    assert [e["text"] for e in events_of(path)][-1] == "seen"
