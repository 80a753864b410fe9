"""How a run is stopped from outside: by Ctrl-C, by SIGTERM, or at a deadline."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from woolgather.core.errors import ConfigError, Stopped

_AGAIN_SECONDS = 60.0


@contextmanager
def stopping(max_hours: float | None) -> Iterator[None]:
    """Ctrl-C, SIGTERM and the deadline raise Stopped in the main thread; a second Ctrl-C is final.

    It is raised again after a minute: what ran just then may have swallowed it, as the code of a
    library does that ends what it does with a bare `except`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    told = {
        signal.SIGINT: "Ctrl-C",
        signal.SIGTERM: "SIGTERM",
        signal.SIGALRM: f"--max-hours {max_hours:g} is over" if max_hours else "deadline",
    }
    asked: list[str] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        asked.append(told[signal.Signals(number)])
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        raise Stopped(asked[0])

    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {kind: signal.signal(kind, stop) for kind in kinds}
    if max_hours is not None:
        if max_hours <= 0:
            raise ConfigError(f"--max-hours {max_hours:g}: give a number above 0.")
        signal.setitimer(signal.ITIMER_REAL, max_hours * 3600)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for kind, handler in before.items():
            signal.signal(kind, handler)
