"""Whether a step's result is there already, and if not, why not, in a sentence; whether it is needed.

The one idea: a record counts only while what it was made from and what it says it made are still
the same, and those that answered are the models that were asked. A change is explained field by
field, from the newest earlier result of the same name. A step is needed unless all that is made from
its result is given, or not needed either.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from woolgather.core.errors import ConfigError, RunDirError
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import explain_change, fingerprint
from woolgather.core.rows import JSON
from woolgather.runs.call import Call, StepChoices, artifacts_in
from woolgather.runs.earlier.payloads import modern
from woolgather.runs.models import RunModels
from woolgather.runs.record import RECORD, StepRecord, read_record, runs_in
from woolgather.runs.results import link, next_attempt

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


def take_shared(run_dir: Path, call: Call, shared: Path, *, plan: bool = False) -> Call:
    """Returns the call with its result in place, by hard links, where another run in `shared` has made
    it and this one has not. In a plan nothing is put in place: the folder is that of the other run."""
    if (call.folder / RECORD).is_file():
        return call
    for run in runs_in(shared):
        made = run / call.folder.relative_to(run_dir)
        if (made / RECORD).is_file():
            if plan:
                return replace(call, folder=made)
            link(made, call.folder)
            break
    return call


def take_attempts(run_dir: Path, call: Call, shared: Path) -> None:
    """Puts beside the call's attempts, by hard links, those that other runs in `shared` were killed in: a
    training goes on from the checkpoints of any of them. Only for whoever makes the step."""
    for run in runs_in(shared):
        left = run / call.folder.relative_to(run_dir)
        if left == call.folder:
            continue
        for attempt in sorted(left.glob("attempt-*")):
            call.folder.mkdir(parents=True, exist_ok=True)
            link(attempt, call.folder / f"attempt-{next_attempt(call.folder)}")


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


@dataclass(frozen=True)
class Planned:
    """One line of a plan."""

    step: str
    state: Literal["remembered", "new", "given", "not needed"]
    why: str
    expected: Expected
    seconds: float | None = None
    """Measured, for a remembered step."""
    fingerprint: str = ""
    """The call's, as far as a plan knows it: a step of several runs is one where they share it."""

    def spared(self) -> Planned:
        """Returns the line of a step that need not run."""
        return Planned(self.step, "not needed", "only given steps need it", Expected())


@dataclass(frozen=True)
class Walked:
    """A step that a plan came to."""

    call: Call
    anew: bool = True
    """Whether it has to run."""
    given: bool = False


def spare_steps(
    walked: Sequence[Walked], looked_at: Collection[str], redo: Collection[str]
) -> frozenset[str]:
    """Returns the names of the steps, of all that a plan came to, in order, that need not run.

    A step whose result no other step takes (a measure, a view) is wanted for itself, and so is one in
    `redo` and one whose result the recipe looked at: `looked_at` holds fingerprints."""
    takes = [{a.fingerprint for a in artifacts_in(step.call.bound)} for step in walked]
    taken = set[str]().union(*takes)
    needed, spare = set(looked_at), set[str]()
    for step, uses in zip(reversed(walked), reversed(takes), strict=True):
        made, name = step.call.identity, step.call.name
        if step.given:
            continue
        if made in needed or made not in taken or name in redo:
            needed |= uses
        else:
            spare.add(name)
    return frozenset(spare)


def check_names(choices: StepChoices, known: Collection[str]) -> None:
    """Raises ConfigError, with the nearest of the `known` names, for a step that the run has not."""
    for option, names in (("--given", choices.given), ("--redo", choices.redo)):
        for name in sorted(names):
            if name not in known:
                raise ConfigError(
                    f"{option} {name}: the run has no such step.{_nearest(name, known)}"
                )


def _nearest(name: str, known: Collection[str]) -> str:
    """Names that end alike come first."""
    last = name.rpartition("/")[2]
    alike = [each for each in sorted(known) if each.rpartition("/")[2] == last]
    close = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    found = list(dict.fromkeys([*alike, *close]))[:3]
    return (
        f" Did you mean {' or '.join(found)}?" if found else " `woolgather plan` lists its steps."
    )


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
    lines.sort(key=lambda line: not line.startswith("version:"))  # the reason for what came with it
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
