"""`events.jsonl`: what a run tells programs, one JSON object per line.

The one idea: it is a window, not a record. The file is bounded, its oldest lines go first, and what
cannot be written is left out: nothing here may end a run.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from woolgather.core.rows import JSON

MOST_BYTES = 8 << 20
"""Size at which the older half goes; at an event in ten seconds some three weeks."""


class EventFile:
    """Appends events to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = ""
        """The line that says which step runs: it stays in the file."""

    def write(self, event: str, step: str, **fields: JSON) -> None:
        """Append one event with the time (seconds since 1970) and the step."""
        told = {"time": round(time.time(), 2), "event": event, "step": step, **fields}
        try:
            line = json.dumps(told, ensure_ascii=False) + "\n"
            if event == "step_started":
                self._started = line
            if self._path.exists() and self._path.stat().st_size > MOST_BYTES:
                self._forget()
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except (OSError, ValueError, TypeError):
            pass

    def _forget(self) -> None:
        """Replaces the file by its newer half, behind the line that says which step runs."""
        with self._path.open("rb") as file:
            file.seek(MOST_BYTES // 2)
            file.readline()  # the rest of a line that was cut
            newer = file.read()
        temp = self._path.with_name(f".{self._path.name}.tmp")
        temp.write_bytes(self._started.encode() + newer)
        temp.replace(self._path)
