"""How a model is changed: a TrainJob (data) is carried out by a launched worker process."""

from __future__ import annotations

from collections.abc import Callable

from woolgather.core.rows import JSON
from woolgather.training.job import Trainer


def open_trainer(
    fake: bool,
    processes: int = 1,
    on_progress: Callable[[dict[str, JSON]], None] | None = None,
    accelerate: str = "ddp",
) -> Trainer:
    """Returns the trainer of this machine, with `processes` that train together as `accelerate` says, or
    the fake one. Raises ConfigError for a layout that is not known."""
    if fake:
        from woolgather.training.fake import FakeTrainer

        return FakeTrainer()
    from woolgather.training.launch import LocalTrainer
    from woolgather.training.layouts import read_layout

    return LocalTrainer(read_layout(accelerate, processes), on_progress=on_progress)
