"""What a run directory says of the run's state: its steps, its owner, the step under way.

The one idea: everything is read from files that a run writes anyway, so that looking disturbs
nothing; no lock is taken. A killed run leaves its owner file behind, so the owner is believed only
while that process lives.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypedDict

from woolgather.report.lineage import inputs_of
from woolgather.report.text import (
    bottleneck,
    duration,
    is_number,
    number,
    outcome,
    row_count,
    speed,
    when,
)
from woolgather.runs.lock import STALE, RunLock
from woolgather.runs.record import (
    INPUTS,
    RunRecord,
    StepRecord,
    current_steps,
    read_input,
    read_launches,
    read_run,
)


class StepStatus(TypedDict):
    """A finished step."""

    step: str
    state: str
    """What the latest launch did with it, or the launch that it is left from."""
    rows: int | None
    """Rows in use, as `set_aside` counts those set aside; None where the step makes no rows."""
    set_aside: int | None
    reasons: dict[str, int]
    """Rows set aside by reason, the commonest first."""
    outcome: str | None
    """What came of a step that makes no rows."""
    calls: int | None
    remembered: int | None
    """Calls that an earlier launch had answered."""
    tokens_per_second: float | None
    seconds: float
    why: str
    """Why the step ran."""


class RunningStep(TypedDict):
    """The step under way."""

    step: str
    rows: int | None
    calls: int | None
    tokens_per_second: float | None
    seconds: float
    """Since it began."""
    seconds_left: float | None
    """At most; None where that is not known."""
    training: Mapping[str, object] | None
    bottleneck: str | None
    """What takes most of its time: engine, server, trainer, disk, or own work."""
    line: str
    """All of it for people."""


class RunStatus(TypedDict):
    """What a run directory says of the state of its run."""

    run: str
    recipe: str
    state: str
    """A sentence: finished, running, stopped or failed, and since when."""
    owner: Mapping[str, object] | None
    """The process that works on the run now."""
    inputs: Sequence[Mapping[str, object]]
    """What came from outside: `name`, `path`, and of texts what is noted of them."""
    steps: list[StepStatus]
    running: RunningStep | None
    warnings: list[str]
    headline: str | None
    """What came of the run."""


def status_of(run_dir: Path) -> RunStatus:
    """Returns the state of a run. Raises RunDirError when `run_dir` is no run directory, is of a newer
    format, or holds a broken record."""
    head = read_run(run_dir)
    launches = read_launches(run_dir)
    steps = current_steps(run_dir)
    latest = launches[-1] if launches else None
    own = {str(entry["path"]) for entry in latest.steps} if latest else set()
    owner = _owner(run_dir)
    concluded = [record.headline for _, record in steps if record.concludes]
    return {
        "run": str(run_dir),
        "recipe": str(head.get("recipe")),
        "state": _state(run_dir, latest, owner),
        "owner": owner,
        "inputs": [_input(folder) for folder in inputs_of(run_dir, steps)],
        "steps": [_status_row(entry, record, str(entry["path"]) in own) for entry, record in steps],
        "running": _running(run_dir) if owner else None,
        "warnings": [f"{record.step}: {text}" for _, record in steps for text in record.warnings],
        "headline": concluded[-1] if concluded else None,
    }


def _input(folder: Path) -> dict[str, object]:
    """What came from outside: its name in the recipe and, of texts, what is noted of them."""
    noted = read_input(folder)
    more = {"given_as": noted.pop("name")} if noted else {}
    name = folder.name.rsplit("-", 1)[0]
    return {"name": name, "path": f"{INPUTS}/{folder.name}", **more, **noted}


def _status_row(entry: Mapping[str, object], record: StepRecord, own: bool) -> StepStatus:
    calls = record.calls
    tokens = calls.get("completion_tokens", 0)
    rows = record.kind == "dataset"
    return {
        "step": record.step,
        "state": str(entry["state"]) if own else f"launch {record.launch}",
        "rows": row_count(record) if rows else None,
        "set_aside": sum(record.set_aside.values()) if rows else None,
        "reasons": dict(sorted(record.set_aside.items(), key=lambda item: -item[1])),
        "outcome": None if rows else outcome(record),
        "calls": calls.get("requests") or None,
        "remembered": calls.get("remembered") or None,
        "tokens_per_second": round(tokens / record.seconds, 1)
        if tokens and record.seconds
        else None,
        "seconds": record.seconds,
        "why": str(entry.get("why") or ""),
    }


def _owner(run_dir: Path) -> Mapping[str, object] | None:
    """The process that works on the run now; None when there is none, or it was killed."""
    owner = RunLock(run_dir).read()
    if not owner:
        return None
    if owner.get("host") != socket.gethostname():
        return owner if time.time() - _number(owner, "beat") < STALE else None
    import psutil

    try:
        began = psutil.Process(int(str(owner["pid"]))).create_time()
        since = datetime.fromisoformat(str(owner["since"])).timestamp()
    except (psutil.Error, KeyError, TypeError, ValueError):
        return None
    return owner if began <= since + 1 else None  # a later process may have the same number


def _state(run_dir: Path, latest: RunRecord | None, owner: Mapping[str, object] | None) -> str:
    if latest is None:
        return "no launch yet"
    if owner:
        since = str(owner.get("since") or "")
        who = f"process {owner.get('pid')} on {owner.get('host')}"
        return f"launch {latest.launch} has been running since {when(since)} ({who})"
    if latest.status == "finished":
        result = f"; model: {run_dir / latest.result}" if latest.result else ""
        return f"finished {when(latest.finished)}{result}"
    if latest.status == "running":
        return f"launch {latest.launch} was killed; the same command resumes it"
    why = f": {latest.message}" if latest.message else ""
    return f"{latest.status} {when(latest.finished)}{why}; the same command resumes it"


def _running(run_dir: Path) -> RunningStep | None:
    """The step under way by the end of events.jsonl; None between steps."""
    started: Mapping[str, object] | None = None
    progress: Mapping[str, object] = {}
    for event in _events(run_dir / "events.jsonl"):
        if event.get("event") == "step_started":
            started, progress = event, {}
        elif event.get("event") == "step_finished":
            started = None
        elif event.get("event") == "progress":
            progress = event
    if started is None:
        return None
    left = progress.get("left")
    if is_number(left):
        left = max(0.0, round(left - (time.time() - _number(progress, "time")), 1))
    since = time.time() - _number(started, "time")
    expected, training = _mapping(progress, "expected"), _mapping(progress, "training")
    rate = _number(progress, "rate") or _number(training, "tokens_per_second")
    parts = []
    if training:
        parts.append(f"update {training.get('update')} of {training.get('updates')}")
    for key in ("rows", "calls"):
        if done := _number(progress, key):
            most = _number(expected, key)
            parts.append(f"{number(done)} {key}" + (f" of at most {number(most)}" if most else ""))
    if rate:
        parts.append(speed(rate))
    parts.append(f"for {duration(since)}")
    if is_number(left) and left:
        parts.append(f"at most {duration(left)} left")
    slow = progress.get("bottleneck")
    if isinstance(slow, str):
        spent = _mapping(progress, "spent")
        total = sum(_number(spent, place) for place in spent)
        parts.append(bottleneck(slow, _number(spent, slow) / total if total else None))
    return {
        "step": str(started.get("step")),
        "rows": _count(progress, "rows"),
        "calls": _count(progress, "calls"),
        "tokens_per_second": rate or None,
        "seconds": round(since, 1),
        "seconds_left": left if is_number(left) else None,
        "training": training or None,
        "bottleneck": slow if isinstance(slow, str) else None,
        "line": " · ".join(parts),
    }


def _number(values: Mapping[str, object], key: str) -> float:
    """A number, or 0 where it is missing."""
    value = values.get(key)
    return value if is_number(value) else 0


def _count(values: Mapping[str, object], key: str) -> int | None:
    value = values.get(key)
    return value if isinstance(value, int) else None


def _mapping(values: Mapping[str, object], key: str) -> Mapping[str, object]:
    """A mapping, empty where it is missing."""
    value = values.get(key)
    return value if isinstance(value, Mapping) else {}


def _events(path: Path) -> Iterator[Mapping[str, object]]:
    """Events of the file; a line that is still being written is passed over."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event
