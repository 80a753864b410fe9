"""A step that several runs need at the same time is made by one of them, and the others wait for it.

The one idea: whoever is about to make a step holds the operating system's lock on a file named after it.
A process that is killed leaves no lock behind. Where a disk's locks do not reach another machine, that
machine makes the step once more, in a directory of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

CLAIMS = ".claims"
"""Folder of the locks, in the directory that the runs share; of no use once none of them works."""
_POLL_SECONDS = 0.1


@contextmanager
def claim(shared: Path, step: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Holds the step in `shared` (its directory, relative to its run) against the other runs there;
    `wait` is called when another one has it, before it is waited for."""
    path = shared / CLAIMS / f"{step}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        wait()
        lock.acquire(poll_interval=_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()
