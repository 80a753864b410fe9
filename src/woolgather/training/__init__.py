"""How a model is changed: a TrainJob (data) is carried out by a launched worker process."""

from __future__ import annotations

from collections.abc import Callable

from woolgather.core.rows import JSON
from woolgather.training.job import Trainer


def open_trainer(
    fake: bool, processes: int = 1, on_progress: Callable[[dict[str, JSON]], None] | None = None
) -> Trainer:
    """Returns the trainer of this machine, with `processes` that train together, or the fake one."""
    if fake:
        from woolgather.training.fake import FakeTrainer

        return FakeTrainer()
    from woolgather.training.launch import LocalTrainer

    return LocalTrainer(num_processes=processes, on_progress=on_progress)
