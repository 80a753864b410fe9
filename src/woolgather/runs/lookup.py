"""Whether a step's result is there already; if it is not, why not, in a sentence.

The one idea: a record counts only while what it was made from and what it says it made are still
the same, and those that answered are the models that were asked. A change is explained field by
field, from the newest earlier result of the same name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from woolgather.core.errors import RunDirError
from woolgather.core.fingerprint import explain_change, fingerprint
from woolgather.core.rows import JSON
from woolgather.runs.call import Call, artifacts_in
from woolgather.runs.earlier.payloads import modern
from woolgather.runs.models import RunModels
from woolgather.runs.record import RECORD, StepRecord, read_record

Index = Mapping[str, tuple[str, str]]
"""By fingerprint: the step or input that made the artifact, and the digest of its bytes; an empty
digest where a plan expects it to be made."""


def standing(run_dir: Path, call: Call) -> Call:
    """Returns the call as an earlier version knew it, where only that version's record of it is there;
    the call itself otherwise."""
    if (call.folder / RECORD).is_file():
        return call
    for path in _earlier(run_dir, call):
        with contextlib.suppress(RunDirError):
            record = read_record(path)
            now = modern(record.payload)
            if now != record.payload and fingerprint(now) == call.identity:
                return call.known_as(record.fingerprint, run_dir)
    return call


def look_up(
    run_dir: Path, call: Call, index: Index, models: RunModels, *, plan: bool = False
) -> tuple[StepRecord | None, str]:
    """Returns the record that stands for this call, or None and why there is none. Raises
    RunDirError for a record that cannot be read."""
    if not (call.folder / RECORD).is_file():
        return None, _explain(run_dir, call, index)
    record = read_record(call.folder)
    if record.fingerprint != call.identity:
        return None, "another step has the same directory name"
    for artifact in artifacts_in(call.bound):
        known = index.get(artifact.fingerprint)
        if known is None:
            continue
        made_by, digest = known
        if plan and not digest:
            return None, f"{made_by} runs again"
        used = record.inputs.get(artifact.fingerprint, {}).get("digest")
        if used and used != digest:
            return None, f"{made_by} was made again with other content"
    for file, size in dict(record.result.get("files") or {}).items():
        path = call.folder / file
        if not path.is_file() or path.stat().st_size != size:
            return None, f"{path} is missing or has another size"
    doubt = models.doubt(call, record)
    return (None, doubt) if doubt else (record, "")


def _explain(run_dir: Path, call: Call, index: Index) -> str:
    """Why there is no result yet, from the newest earlier one of the same name."""
    old = _earlier(run_dir, call)
    if not old:
        return "not done yet"
    before = modern(read_record(max(old, key=lambda p: p.stat().st_mtime)).payload)
    names = {k: v[0] for k, v in index.items()}
    for path in run_dir.glob("**/" + RECORD):
        with contextlib.suppress(RunDirError):
            found = read_record(path)
            names.setdefault(found.fingerprint, found.step)
    lines = explain_change(_with_step_names(before, names), _with_step_names(call.payload, names))
    raw = explain_change(before, call.payload)
    if not lines and raw:
        changed = {k: v for k, v in names.items() if any(k[:12] in line for line in raw)}
        lines = [f"{step} changed" for step in sorted(set(changed.values()))]
    return "new because " + "; ".join(lines[:4] + (["..."] if len(lines) > 4 else []))


def _earlier(run_dir: Path, call: Call) -> list[Path]:
    """The records of results of the same name, in no order."""
    stem = call.name.rsplit("/", 1)[-1]
    return [
        p / RECORD
        for p in (run_dir / call.name).parent.glob(f"{stem}-*")
        if len(p.name) == len(stem) + 13 and (p / RECORD).is_file()
    ]


def _with_step_names(payload: JSON, names: Mapping[str, str]) -> JSON:
    """The payload with artifacts shown by the step that made them."""
    if isinstance(payload, dict):
        return {k: _with_step_names(v, names) for k, v in payload.items()}
    if isinstance(payload, list):
        return [_with_step_names(v, names) for v in payload]
    if isinstance(payload, str) and len(payload) == 64:
        return names.get(payload, payload[:12])
    return payload
