"""What a sweep tells while it works, and how that is drawn on a terminal."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from woolgather.api.launch import Launch
from woolgather.api.results import PlanTotal
from woolgather.api.sweeping.grid import Point
from woolgather.core.errors import WoolgatherError
from woolgather.report.text import duration
from woolgather.runs.progress import Progress
from woolgather.runs.record import read_launches

if TYPE_CHECKING:
    from rich.console import Console


class Telling:
    """The base class is silent. Points are known by their places, from 0."""

    def begin(self, place: int, launch: Launch, total: PlanTotal) -> Progress:
        """Returns what shows the steps of a point that begins in this process."""
        return Progress()

    def start(self, place: int, log: Path) -> None:
        """A process of its own begins with a point, and prints to `log`."""

    def finish(self, place: int, run: Path) -> None:
        """The process of a point has ended well; the point's run directory is `run`."""

    def fail(self, place: int, said: str, cause: Exception | None) -> None:
        """A point has failed. `cause` is the error of one in this process."""


class ShownSweep(Telling):
    """Prints a line as a point begins or ends; draws the steps of one in this process below it."""

    def __init__(self, console: Console, points: Sequence[Point]) -> None:
        self._console, self._points = console, points
        self._began: dict[int, float] = {}

    def begin(self, place: int, launch: Launch, total: PlanTotal) -> Progress:
        self._say(
            f"\n{self._title(place)}  [dim]{total['new']} steps to run, {total['remembered']} there[/]"
        )
        return launch.show(self._console, total)

    def start(self, place: int, log: Path) -> None:
        self._began[place] = time.monotonic()
        self._say(f"{self._title(place)}  [dim]begins; log: {_plain(str(log))}[/]")

    def finish(self, place: int, run: Path) -> None:
        states = Counter(entry["state"] for entry in read_launches(run)[-1].steps)
        took = duration(time.monotonic() - self._began[place])
        self._say(
            f"{self._title(place)}  [green]finished[/] after {took}: {states['ran']} steps made, "
            f"{states['remembered']} there"
        )

    def fail(self, place: int, said: str, cause: Exception | None) -> None:
        if cause is not None and not isinstance(cause, WoolgatherError):
            traceback.print_exception(cause)
            said = str(cause) or said
        name = _plain(self._points[place].name)
        self._say(f"[bold red]failed:[/] point {name}: {_plain(said)}")

    def _title(self, place: int) -> str:
        of = f"point {place + 1} of {len(self._points)}"
        return f"[bold]{of}[/]  {_plain(self._points[place].name)}"

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def _plain(text: str) -> str:
    """Text in which nothing is markup."""
    from rich.markup import escape

    return escape(text)
