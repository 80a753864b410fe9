"""What a run tells while it works. The base class is silent; the command line draws it."""

from __future__ import annotations

from woolgather.core.expected import Expected
from woolgather.core.rows import JSON
from woolgather.engines.journal import Calls
from woolgather.runs.record import StepRecord


class Progress:
    """Every method may be called often; none may raise."""

    def step_started(self, step: str, why: str, expected: Expected) -> None: ...

    def step_finished(self, step: str, record: StepRecord) -> None: ...

    def step_remembered(self, step: str, record: StepRecord) -> None: ...

    def rows(self, step: str, used: int, total: int) -> None: ...

    def calls(self, step: str, calls: Calls) -> None: ...

    def training(self, event: dict[str, JSON]) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...
