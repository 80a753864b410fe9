"""What in a run directory no current result needs, and why: what `clean` deletes.

The one idea: whatever the same command would continue from is kept, and so is every folder that a
kept model or link leads into.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from woolgather.runs.record import INPUTS, LAUNCHES, RECORD, current_steps, read_launches


@dataclass(frozen=True)
class Leftover:
    """A file or folder that may be deleted."""

    path: Path
    why: str

    @property
    def size(self) -> int:
        """Returns the bytes in it."""
        inside = [self.path, *self.path.rglob("*")] if self.path.is_dir() else [self.path]
        return sum(p.lstat().st_size for p in inside if p.is_file())


def find_leftovers(run_dir: Path) -> list[Leftover]:
    """Returns the results that the latest launch does not use, steps that never finished, attempts of
    finished steps, and the engines' logs of a finished run."""
    launches = read_launches(run_dir)
    current = current_steps(run_dir)
    finished = bool(launches) and launches[-1].status == "finished"
    since = 0.0
    for launch in itertools.takewhile(lambda x: x.status != "finished", reversed(launches)):
        since = datetime.fromisoformat(launch.started).timestamp()
    kept = {run_dir / str(entry["path"]) for entry, _ in current}
    needed = [Path(str(r.result.get("path"))) for _, r in current if r.kind == "model"]
    needed += [p.resolve() for p in run_dir.iterdir() if p.is_symlink()]
    found: list[Leftover] = []
    for folder in _step_dirs(run_dir):
        if folder in kept:
            attempts = sorted(folder.glob("attempt-*"))
            found += [Leftover(attempt, "an attempt of a finished step") for attempt in attempts]
        elif any(path.is_relative_to(folder.resolve()) for path in needed):
            continue
        elif (folder / RECORD).is_file():
            found.append(Leftover(folder, "a result that the latest launch does not use"))
        elif finished or folder.stat().st_mtime < since:
            found.append(Leftover(folder, "a step that never finished"))
    if finished:
        logs = sorted(run_dir.glob("engine*.log"))
        found += [Leftover(log, "the log of an engine") for log in logs]
    return found


def _step_dirs(run_dir: Path) -> Iterator[Path]:
    """Every directory whose name is a step's, at any depth of scopes; links are not followed."""
    for path in sorted(p for p in run_dir.iterdir() if p.is_dir() and not p.is_symlink()):
        if re.fullmatch(r".+-[0-9a-f]{12}", path.name):
            yield path
        elif path.name not in (INPUTS, LAUNCHES):
            yield from _step_dirs(path)
