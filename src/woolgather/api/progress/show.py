"""Progress of a run for people (a live line on a terminal, plain lines without one) and for
programs (`events.jsonl`)."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from woolgather.api.progress.bottleneck import TimeSpent
from woolgather.api.progress.event_file import EventFile
from woolgather.core.expected import Expected
from woolgather.core.rows import JSON
from woolgather.engines.journal import Calls
from woolgather.report.text import (
    bottleneck,
    duration,
    flatten,
    is_number,
    number,
    speed,
    summary,
    values_of,
)
from woolgather.runs.progress import Progress
from woolgather.runs.record import StepRecord
from woolgather.training.trackers import NOWHERE, MeasureTracker, Tracking

FEW = 8
"""Calls, rows or updates under which a step's own speed is not known: what its size says counts."""
PLAIN_EVERY = 10.0
"""Seconds between progress lines where there is no terminal, and between progress events."""
BEAT = 1.0
"""Seconds between looks at the clock while nothing tells: a wait for a server shows, too."""


class Shown(Progress):
    """Prints a line per finished step, and draws the running one below them; also writes
    `events.jsonl`."""

    def __init__(
        self,
        console: Console,
        events: Path,
        seconds: Callable[[Expected], float] = lambda size: 0.0,
        *,
        server: bool = False,
        tracking: Tracking = NOWHERE,
    ) -> None:
        """`seconds` is what a step of a size takes here at most, 0 where that is not known; `server`
        says that models are asked there, `tracking` who gets measures as well."""
        self._tracker = MeasureTracker(tracking, self.note) if tracking.name else None
        self._console = console
        self._seconds = seconds
        self._bound = 0.0
        self._events = EventFile(events)
        self._spent = TimeSpent("server" if server else "engine")
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._beating: threading.Thread | None = None
        self._live: Live | None = None
        self._step = ""
        self._running = False
        self._expected = Expected()
        self._began = self._last = self._drawn = 0.0
        self._used = self._total = 0
        self._calls = Calls()
        self._asked = 0
        """Calls that the journal did not answer."""
        self._training: dict[str, JSON] = {}

    def step_started(self, step: str, why: str, expected: Expected) -> None:
        with self._lock:
            self._begin(step, why, expected)

    def _begin(self, step: str, why: str, expected: Expected) -> None:
        self._step, self._expected, self._began = step, expected, time.monotonic()
        self._running = True
        self._bound = self._seconds(expected)
        self._used = self._total = 0
        self._calls, self._training, self._last = Calls(), {}, self._began
        self._asked = 0
        self._spent.begin(expected)
        self._event("step_started", why=why)
        tail = "" if why == "not done yet" else f"  [dim]{escape(why)}[/]"
        self._say(f"[bold]{step}[/]{tail}")
        if self._console.is_terminal:
            self._live = Live(console=self._console, transient=True, refresh_per_second=4)
            self._live.start()
        if self._beating is None:
            self._beating = threading.Thread(target=self._beat, name="progress", daemon=True)
            self._beating.start()

    def step_finished(self, step: str, record: StepRecord) -> None:
        with self._lock:
            self._running = False
            self._stop_live()
        self._event("step_finished", seconds=record.seconds, calls=dict(record.calls))
        self._say(f"  [green]✓[/] {escape(summary(record))}")
        for warning in record.warnings:
            self._say(f"  [yellow]![/] {escape(warning)}")
        if self._tracker:
            self._tracker.log(*_measures(step, record))

    def step_remembered(self, step: str, record: StepRecord) -> None:
        self._say(f"[dim]{step}  remembered: {escape(summary(record))}[/]")

    def rows(self, step: str, used: int, total: int) -> None:
        self._used, self._total = used, total
        self._spent.told("own work")
        self._tick()

    def wrote(self, step: str, seconds: float) -> None:
        self._spent.wrote(seconds)

    def calls(self, step: str, calls: Calls) -> None:
        self._calls = calls
        asked = calls.requests - calls.remembered
        self._spent.told(self._spent.asked if asked > self._asked else "own work")
        self._asked = asked
        self._tick()

    def training(self, event: dict[str, JSON]) -> None:
        self._training = event
        self._spent.told("trainer")
        self._tick()

    def note(self, text: str) -> None:
        self._event("note", text=text)
        self._say(f"  [dim]{escape(text)}[/]")

    def _say(self, text: str, markup: bool = True) -> None:
        """One line, however long: a terminal wraps it, a log does not."""
        self._console.print(text, highlight=False, markup=markup, soft_wrap=True)

    def close(self) -> None:
        self._closed.set()
        if self._beating is not None:
            self._beating.join()
            self._beating = None
        self._stop_live()
        if self._tracker:
            self._tracker.close()

    def _beat(self) -> None:
        while not self._closed.wait(BEAT):
            self._tick()

    def _tick(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._live is not None and now - self._drawn > 0.2:
                self._drawn = now
                self._live.update(Text("  " + self.line()))
            if self._running and now - self._last > PLAIN_EVERY:
                self._last = now
                self._tell()

    def _tell(self) -> None:
        """Write where the running step is, and say it where there is no live line."""
        most = self._spent.most()
        self._event(
            "progress",
            rows=self._used,
            total=self._total,
            calls=self._calls.requests,
            remembered=self._calls.remembered,
            asked=self._asked,
            tokens=self._calls.completion_tokens,
            rate=round(self._rate(), 1),
            left=self._left(),
            expected={"rows": self._expected.rows, "calls": self._expected.calls},
            training=self._training,
            bottleneck=most[0] if most else None,
            spent={place: round(took, 1) for place, took in self._spent.seconds().items()},
        )
        if self._live is None:
            self._say("  " + self.line(), markup=False)

    def _rate(self) -> float:
        """Generated tokens per second."""
        return self._calls.completion_tokens / max(time.monotonic() - self._began, 1e-3)

    def _left(self) -> float | None:
        """Seconds, or None while unknown."""
        done, of = self._calls.requests, self._expected.calls
        if self._training:
            done, of = (_whole(self._training.get(k)) for k in ("update", "updates"))
        elif self._expected.rows and self._used and not of:
            done, of = self._used, self._expected.rows
        rest = self._bound - (time.monotonic() - self._began)
        if done < FEW and rest > 0:  # what loading took would count as much as the calls
            return round(rest, 1)
        if done < 1:
            return None
        if of < done:
            return None
        return round((time.monotonic() - self._began) / done * (of - done), 1)

    def line(self) -> str:
        """Returns what the running step says of itself."""
        parts = []
        if self._training:
            t = self._training
            parts.append(f"update {t.get('update', '?')}/{t.get('updates', '?')}")
            if isinstance(loss := t.get("loss"), float):
                parts.append(f"loss {number(loss, 3)}")
            if isinstance(rate := t.get("tokens_per_second"), int | float):
                parts.append(speed(rate))
        if self._total:
            of = f"/{number(self._expected.rows)}" if self._expected.rows else ""
            lost = self._total - self._used
            aside = f" ({number(lost)} set aside)" if lost > 0 else ""
            parts.append(f"{number(self._used)}{of} rows{aside}")
        if self._calls.requests:
            of = f"/≤{number(self._expected.calls)}" if self._expected.calls else ""
            parts.append(f"{number(self._calls.requests)}{of} calls")
            if self._calls.completion_tokens:
                parts.append(speed(self._rate()))
        parts.append(duration(time.monotonic() - self._began))
        left = self._left()
        if left is not None:
            parts.append(f"≤{duration(left)} left")
        if (most := self._spent.most()) and time.monotonic() - self._began > BEAT:
            parts.append(bottleneck(*most))
        return " · ".join(parts)

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _event(self, event: str, **fields: JSON) -> None:
        self._events.write(event, self._step, **fields)


def _measures(step: str, record: StepRecord) -> tuple[dict[str, float], int]:
    """The numbers that a step measured, by the step's name and their own, and the iterations before them:
    0 for those of the base."""
    scope, _, name = step.rpartition("/")
    iteration = re.fullmatch(r"iter(\d+)", scope)
    title = name if iteration or not scope else step
    numbers = {
        f"{title}/{key}": leaf for key, leaf in flatten(values_of(record)) if is_number(leaf)
    }
    return numbers, int(iteration[1]) + 1 if iteration else 0


def _whole(value: JSON) -> int:
    return int(value) if isinstance(value, int | float) else 0
