"""Child processes that never outlive their parent by more than seconds.

The one idea: a child runs in a session of its own (a Ctrl-C in the terminal reaches only us, and we
decide), and is told who its parent is in `WOOLGATHER_PARENT`; grandchildren inherit the variable.
Each of our programs calls `watch_parent()` first and leaves when that process is gone, however it
went. Nothing here knows what the child does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from woolgather.core.errors import ConfigError

if TYPE_CHECKING:
    from woolgather.core.rows import JSON

PARENT = "WOOLGATHER_PARENT"
"""Environment variable "pid:create_time" of the process a child belongs to."""
ORPHANED = 70
"""Exit code of a child whose parent is gone."""
OLDEST_PYTHON = "3.11"
_POLL_SECONDS = 0.5
_ANSWER_SECONDS = 60


def spawn(
    argv: Sequence[str],
    *,
    log: Path | None,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `argv` in a session of its own; returns its process.

    stderr is appended to `log` (None: discarded), and so is stdout unless `stdout` says otherwise
    (`subprocess.PIPE`, a descriptor). `env` adds to our environment. Pipes are unbuffered.
    """
    own = psutil.Process()
    merged = {**environment(), **(env or {}), PARENT: f"{own.pid}:{own.create_time():.2f}"}
    with contextlib.ExitStack() as stack:
        sink: int = subprocess.DEVNULL
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            sink = stack.enter_context(log.open("ab")).fileno()
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=sink if stdout is None else stdout,
            stderr=sink,
            env=merged,
            start_new_session=True,
            bufsize=0,
        )


def ask_python(python: str, code: str, *, option: str, remedy: str) -> dict[str, JSON]:
    """Returns the JSON object that `code` prints in the interpreter at `python`.

    Raises ConfigError, which names the `option` that gave the interpreter and ends with `remedy`, where
    it cannot be run or is no Python of OLDEST_PYTHON or newer."""
    argv = [python, "-P", "-c", code]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_ANSWER_SECONDS)
        told: dict[str, JSON] = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{option} {python}: cannot be run ({error}). {remedy}") from None
    except ValueError:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ConfigError(
            f"{option} {python}: is not a Python of {OLDEST_PYTHON} or newer ({last}). {remedy}"
        ) from None
    return told


def environment() -> dict[str, str]:
    """Returns our own environment with what a child computes best in; what the user set stays."""
    told = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys()
    return {
        # How long a thread that waits spins before another program may have its core. For ever
        # (libgomp's own way) starves everybody as soon as a second program computes; never costs a
        # third of the speed of a machine that is ours alone. benchmarks/threads.py measures it.
        **({} if told else {"GOMP_SPINCOUNT": "30000"}),
        # Large pages for torch's CPU tensors: where fresh memory is dear (a virtual machine), an
        # elementwise operation on 64 MB ran 2.3 to 3 times as fast. Without effect elsewhere.
        "THP_MEM_ALLOC_ENABLE": "1",
        **os.environ,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }


def watch_parent() -> None:
    """End this process (at once, exit code 70) when the parent named in the environment is gone.

    Does nothing when the variable is missing: a program started by hand has nobody to follow.
    """
    told = os.environ.get(PARENT, "")
    if not told:
        return
    pid, _, created = told.partition(":")
    try:
        parent = psutil.Process(int(pid))
        # A second of slack: the boot time that create_time is counted from moves with the clock.
        mine = abs(parent.create_time() - float(created)) < 1.5
    except psutil.NoSuchProcess:
        mine = False
    if not mine:
        os._exit(ORPHANED)

    def watch() -> None:
        while _lives(parent):
            time.sleep(_POLL_SECONDS)
        os._exit(ORPHANED)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


def stop(proc: subprocess.Popen[bytes], grace: float = 5.0) -> None:
    """End a spawned process and all that it started: SIGTERM, `grace` seconds, SIGKILL."""
    family = _descendants(proc)
    _signal(proc, family, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        proc.wait(grace if proc.poll() is None else 0)
    _signal(proc, [*family, *_descendants(proc)], signal.SIGKILL)
    proc.wait()
    for pipe in (proc.stdin, proc.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def tail(log: Path | None, lines: int = 12) -> str:
    """Returns the last lines of a log, for an error's message; empty when there is none."""
    if log is None or not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 65536))
        text = file.read().decode("utf-8", "replace")
    return "\n".join(text.rstrip().splitlines()[-lines:])


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _descendants(proc: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """What it started, also those that left its group for a session of their own."""
    try:
        return list(psutil.Process(proc.pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _signal(
    proc: subprocess.Popen[bytes], family: Sequence[psutil.Process], number: signal.Signals
) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(proc.pid, number)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.send_signal(number)
