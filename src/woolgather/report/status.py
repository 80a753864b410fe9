"""What a run directory says of the run's state: its steps, its owner, the step under way.

The one idea: everything is read from files that a run writes anyway, so that looking disturbs
nothing; no lock is taken. A killed run leaves its owner file behind, so the owner is believed only
while that process lives.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from woolgather.core.rows import JSON
from woolgather.report import lineage as tracing
from woolgather.report.text import duration, number, outcome, speed
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


def status_of(run_dir: Path) -> dict[str, JSON]:
    """What `status` shows: `recipe`, `state`, `owner`, `inputs`, `steps`, `running`, `warnings`,
    `headline`."""
    head = read_run(run_dir)
    launches = read_launches(run_dir)
    steps = current_steps(run_dir)
    latest = launches[-1] if launches else None
    own = {str(entry["path"]) for entry in latest.steps} if latest else set()
    owner = _owner(run_dir)
    concluded = [record.headline for _, record in steps if record.concludes]
    return {
        "run": str(run_dir),
        "recipe": head.get("recipe"),
        "state": _state(run_dir, latest, owner),
        "owner": owner,
        "inputs": [_input(folder) for folder in tracing.inputs_of(run_dir, steps)],
        "steps": [_status_row(entry, record, str(entry["path"]) in own) for entry, record in steps],
        "running": _running(run_dir) if owner else None,
        "warnings": [f"{record.step}: {text}" for _, record in steps for text in record.warnings],
        "headline": concluded[-1] if concluded else None,
    }


def _input(folder: Path) -> dict[str, JSON]:
    """What came from outside: its name in the recipe and, of texts, what is noted of them."""
    noted = read_input(folder)
    more = {"given_as": noted.pop("name")} if noted else {}
    name = folder.name.rsplit("-", 1)[0]
    return {"name": name, "path": f"{INPUTS}/{folder.name}", **more, **noted}


def _status_row(entry: Mapping[str, Any], record: StepRecord, own: bool) -> dict[str, JSON]:
    result, calls = record.result, record.calls
    tokens = calls.get("completion_tokens", 0)
    rows = record.kind == "dataset"
    return {
        "step": record.step,
        "state": str(entry["state"]) if own else f"launch {record.launch}",
        "rows": result.get("count") if rows else None,
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


def _owner(run_dir: Path) -> dict[str, JSON] | None:
    """The process that works on the run now; None when there is none, or it was killed."""
    owner = RunLock(run_dir).read()
    if not owner:
        return None
    if owner.get("host") != socket.gethostname():
        return owner if time.time() - float(owner.get("beat") or 0) < STALE else None
    import psutil

    try:
        began = psutil.Process(int(owner["pid"])).create_time()
        since = datetime.fromisoformat(str(owner["since"])).timestamp()
    except (psutil.Error, KeyError, TypeError, ValueError):
        return None
    return owner if began <= since + 1 else None  # a later process may have the same number


def _state(run_dir: Path, latest: RunRecord | None, owner: dict[str, JSON] | None) -> str:
    if latest is None:
        return "no launch yet"
    if owner:
        who = f"process {owner.get('pid')} on {owner.get('host')}"
        return f"launch {latest.launch} is running since {owner.get('since')} ({who})"
    if latest.status == "finished":
        result = f"; model: {run_dir / latest.result}" if latest.result else ""
        return f"finished {latest.finished}{result}"
    if latest.status == "running":
        return f"launch {latest.launch} was killed; the same command continues"
    why = f": {latest.message}" if latest.message else ""
    return f"{latest.status} {latest.finished}{why}; the same command continues"


def _running(run_dir: Path) -> dict[str, JSON] | None:
    """The step under way by the end of events.jsonl: its name, rate, time left and a readable line;
    None between steps."""
    started: dict[str, JSON] | None = None
    progress: dict[str, JSON] = {}
    for event in _events(run_dir / "events.jsonl"):
        if event.get("event") == "step_started":
            started, progress = event, {}
        elif event.get("event") == "step_finished":
            started = None
        elif event.get("event") == "progress":
            progress = event
    if started is None:
        return None
    age = time.time() - float(progress.get("time") or 0)
    left = progress.get("left")
    left = None if left is None else max(0.0, round(float(left) - age, 1))
    since = time.time() - float(started.get("time") or 0)
    expected = progress.get("expected") or {}
    training = progress.get("training") or {}
    parts = []
    if training:
        parts.append(f"update {training.get('update')} of {training.get('updates')}")
    for key, of in (("rows", "rows"), ("calls", "calls")):
        if progress.get(key):
            bound = f" of {number(expected[of])} at most" if expected.get(of) else ""
            parts.append(f"{number(progress[key])} {key}{bound}")
    if rate := progress.get("rate"):
        parts.append(speed(rate))
    parts.append(f"for {duration(since)}")
    if left:
        parts.append(f"≤{duration(left)} left")
    return {
        "step": started.get("step"),
        "rows": progress.get("rows"),
        "calls": progress.get("calls"),
        "tokens_per_second": rate,
        "seconds": round(since, 1),
        "seconds_left": left,
        "training": training or None,
        "line": " · ".join(parts),
    }


def _events(path: Path) -> Iterator[dict[str, JSON]]:
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
