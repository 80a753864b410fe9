"""What a run tells while it works. The base class is silent; the command line draws it."""

from __future__ import annotations

from woolgather.core.expected import Expected
from woolgather.core.rows import JSON
from woolgather.engines.journal import Calls
from woolgather.runs.record import StepRecord


class Progress:
    """Every method may be called often; none may raise."""

    def step_started(self, step: str, why: str, expected: Expected) -> None:
        """A step begins; `why` it is not remembered, and its size at most."""

    def step_finished(self, step: str, record: StepRecord) -> None:
        """The running step is done."""

    def step_remembered(self, step: str, record: StepRecord) -> None:
        """A step was done before."""

    def rows(self, step: str, used: int, total: int) -> None:
        """The running step has made `total` rows, of which `used` are not set aside."""

    def wrote(self, step: str, seconds: float) -> None:
        """The running step has spent so many seconds in all on writing its rows."""

    def calls(self, step: str, calls: Calls) -> None:
        """The running step has made these requests to a model."""

    def training(self, event: dict[str, JSON]) -> None:
        """An event of a training: `event`, and numbers such as `update`, `updates`, `loss`."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def close(self) -> None:
        """Nothing comes after this."""
