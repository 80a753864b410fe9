"""What a step spends its time on: asking the engine (or a server), training, writing, work of its own.

The one idea: a step does one thing after another, and each tells when it has come a little further.
What has passed since the last such word was spent on what tells now.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from woolgather.core.expected import Expected

Place = Literal["engine", "server", "trainer", "disk", "own work"]


class TimeSpent:
    """Seconds of the running step by place; `asked` is what answers for models."""

    def __init__(
        self,
        asked: Literal["engine", "server"] = "engine",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.asked: Place = asked
        self._clock = clock
        self.begin(Expected())

    def begin(self, size: Expected) -> None:
        """A step of this size begins. Until something tells, it waits for what it needs most."""
        self._seconds: dict[Place, float] = {}
        self._written = 0.0
        self._since = self._clock()
        self._awaited: Place = (
            "trainer" if size.updates else self.asked if size.calls else "own work"
        )

    def told(self, place: Place) -> None:
        """What has passed since the last word was spent there."""
        now = self._clock()
        self._seconds[place] = self._seconds.get(place, 0.0) + now - self._since
        self._since = now

    def wrote(self, seconds: float) -> None:
        """So much of the step's own work was writing rows, in all."""
        self._written = seconds

    def seconds(self) -> dict[Place, float]:
        """Returns the seconds by place, those since the last word at what the step waits for."""
        found = {"own work": 0.0, self._awaited: 0.0, **self._seconds}
        found[self._awaited] += self._clock() - self._since
        disk = min(self._written, found["own work"])
        return {**found, "own work": found["own work"] - disk, "disk": disk}

    def most(self) -> tuple[Place, float] | None:
        """Returns the place that takes most of the time, and its share, in [0, 1]; None at the very
        beginning."""
        found = self.seconds()
        total = sum(found.values())
        if total <= 0:
            return None
        place = max(found, key=lambda name: found[name])
        return place, found[place] / total
