"""One process owns a run directory at a time.

On one host the operating system's file lock decides, so a killed owner leaves nothing behind. A file
lock may not reach another host of a shared file system; there a heartbeat decides: older than
`STALE` seconds means gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from woolgather.core.errors import RunDirError
from woolgather.core.rows import JSON
from woolgather.core.storage import write_json

BEAT = 15.0
STALE = 60.0


class RunLock:
    """Context manager. Raises RunDirError naming who owns the run and since when."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = FileLock(str(folder / "run.lock"))
        self._owner = folder / "owner.json"
        self._done = threading.Event()
        self._since = ""

    def __enter__(self) -> RunLock:
        try:
            self._file.acquire(timeout=0)
        except Timeout:
            raise RunDirError(self._in_use(self.read())) from None
        owner = self.read()
        elsewhere = owner and owner.get("host") != socket.gethostname()
        beat = owner.get("beat", 0)
        if elsewhere and isinstance(beat, int | float) and time.time() - beat < STALE:
            self._file.release()
            raise RunDirError(self._in_use(owner))
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self._beat()
        except OSError:
            self._file.release()
            raise
        threading.Thread(target=self._keep_beating, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        with contextlib.suppress(OSError):
            self._owner.unlink()
        self._file.release()

    def read(self) -> dict[str, JSON]:
        """Returns who owns the run (`pid`, `host`, `since`, `beat`), or nothing."""
        try:
            found = json.loads(self._owner.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _in_use(self, owner: dict[str, JSON]) -> str:
        who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
        since = owner.get("since", "an unknown time")
        return (
            f"{self._folder} is in use by {who} since {since}. Wait for it, stop it, or give "
            "another directory with --dir."
        )

    def _keep_beating(self) -> None:
        while not self._done.wait(BEAT):
            with contextlib.suppress(OSError):
                self._beat()

    def _beat(self) -> None:
        owner = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": self._since,
            "beat": time.time(),
        }
        write_json(self._owner, owner)
